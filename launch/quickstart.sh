#!/bin/bash
# From a clone to a sparse model: tools, build, and the main job on CPU ranks or a GPU (launch/quickstart_job.sh).
set -euo pipefail
STEPS=13
. "$(dirname "$0")/lib.sh"

usage() {
  cat <<'TEXT'
usage: launch/quickstart.sh [--cpu | --cuda] [--yes] [--offline] [--dry-run] [HF_FOLDER TEXT_FILE]
Without HF_FOLDER it writes stories, pretrains a small LLaMA on them and makes that one sparse; with it, your own
model, on your own text. Flags as in launch/setup.sh, and
  --build-only  stop after the build
  -o FOLDER     where everything goes (default: runs/quickstart)
TEXT
}

parse_shared_flags "$@"
OUT=$ROOT/runs/quickstart
BUILD_ONLY=no
INPUTS=()
set -- ${ARGUMENTS[@]+"${ARGUMENTS[@]}"}
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --build-only) BUILD_ONLY=yes; STEPS=4 ;;
    -o) [ $# -ge 2 ] || die 64 "-o needs a folder"; OUT=$2; shift ;;
    -*) usage; die 64 "unknown argument $1" ;;
    *) INPUTS+=("$1") ;;
  esac
  shift
done
case ${#INPUTS[@]} in
  0) ;;
  2) STEPS=11
     [ -d "${INPUTS[0]}" ] || die 65 "${INPUTS[0]}: no such folder"
     [ -f "${INPUTS[1]}" ] || die 65 "${INPUTS[1]}: no such file" ;;
  *) usage; die 64 "give both HF_FOLDER and TEXT_FILE, or neither" ;;
esac

set_up
need_disk "$ROOT" 3 "the build"
step "configure" configure release
step "build ($(job_count) jobs)" build release lacuna lacuna-train
if [ "$BUILD_ONLY" = yes ]; then exit 0; fi

. "$ROOT/launch/quickstart_job.sh"
run_main_job "$OUT" ${INPUTS[@]+"${INPUTS[@]}"}
