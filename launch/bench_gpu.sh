#!/bin/bash
# Speed on one GPU, random weights, bf16. Training: tokens/s, MFU, predicted and measured memory of three shapes. With
# --decode: decoding instead, dense and over a curve of zeros, as a kernel for each phase and as one kernel. With
# --baseline SCRIPT (a Python program that takes SHAPE MICRO_BATCH SEQ, or SHAPE CONTEXT for decoding, and prints its
# tokens/s) that runs in the same job right after each shape.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

usage() {
  cat <<'TEXT'
usage: launch/bench_gpu.sh [--program PATH] [--decode] [--baseline SCRIPT [ARGUMENT]...]
  --program   the built lacuna (default: build/gpu/lacuna, else build/lacuna)
  --decode    decoding instead of training
  --baseline  what to run beside it, e.g. --baseline torch_train.py compile
TEXT
}

PROGRAM=$ROOT/build/gpu/lacuna
[ -x "$PROGRAM" ] || PROGRAM=$ROOT/build/lacuna
BASELINE=()
DECODE=0
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --program) [ $# -ge 2 ] || die 64 "--program needs a path"; PROGRAM=$2; shift ;;
    --decode) DECODE=1 ;;
    --baseline) shift; BASELINE=("$@"); break ;;
    *) usage; die 64 "unknown argument $1" ;;
  esac
  shift
done
[ -x "$PROGRAM" ] || die 69 "$PROGRAM is not there: launch/gpu_test.sh --build-only makes build/gpu/lacuna"

beside() {
  if [ ${#BASELINE[@]} -gt 0 ]; then python3 "${BASELINE[@]}" "$@" 2> /dev/null | tail -n 1 | sed 's/^/    baseline: /'; fi
}

nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -n 1
if [ "$DECODE" = 1 ]; then
  decode() { "$PROGRAM" bench --device cuda --prompt-tokens 512 -n 96 "$@"; }
  for form in "" --one-kernel; do
    for shape in mistral-7b llama3.2-1b; do
      echo "== $shape ${form:-a kernel for each phase}"
      decode --arch "$shape" --activation drelu $form
    done
    echo "== mistral-7b relu ${form:-a kernel for each phase}"
    decode --arch mistral-7b --activation relu --zeros 0.9 $form
  done
  beside mistral-7b 1024
  beside llama3.2-1b 1024
  exit 0
fi

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
"$PROGRAM" stories --bytes 3000000 -o "$WORK/text" > /dev/null 2>&1
"$PROGRAM" tokenize --train-vocab 1024 --text "$WORK/text" -o "$WORK/tokenizer" > /dev/null 2>&1
"$PROGRAM" tokenize -m "$WORK/tokenizer" --text "$WORK/text" -o "$WORK/tokens.h5" > /dev/null 2>&1
# Four layers of a 7B model.
printf '[model]\nhidden = 4096\nffn = 14336\nlayers = 4\nheads = 32\nkv-heads = 8\nvocab = 32000\nmax-positions = 4096\n' \
  > "$WORK/7bx4.ini"

measure() {  # measure NAME ARCH MICRO SEQ MICRO_BATCHES
  "$PROGRAM" train --arch "$2" --data "$WORK/tokens.h5" -o "$WORK/run" --force --device cuda --dtype bf16 \
    --micro-batch "$3" --seq-len "$4" --global-batch $(($3 * $5)) --steps $((16 / $5 + 6)) --lr 1e-4 \
    --save-final false --profile-step 5 --json > "$WORK/result.json" 2> "$WORK/log"
  python3 - "$1, $3 x $4, $5 a step" "$WORK/result.json" <<'P'
import json, sys
r = json.load(open(sys.argv[2]))
g = r['gpu_memory'][0]
print(f"{sys.argv[1]:28s} {r['tokens_per_s']:9.0f} tok/s   memory {g['measured'] / 2**30:6.2f} GiB, "
      f"predicted {g['predicted'] / 2**30:6.2f} ({100 * (g['measured'] / g['predicted'] - 1):+.1f} %)")
P
  grep -o 'MFU [0-9]* %' "$WORK/log" | tail -n 1 | sed 's/^/    /'
  grep -A 12 'by kind of work' "$WORK/log" | sed 's/^/    /'
}

measure 1B 1b 8 2048 1
beside 1B 8 2048
measure 1B 1b 8 2048 8
measure "four 7B layers" "$WORK/7bx4.ini" 2 4096 1
beside 7Bx4 2 4096
measure "four 7B layers" "$WORK/7bx4.ini" 2 4096 8
measure 124M 124m 16 1024 1
beside 124M 16 1024
