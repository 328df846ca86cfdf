#!/bin/bash
# Speed on one GPU, random weights, bf16. Training: tokens/s, MFU, predicted and measured memory of three shapes. With
# --decode: decoding instead, dense, over a curve of zeros and carved. With --baseline SCRIPT (a Python program that takes
# SHAPE MICRO_BATCH SEQ, or SHAPE CONTEXT for decoding, and prints its tokens/s) that runs in the same job right after
# each shape. With --memory: predicted and measured peaks of many configurations instead, layouts as virtual ranks of the
# one GPU, several at a time. With --carve: the seconds that carving takes, by phase, twice: the second time the model's
# files are surely in memory.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

usage() {
  cat <<'TEXT'
usage: launch/bench_gpu.sh [--program PATH] [--memory | --decode | --carve] [--baseline SCRIPT [ARGUMENT]...]
  --program   the built lacuna (default: build/gpu/lacuna, else build/lacuna)
  --memory    memory of 16 configurations instead of speed (about 80 GB of GPU memory in all)
  --decode    decoding instead of training
  --carve     carving a random 7B (32 x 4096, FFN 11008; 14 GB of disk) by calibration alone, without saving it
  --baseline  what to run beside it, e.g. --baseline torch_train.py compile
TEXT
}

PROGRAM=$ROOT/build/gpu/lacuna
[ -x "$PROGRAM" ] || PROGRAM=$ROOT/build/lacuna
BASELINE=()
JOB=training
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --program) [ $# -ge 2 ] || die 64 "--program needs a path"; PROGRAM=$2; shift ;;
    --memory) JOB=memory ;;
    --decode) JOB=decoding ;;
    --carve) JOB=carving ;;
    --baseline) shift; BASELINE=("$@"); break ;;
    *) usage; die 64 "unknown argument $1" ;;
  esac
  shift
done
[ -x "$PROGRAM" ] || die 69 "$PROGRAM is not there: launch/gpu_test.sh --build-only makes build/gpu/lacuna"

beside() {
  local said errors
  [ ${#BASELINE[@]} -gt 0 ] || return 0
  errors=$(mktemp)
  if said=$(python3 "${BASELINE[@]}" "$@" 2> "$errors"); then
    echo "    baseline: $(tail -n 1 <<< "$said")"
  else
    echo "    baseline failed: $(tail -n 1 "$errors")"
  fi
  rm -f "$errors"
}

decoding() {
  local shape parts
  decode() { "$PROGRAM" bench --device cuda --prompt-tokens 512 -n 96 "$@"; }
  for shape in mistral-7b llama3.2-1b; do
    echo "== $shape"
    decode --arch "$shape" --activation drelu
    beside "$shape" 1024
  done
  echo "== mistral-7b relu"
  decode --arch mistral-7b --activation relu --zeros 0.9
  for parts in 3 2 1; do
    echo "== llama2-7b as carved, $((2 * parts)) of 8 parts on"
    decode --arch llama2-7b --experts 8 --shared $parts --active $parts
  done
}

# Tokens for training, and shapes that no --arch names.
prepare() {
  WORK=$(mktemp -d)
  trap 'rm -rf "$WORK"' EXIT
  "$PROGRAM" stories --bytes 3000000 -o "$WORK/text" > /dev/null 2>&1
  "$PROGRAM" tokenize --train-vocab 1024 --text "$WORK/text" -o "$WORK/tokenizer" > /dev/null 2>&1
  "$PROGRAM" tokenize -m "$WORK/tokenizer" --text "$WORK/text" -o "$WORK/tokens.h5" > /dev/null 2>&1
  printf '[model]\nhidden = 4096\nffn = 14336\nlayers = 4\nheads = 32\nkv-heads = 8\nvocab = 32000\nmax-positions = 4096\n' \
    > "$WORK/7bx4.ini"
  printf '[model]\nhidden = 1024\nffn = 2816\nlayers = 12\nheads = 16\nkv-heads = 4\nvocab = 32000\nmax-positions = 4096\n' \
    > "$WORK/12x1024.ini"
}

carving() {
  prepare
  python3 "$ROOT/tests/support/tools/random_hf_folder.py" "$WORK/7b" 32 4096 11008 32 32 32000
  for _ in first second; do
    "$PROGRAM" recipe cmoe -m "$WORK/7b" --data "$WORK/tokens.h5" -o "$WORK/carved.run" --force --device cuda --dtype bf16 \
      --seq-len 512 --micro-batch 2 --global-batch 4 --threads "$(nproc)" --steps 0 --save-final false 2>&1 |
      grep -E 'calibration:|error'
  done
}

# train NAME FLAGS...: NAME.json, NAME.log; what it cannot do it says in its row.
train() {
  local name=$1
  shift
  "$PROGRAM" train --data "$WORK/tokens.h5" -o "$WORK/$name.run" --force --device cuda --lr 1e-4 --save-final false \
    --json "$@" > "$WORK/$name.json" 2> "$WORK/$name.log" || tail -n 1 "$WORK/$name.log"
}

row() {  # row TITLE NAME
  python3 - "$1" "$WORK/$2.json" <<'P'
import json, sys
try:
    r = json.load(open(sys.argv[2]))
    g = r['gpu_memory'][0]
except (ValueError, LookupError):
    sys.exit(f"{sys.argv[1]}: no result")
print(f"{sys.argv[1]:52s} {r['tokens_per_s']:9.0f} tok/s   memory {g['measured'] / 2**30:6.2f} GiB, "
      f"predicted {g['predicted'] / 2**30:6.2f} ({100 * (g['measured'] / g['predicted'] - 1):+.1f} %)")
P
}

measure() {  # measure TITLE ARCH MICRO SEQ MICRO_BATCHES [FLAG...]
  local title="$1, $3 x $4, $5 a step" arch=$2 micro=$3 seq=$4 micros=$5
  shift 5
  train speed --arch "$arch" --dtype bf16 --micro-batch "$micro" --seq-len "$seq" --global-batch $((micro * micros)) \
    --steps $((16 / micros + 6)) --profile-step 5 "$@"
  row "$title $*" speed
  grep -o 'MFU [0-9]* %' "$WORK/speed.log" | tail -n 1 | sed 's/^/    /' || true
  grep -A 12 'by kind of work' "$WORK/speed.log" | sed 's/^/    /' || true
}

training() {
  prepare
  measure 1B 1b 8 2048 1
  beside 1B 8 2048
  measure 1B 1b 8 2048 8
  measure 1B 1b 8 2048 8 --split-backward
  measure "four 7B layers" "$WORK/7bx4.ini" 2 4096 1
  beside 7Bx4 2 4096
  measure "four 7B layers" "$WORK/7bx4.ini" 2 4096 8
  measure 124M 124m 16 1024 1
  beside 124M 16 1024
}

CONFIGURATIONS='1b --micro-batch 4 --seq-len 2048 --global-batch 4
124m --micro-batch 16 --seq-len 1024 --global-batch 16
124m --micro-batch 4 --seq-len 1024 --global-batch 16
124m --micro-batch 16 --seq-len 1024 --global-batch 16 --recompute true
124m --micro-batch 8 --seq-len 1024 --global-batch 8 --dtype fp32
124m --micro-batch 1 --seq-len 1024 --global-batch 8
12x1024 --micro-batch 8 --seq-len 2048 --global-batch 8
12x1024 --micro-batch 8 --seq-len 2048 --global-batch 8 --deterministic true
12x1024 --micro-batch 2 --seq-len 2048 --global-batch 16 --virtual-ranks 2 --pp 2
12x1024 --micro-batch 2 --seq-len 2048 --global-batch 16 --virtual-ranks 2 --pp 2 --schedule gpipe
12x1024 --micro-batch 2 --seq-len 2048 --global-batch 16 --virtual-ranks 4 --pp 4
12x1024 --micro-batch 2 --seq-len 2048 --global-batch 16 --virtual-ranks 4 --pp 4 --bpipe tight
12x1024 --micro-batch 2 --seq-len 2048 --global-batch 16 --virtual-ranks 4 --pp 4 --bpipe loose --pieces 4
12x1024 --micro-batch 2 --seq-len 2048 --global-batch 16 --virtual-ranks 2 --tp 2
12x1024 --micro-batch 2 --seq-len 2048 --global-batch 16 --virtual-ranks 2 --dp 2
12x1024 --micro-batch 2 --seq-len 2048 --global-batch 16 --virtual-ranks 4 --pp 2 --tp 2 --bpipe tight'

memory() {
  local number=0 shape flags
  prepare
  while read -r shape flags; do
    number=$((number + 1))
    [ ! -e "$WORK/$shape.ini" ] || shape=$WORK/$shape.ini
    [[ $flags == *--dtype* ]] || flags+=" --dtype bf16"
    # Four at a time: the first takes 30 GB, others at most 15.
    if [ "$number" -gt 4 ]; then wait -n; fi
    train "memory-$number" --arch "$shape" --steps 4 $flags < /dev/null &
  done <<< "$CONFIGURATIONS"
  wait
  number=0
  while read -r flags; do
    number=$((number + 1))
    row "$(sed 's/--\([a-z-]*-\)*\(batch\|len\) //g; s/--//g' <<< "$flags")" "memory-$number" || true
  done <<< "$CONFIGURATIONS"
}

nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -n 1
"$JOB"
