#!/bin/bash
# Builds everything with CUDA and runs the GPU tests, on a machine with GPUs and no network: nothing is installed.
# Takes the libtorch of the python3 in PATH, or of $LACUNA_TORCH.
set -euo pipefail
STEPS=2
. "$(dirname "$0")/lib.sh"

usage() {
  cat <<'TEXT'
usage: launch/gpu_test.sh [--build-only] [-R REGEX] [CMAKE_FLAG]...
  --build-only  stop after the build (build/gpu; the programs are build/gpu/lacuna and build/gpu/lacuna-train)
  -R REGEX      only tests whose names match
Every other argument goes to cmake, e.g. -DCMAKE_CUDA_ARCHITECTURES=90a-real or -DLACUNA_XXHASH_INCLUDE=FOLDER.
Runs the label gpu, and gpu2 where two GPUs are.
TEXT
}

BUILD_ONLY=no
REGEX=.
FLAGS=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --build-only) BUILD_ONLY=yes ;;
    -R) [ $# -ge 2 ] || die 64 "-R needs a pattern"; REGEX=$2; shift ;;
    -D*) FLAGS+=("$1") ;;
    *) usage; die 64 "unknown argument $1" ;;
  esac
  shift
done

if [ -z "${LACUNA_TORCH:-}" ]; then
  LACUNA_TORCH=$(python3 -c 'import os, torch; print(os.path.dirname(torch.__file__))' 2>/dev/null) ||
    die 69 "python3 has no torch: set LACUNA_TORCH to the folder 'torch' of a torch 2.11 wheel with CUDA, or run launch/setup.sh --cuda"
fi
gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU') || gpus=0
[ "$BUILD_ONLY" = yes ] || [ "$gpus" -ge 1 ] || die 69 "no GPU here (nvidia-smi shows none)"

configure_gpu() {
  cmake -S "$ROOT" -B "$ROOT/build/gpu" -G Ninja -DCMAKE_BUILD_TYPE=Release -DLACUNA_CUDA=ON \
    "-DLACUNA_TORCH=$LACUNA_TORCH" ${FLAGS[@]+"${FLAGS[@]}"}
}

export_ccache
step "configure" configure_gpu
step "build ($(job_count) jobs)" cmake --build "$ROOT/build/gpu" -j "$(job_count)"
if [ "$BUILD_ONLY" = yes ]; then exit 0; fi

labels='^gpu$'
if [ "$gpus" -ge 2 ]; then labels='^gpu2?$'; fi
cd "$ROOT"
ctest --test-dir build/gpu -L "$labels" -R "$REGEX" --output-on-failure --no-tests=error
