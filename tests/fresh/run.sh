#!/bin/bash
# The quickstart in a bare Debian 12 or Ubuntu 24.04: a debootstrap'ed folder with nothing but its base, a clean clone
# inside, then the same again without network. Taken along from this machine are name resolution, certificates and the
# settings of apt and pip, nothing else. Exit 77: cannot run here.
#   tests/fresh/run.sh [--ubuntu] [--build-only]
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
DISTRIBUTION="Debian 12"
MODE=
for word in "$@"; do
  case $word in
    --ubuntu) DISTRIBUTION="Ubuntu 24.04" ;;
    --build-only) MODE=$word ;;
    *) echo "usage: tests/fresh/run.sh [--ubuntu] [--build-only]"; exit 64 ;;
  esac
done

cannot() {
  echo "fresh system: left out ($*)"
  exit 77
}

[ "$(id -u)" -eq 0 ] || cannot "needs root"
command -v git > /dev/null || cannot "needs git to make the clone"
if ! command -v debootstrap > /dev/null; then
  [ "${CI:-}" = true ] || cannot "needs the package debootstrap"
  (apt-get update; apt-get install -y --no-install-recommends debootstrap) > /dev/null 2>&1 || cannot "no debootstrap"
fi
unshare -m -n true 2> /dev/null || cannot "may not make namespaces"

if [ "${LACUNA_FRESH_INSIDE:-}" != yes ]; then
  # Everything below runs in a mount namespace of its own, so that no mount outlives it.
  SYSTEM=$(mktemp -d "${TMPDIR:-/var/tmp}/lacuna-fresh-XXXXXX")
  trap 'rm -rf --one-file-system "$SYSTEM"' EXIT
  LACUNA_FRESH_INSIDE=yes SYSTEM=$SYSTEM unshare -m --propagation private "$0" "$@"
  exit
fi

timed() {  # timed TEXT COMMAND...
  local text=$1 started=$SECONDS
  shift
  "$@"
  echo "fresh system: $text … $((SECONDS - started)) s"
}

# mirror debian|ubuntu: what this machine's own apt uses, or the distribution's own.
mirror() {
  local uri
  uri=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb  *\(\[[^]]*\] *\)*\([^ ]*\) .*/\2/p' \
    /etc/apt/sources.list /etc/apt/sources.list.d/* 2> /dev/null | grep "/$1/*\$" | head -n 1) || true
  if [ "$1" = debian ]; then echo "${uri:-http://deb.debian.org/debian}"; else echo "${uri:-http://archive.ubuntu.com/ubuntu}"; fi
}

bootstrap() {
  local what=(bookworm "$SYSTEM" "$(mirror debian)")
  if [ "$DISTRIBUTION" = "Ubuntu 24.04" ]; then
    # An older debootstrap knows neither the suite nor, without the package ubuntu-keyring, its signatures.
    what=(--components=main,universe noble "$SYSTEM" "$(mirror ubuntu)" /usr/share/debootstrap/scripts/gutsy)
    [ -f /usr/share/keyrings/ubuntu-archive-keyring.gpg ] || what=(--no-check-gpg "${what[@]}")
  fi
  debootstrap --variant=minbase "${what[@]}" > "$SYSTEM.log" 2>&1 || {
    tail -n 20 "$SYSTEM.log"
    rm -f "$SYSTEM.log"
    exit 1
  }
  rm -f "$SYSTEM.log"
}

take_along() {
  local file
  cp -L /etc/resolv.conf /etc/hosts "$SYSTEM/etc/"
  for file in /etc/pip.conf "$HOME/.config/pip/pip.conf" "$HOME/.netrc" \
    /etc/apt/auth.conf; do
    if [ -f "$file" ]; then
      mkdir -p "$SYSTEM$(dirname "$file")"
      cp -L "$file" "$SYSTEM$file"
    fi
  done
  # Proxies, retries and certificates of apt; not the hooks of programs that are not in there.
  for file in /etc/apt/apt.conf.d/*; do
    if grep -Eq 'Acquire::' "$file" && ! grep -q 'Invoke' "$file"; then cp "$file" "$SYSTEM/etc/apt/apt.conf.d/"; fi
  done
  env | grep -Ei '^(https?_proxy|no_proxy|PIP_[A-Z_]*)=' | grep -v '^PIP_CERT=' > "$SYSTEM/root/environment" || true
  # Under a name of its own: the package ca-certificates, which the list pulls in, writes the usual one anew.
  if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
    cp -L /etc/ssl/certs/ca-certificates.crt "$SYSTEM/root/certificates.crt"
    echo PIP_CERT=/root/certificates.crt >> "$SYSTEM/root/environment"
  fi
  git clone -q --no-hardlinks "$ROOT" "$SYSTEM/root/lacuna"
  mount -t proc proc "$SYSTEM/proc"
  mount -t sysfs -o ro sysfs "$SYSTEM/sys"
  mount --rbind /dev "$SYSTEM/dev"
  mount -t tmpfs tmpfs "$SYSTEM/dev/shm"
}

# inside COMMAND...: in the clone, with nothing of this machine's environment but what was taken along.
inside() {
  local settings=()
  mapfile -t settings < "$SYSTEM/root/environment"
  chroot "$SYSTEM" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb \
    ${settings[@]+"${settings[@]}"} /bin/bash -c 'cd /root/lacuna && exec "$@"' inside "$@" < /dev/null
}

without_network() {
  export SYSTEM
  export -f inside
  # Ranks on one machine find each other over the loopback device, which is not the network.
  unshare -n /bin/bash -c 'ip link set lo up 2> /dev/null || true; inside "$@"' without_network "$@"
}

# Every library that the programs load is a file of a Debian package (the base, or what the packages on the list
# pull in) or of the toolchain folder.
check_libraries() {
  inside /bin/bash -c '
    bad=0
    for program in build/lacuna build/lacuna-train; do
      libraries=$(ldd "$program") || { echo "ldd cannot read $program"; exit 1; }
      if grep "not found" <<< "$libraries"; then bad=1; fi
      for file in $(sed -n "s/.*=> \(\/[^ ]*\).*/\1/p" <<< "$libraries"); do
        case $(readlink -f "$file") in "$HOME"/.cache/lacuna/toolchain-*) continue ;; esac
        real=$(readlink -f "$file")
        dpkg -S "$real" > /dev/null 2>&1 || dpkg -S "${real#/usr}" > /dev/null 2>&1 || {
          echo "$program loads $file, which is of no package"
          bad=1
        }
      done
    done
    exit $bad'
}

timed "$DISTRIBUTION" bootstrap
timed "a clean clone inside" take_along
timed "quickstart --cpu --yes" inside ./launch/quickstart.sh --cpu --yes $MODE
timed "quickstart again, without network" without_network ./launch/quickstart.sh --cpu --yes --offline $MODE
timed "libraries" check_libraries
if [ -z "$MODE" ]; then timed "result.json, evaluated anew" inside python3 tests/fresh/check_result.py runs/quickstart; fi
echo "fresh system: passed"
