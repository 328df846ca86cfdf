#!/bin/bash
# Builds, then runs the tests of the labels asked for. A label of which nothing ran is a failure; what cannot run here
# is listed by name.
set -euo pipefail
STEPS=4
. "$(dirname "$0")/lib.sh"

usage() {
  cat <<'TEXT'
usage: launch/test.sh [--cpu | --cuda] [--yes] [--offline] [unit|mpi|gpu|gpu2|slow|asan|fresh|all]...
  unit   no MPI, no GPU, under a minute       mpi    several ranks on this machine
  gpu    needs a GPU                          gpu2   needs two
  slow   minutes each
  asan   unit tests under AddressSanitizer and UBSan, without torch
  fresh  a clean clone in a bare Debian 12 (root, debootstrap)
  ci     unit mpi, and fresh while it keeps within 40 minutes
Default: unit mpi. all: everything that this machine can run.
TEXT
}

STAGES=()
TIMES=()
FAILED=()
BUDGET_S=1000000  # seconds after which `ci` starts no optional stage that would take longer

stage() {  # stage NAME COMMAND...: a failed stage is remembered, the next one still runs
  local name=$1 started=$SECONDS code=0
  shift
  echo "== $name"
  set +e
  (set -e; "$@")
  code=$?
  set -e
  STAGES+=("$name")
  TIMES+=($((SECONDS - started)))
  if [ "$code" -eq 77 ] && [ "$BUDGET_S" -lt 1000000 ]; then return 0; fi  # said why it cannot run here
  if [ "$code" -ne 0 ]; then FAILED+=("$name"); fi
  return 0
}

has_gpu() { nvidia-smi -L 2>/dev/null | grep -q '^GPU'; }
has_two_gpus() { [ "$(nvidia-smi -L 2>/dev/null | grep -c '^GPU')" -ge 2 ]; }

# Names of the tests with a label in a build folder, one a line.
tests_of() { ctest --test-dir "$1" -N -L "^$2\$" | sed -n 's/^ *Test *#[0-9]*: //p'; }

run_label() {  # run_label LABEL BUILD_FOLDER
  local label=$1 folder=$2 jobs=1 skipped
  if [ -z "$(tests_of "$folder" "$label")" ]; then
    echo "label $label: no test ran"
    return 1
  fi
  if [ "$label" = unit ]; then jobs=$(nproc); fi
  (cd "$ROOT" && ctest --test-dir "$folder" -L "^$label\$" -j "$jobs" --output-on-failure --no-tests=error) || return 1
  # A case that left itself out inside a test that passed: named, never silent.
  skipped=$(sed -n 's/^\[  SKIPPED \] \([^ ,]*\).*/\1/p' "$folder/Testing/Temporary/LastTest.log" | sort -u)
  if [ -n "$skipped" ]; then echo "left out by themselves: "$skipped; fi
}

run_gpu_label() {  # run_gpu_label gpu|gpu2
  local names
  names=$(tests_of "$ROOT/build" "$1")
  if has_gpu; then run_label "$1" "$ROOT/build"; return; fi
  echo "no GPU here; these tests cannot run: "${names:-(there are none)}
  echo "label $1: no test ran"
  return 1
}

run_asan() {
  step "configure asan" configure asan
  step "build asan" build asan
  run_label unit "$ROOT/build/asan"
}

parse_shared_flags "$@"
LABELS=()
for word in ${ARGUMENTS[@]+"${ARGUMENTS[@]}"}; do
  case $word in
    unit | mpi | gpu | gpu2 | slow | asan | fresh) LABELS+=("$word") ;;
    ci) LABELS+=(unit mpi fresh); BUDGET_S=2400 ;;
    all)
      LABELS+=(unit mpi slow)
      if has_gpu; then LABELS+=(gpu); fi
      if has_two_gpus; then LABELS+=(gpu2); fi
      LABELS+=(asan fresh) ;;
    -h | --help) usage; exit 0 ;;
    *) usage; die 64 "unknown argument $word" ;;
  esac
done
if [ ${#LABELS[@]} -eq 0 ]; then LABELS=(unit mpi); fi

prepare() {
  set_up
  step "configure" configure release
  step "build ($(job_count) jobs)" build release
}

started=$SECONDS
if [ "$DRY_RUN" = yes ]; then prepare; echo "then: ${LABELS[*]}"; exit 0; fi
set_up
setup_s=$((SECONDS - started))
STAGES+=(setup)
TIMES+=("$setup_s")
started=$SECONDS
need_disk "$ROOT" 3 "the build"
step "configure" configure release
step "build ($(job_count) jobs)" build release
STAGES+=(build)
TIMES+=($((SECONDS - started)))

# What the optional stage of `ci` took on 2 cores from nothing; where it may not fit any more it is left out by name.
declare -A EXPECT_S=([fresh]=840)
for label in "${LABELS[@]}"; do
  if [ $((SECONDS + ${EXPECT_S[$label]:-0})) -gt "$BUDGET_S" ]; then
    echo "== $label: left out, $((SECONDS / 60)) minutes are used"
    continue
  fi
  case $label in
    gpu | gpu2) stage "$label" run_gpu_label "$label" ;;
    asan) STEP=0 STEPS=2; stage asan run_asan ;;
    fresh) stage fresh "$ROOT/tests/fresh/run.sh" ;;
    *) stage "$label" run_label "$label" "$ROOT/build" ;;
  esac
done
if ! has_gpu; then
  gpu_tests=$(tests_of "$ROOT/build" 'gpu2*' | tr '\n' ' ')
  if [ -n "$gpu_tests" ]; then echo "no GPU here; left out: $gpu_tests"; fi
fi

echo "minutes:"
for i in "${!STAGES[@]}"; do
  awk -v name="${STAGES[$i]}" -v s="${TIMES[$i]}" 'BEGIN {printf "  %-8s %6.1f\n", name, s / 60}'
done
if [ ${#FAILED[@]} -gt 0 ]; then die 1 "failed: ${FAILED[*]}"; fi
