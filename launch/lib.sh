# shellcheck shell=bash disable=SC2034
# Functions of setup.sh, quickstart.sh and test.sh; sourced, never run. Needs bash and coreutils only.
# A step is one line, "[2/7] text … 17 s", with its output in build/log/; a failed step shows the end of that output.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
LOGS=$ROOT/build/log
STEP=0
STEPS=${STEPS:-5}
KIND=auto      # cpu or cuda
YES=no         # install packages without asking
OFFLINE=no     # touch no network
DRY_RUN=no

# What the build uses, by Debian 12 and Ubuntu 24.04 name; xz-utils unpacks the tests' texts.
PACKAGES="g++ cmake ninja-build ccache python3-venv libfmt-dev nlohmann-json3-dev libxxhash-dev libhdf5-dev
  libopenmpi-dev openmpi-bin libgtest-dev xz-utils"

die() {  # die CODE TEXT...
  local code=$1
  shift
  echo "lacuna: error: $*" >&2
  exit "$code"
}

# Takes the flags that all three scripts share; the rest stays in ARGUMENTS.
ARGUMENTS=()
parse_shared_flags() {
  while [ $# -gt 0 ]; do
    case $1 in
      --cpu) KIND=cpu ;;
      --cuda) KIND=cuda ;;
      --yes) YES=yes ;;
      --offline) OFFLINE=yes ;;
      --dry-run) DRY_RUN=yes ;;
      *) ARGUMENTS+=("$1") ;;
    esac
    shift
  done
  if [ "${CI:-}" = true ]; then YES=yes; fi
  if [ "$KIND" = auto ]; then KIND=$(detect_kind); fi
}

# CUDA 13 needs a driver from 580 on.
detect_kind() {
  local driver
  driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1) || driver=
  if [ "${driver%%.*}" -ge 580 ] 2>/dev/null; then echo cuda; else echo cpu; fi
}

requirements() { echo "$ROOT/launch/requirements-$KIND.txt"; }

toolchain_folder() {
  local hash
  hash=$(sha256sum < "$(requirements)")
  echo "${LACUNA_TOOLCHAIN:-$HOME/.cache/lacuna/toolchain-${hash:0:12}}"
}

toolchain_ready() { [ -e "$(toolchain_folder)/stamp-$KIND" ]; }

# min(cores, quota of the control group, free memory / 2 GB), at least 1.
job_count() {
  local jobs quota period free
  jobs=$(nproc)
  if read -r quota period 2>/dev/null < /sys/fs/cgroup/cpu.max && [ "$quota" != max ]; then
    quota=$(((quota + period - 1) / period))
    [ "$quota" -lt "$jobs" ] && jobs=$quota
  fi
  free=$(awk '/^MemAvailable/ {print int($2 / 2097152)}' /proc/meminfo)
  [ "${free:-1}" -lt "$jobs" ] && jobs=$free
  [ "$jobs" -lt 1 ] && jobs=1
  echo "$jobs"
}

free_gb() {  # free_gb FOLDER: of the file system that FOLDER is or will be on
  local folder=$1
  while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
  df -Pk "$folder" | awk 'NR == 2 {print int($4 / 1048576)}'
}

need_disk() {  # need_disk FOLDER GB WHAT
  local free
  free=$(free_gb "$1")
  [ "$free" -ge "$2" ] || die 74 "$3 needs $2 GB in $1, $free GB are free"
}

# step TEXT COMMAND...: runs the command with its output in build/log.
step() {
  local text=$1 log code=0 started=$SECONDS
  shift
  STEP=$((STEP + 1))
  if [ "$DRY_RUN" = yes ]; then
    echo "[$STEP/$STEPS] $text: $*"
    return
  fi
  mkdir -p "$LOGS"
  log=$LOGS/$(printf '%02d' "$STEP")-$(echo "$text" | tr -cs 'A-Za-z0-9.\n' '-' | cut -c 1-40).log
  printf '[%d/%d] %s … ' "$STEP" "$STEPS" "$text"
  # Not "|| code=$?": that would switch errexit off inside the command.
  set +e
  (set -e; "$@") > "$log" 2>&1 < /dev/null
  code=$?
  set -e
  if [ "$code" -ne 0 ]; then
    echo "failed after $((SECONDS - started)) s (exit $code); the end of $log:"
    tail -n 40 "$log" | sed 's/^/    /'
    exit "$code"
  fi
  echo "$((SECONDS - started)) s"
}

missing_packages() {
  local name have
  have=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' $PACKAGES 2>/dev/null | awk '$2 == "installed" {print $1}') || true
  for name in $PACKAGES; do
    grep -qx "$name" <<< "$have" || printf '%s ' "$name"
  done
}

# update may fail for a repository that has nothing to do with these packages; install then decides.
install_packages() {
  local sudo=$1
  shift
  export DEBIAN_FRONTEND=noninteractive
  $sudo apt-get update || echo "apt-get update failed; trying with the lists as they are"
  $sudo apt-get install -y --no-install-recommends "$@"
}

ensure_packages() {
  local missing sudo="" answer
  if ! command -v dpkg-query > /dev/null; then
    echo "not a Debian or Ubuntu system: the build needs what these packages hold: $(echo $PACKAGES) (docs/install.md)"
    STEP=$((STEP + 1))
    return
  fi
  missing=$(missing_packages)
  if [ -z "$missing" ]; then
    step "system packages: all there" true
    return
  fi
  [ "$(id -u)" -eq 0 ] || sudo="sudo "
  echo "missing packages; this command installs them:"
  echo "  ${sudo}apt-get update; ${sudo}apt-get install -y --no-install-recommends ${missing% }"
  [ "$DRY_RUN" = no ] || { STEP=$((STEP + 1)); return; }
  [ "$OFFLINE" = no ] || die 77 "--offline, and packages are missing"
  if [ -n "$sudo" ]; then
    command -v sudo > /dev/null || die 77 "not root, and no sudo: run the command above as root, then this script again"
    if [ "$YES" = yes ]; then
      sudo="sudo -n "
    else
      [ -t 0 ] || die 77 "not root: run the command above, or say --yes"
      read -r -p "run it now? [y/N] " answer
      case $answer in y | Y | yes) ;; *) die 77 "run the command above, then this script again" ;; esac
      sudo -v || die 77 "no permission to install packages"
    fi
  fi
  step "system packages" install_packages "$sudo" $missing
}

# A Python that has venv and pip to make one with, and for which the requirement files name a wheel.
find_python() {
  local python
  for python in /usr/bin/python3 python3; do
    if "$python" -c 'import sys, venv, ensurepip; assert (3, 10) <= sys.version_info[:2] <= (3, 13)' 2>/dev/null; then
      echo "$python"
      return
    fi
  done
  return 1
}

# Under a temporary name, stamped, then renamed: a toolchain folder that exists is complete.
build_toolchain() {
  local folder=$1 python temporary torch
  python=$(find_python) || die 69 "no Python 3.10 to 3.13 with venv (package python3-venv)"
  mkdir -p "$(dirname "$folder")"
  temporary=$folder.tmp$$
  rm -rf "$temporary"
  "$python" -m venv "$temporary"
  "$temporary/bin/python" -m pip install --disable-pip-version-check --no-cache-dir --require-hashes --no-deps \
    --only-binary :all: -r "$(requirements)"
  torch=$(cd "$temporary" && echo lib/python3*/site-packages/torch)
  ln -s "$torch" "$temporary/torch"
  if [ "$KIND" = cuda ]; then link_cuda "$temporary/$(dirname "$torch")/nvidia/cu13" "$temporary"; fi
  touch "$temporary/stamp-$KIND"
  if ! mv -T "$temporary" "$folder" 2>/dev/null; then
    # Another run came first, or a folder without a stamp is in the way.
    [ -e "$folder/stamp-$KIND" ] || die 74 "$folder is in the way: not a complete toolchain; remove it"
    rm -rf "$temporary"
  fi
}

# The wheels' CUDA has lib where tools look for lib64, and no plain libcudart.so.
link_cuda() {  # link_cuda CUDA_FOLDER VENV
  ln -sfn lib "$1/lib64"
  ln -sfn libcudart.so.13 "$1/lib/libcudart.so"
  ln -sfn "${1#"$2"/}" "$2/cuda"
}

ensure_toolchain() {
  local folder name gb=4
  folder=$(toolchain_folder)
  name=$(grep -om 1 '^torch==[0-9.]*' "$(requirements)")
  name="${name/==/ } ${KIND^^}"
  if toolchain_ready; then
    step "$name: already in $folder" true
    return
  fi
  if [ "$KIND" = cuda ]; then gb=14; fi
  [ "$OFFLINE" = no ] || die 77 "--offline, and $name is not in $folder"
  [ "$(uname -m)" = x86_64 ] || die 69 "the $name wheels are for x86_64, this machine is $(uname -m) (docs/install.md)"
  need_disk "$(dirname "$folder")" "$gb" "$name"
  step "$name" build_toolchain "$folder"
}

# ccache finds its objects again over clones and build folders.
export_ccache() {
  export CCACHE_BASEDIR=$ROOT CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=pch_defines,time_macros
}

configure() {  # configure PRESET [FLAGS]: into build for release, build/PRESET otherwise
  local preset=$1 flags=()
  shift
  if [ "$KIND" = cuda ] && [ "$preset" = release ]; then
    flags=(-DLACUNA_CUDA=ON "-DCUDAToolkit_ROOT=$(toolchain_folder)/cuda")
  fi
  if [ "${CI:-}" = true ]; then flags+=(-DLACUNA_WERROR=ON); fi
  # Settings of the machine that would reach past the packages on the list.
  (cd "$ROOT" && env -u LIBRARY_PATH -u CPATH -u CMAKE_PREFIX_PATH \
    cmake --preset "$preset" "-DLACUNA_TORCH=$(toolchain_folder)/torch" ${flags[@]+"${flags[@]}"} "$@")
}

build() {  # build PRESET [TARGET...]
  local preset=$1
  shift
  (cd "$ROOT" && env -u LIBRARY_PATH -u CPATH cmake --build --preset "$preset" -j "$(job_count)" ${1:+--target "$@"})
}

set_up() {
  ensure_packages
  ensure_toolchain
  export_ccache
}
