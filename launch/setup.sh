#!/bin/bash
# The tools that a build needs: system packages and libtorch. Builds nothing.
set -euo pipefail
STEPS=2
. "$(dirname "$0")/lib.sh"

usage() {
  cat <<'TEXT'
usage: launch/setup.sh [--cpu | --cuda] [--yes] [--offline] [--dry-run]
  --cpu      libtorch for CPU ranks, 1.3 GB (what a machine without a usable GPU gets)
  --cuda     libtorch with CUDA 13 and nvcc, 4.7 GB
  --yes      install missing system packages with sudo without asking
  --offline  touch no network: fail if something is missing
  --dry-run  print the plan, do nothing
libtorch goes to ~/.cache/lacuna/toolchain-HASH, or to $LACUNA_TOOLCHAIN.
TEXT
}

parse_shared_flags "$@"
if [ ${#ARGUMENTS[@]} -gt 0 ]; then
  usage
  case ${ARGUMENTS[0]} in -h | --help) exit 0 ;; *) die 64 "unknown argument ${ARGUMENTS[0]}" ;; esac
fi
set_up
preset=release
if [ "$KIND" = cuda ]; then preset=cuda; fi
echo "next: launch/quickstart.sh, or: cmake --preset $preset && cmake --build --preset $preset"
