#!/bin/bash
# kill -9 of a random rank, again and again, under a checkpoint every step: no committed step is ever lost, and
# the run that comes through has the same bytes as one that was never disturbed.
#   tests/train/kill/run.sh KILLS [BUILD_FOLDER]
set -euo pipefail
KILLS=${1:-5}
LACUNA=${2:-build}/lacuna
LACUNA=$(realpath "$LACUNA")
WORK=$(mktemp -d "${TMPDIR:-/tmp}/lacuna-kill-XXXXXX")
trap 'pkill -9 -P "${job:-$$}" 2> /dev/null || true; rm -rf "$WORK"' EXIT
RANDOM=20 # a fixed seed: the same sequence of waits and ranks
cd "$WORK"

cat > arch.ini <<'INI'
[model]
hidden = 32
ffn = 64
layers = 4
heads = 4
kv-heads = 2
max-positions = 64
tied-embeddings = yes
INI
"$LACUNA" stories --bytes 60000 --seed 3 -o text.txt 2> log
"$LACUNA" tokenize --train-vocab 300 --text text.txt -o tokenizer 2>> log
"$LACUNA" tokenize -m tokenizer --text text.txt -o tokens.h5 2>> log

# A constant rate: what a step does depends on how many are still to come in no way, so the disturbed run need
# not know its end.
train() {  # train FOLDER STEPS SAVE_EVERY: in the background, result in FOLDER.json
  "$LACUNA" train --ranks 4 --pp 2 --tp 2 --arch arch.ini --data tokens.h5 -o "$1" --global-batch 4 --micro-batch 1 \
    --seq-len 16 --steps "$2" --save-every "$3" --keep-last 3 --lr 1e-3 --lr-schedule constant --quiet --json \
    > "$1.json" 2> "$1.err" &
}
newest() {  # the number of the newest committed step; a step folder appears by a rename, so it is committed
  local last
  last=$(find "$1" -maxdepth 1 -name 'step-*' ! -name '*tmp*' 2> /dev/null | sort | tail -n 1)
  if [ -n "$last" ]; then echo "$((10#${last##*step-}))"; else echo 0; fi
}
field() { sed -n "s/.*\"$2\":\"\([^\"]*\)\".*/\1/p" "$1"; }

done_kills=0 inside=0 attempts=0
while [ "$done_kills" -lt "$KILLS" ]; do
  attempts=$((attempts + 1))
  [ "$attempts" -le $((4 * KILLS)) ] || { echo "too few kills came to pass: $done_kills of $KILLS"; exit 1; }
  before=$(newest killed)
  train killed 1000000 1
  job=$!
  # Let it get past the resume: at least one more step is committed, or it ended.
  while kill -0 $job 2> /dev/null && [ "$(newest killed)" -le "$before" ]; do sleep 0.05; done
  sleep "0.$((RANDOM % 5))$((RANDOM % 10))"
  # The job is a launcher, its child is mpirun, and mpirun's children are the ranks.
  mapfile -t ranks < <(for launcher in $(pgrep -P $job); do pgrep -P "$launcher" -f lacuna-train; done)
  if [ ${#ranks[@]} -lt 4 ]; then
    kill -TERM $job 2> /dev/null || true
  fi
  committed=$(newest killed)
  if [ ${#ranks[@]} -ge 4 ]; then
    # Every other kill waits for a save to begin.
    if [ $((attempts % 2)) -eq 0 ]; then
      for _ in $(seq 200); do
        compgen -G 'killed/*tmp-*' > /dev/null && break
        sleep 0.002
      done
    fi
    if compgen -G 'killed/*tmp-*' > /dev/null; then in_save=1; else in_save=0; fi
    if kill -9 "${ranks[$((RANDOM % ${#ranks[@]}))]}" 2> /dev/null; then
      done_kills=$((done_kills + 1)) inside=$((inside + in_save))
    fi
  fi
  code=0
  wait $job || code=$?
  after=$(newest killed)
  [ "$after" -ge "$committed" ] || { echo "step $committed was committed, step $after is what is left"; exit 1; }
  if [ "$after" -gt 0 ]; then
    "$LACUNA" verify "killed/step-$(printf '%09d' "$after")" > /dev/null || { echo "step $after does not verify"; exit 1; }
  fi
  [ "$code" -ne 0 ] || { echo "the run ended by itself"; exit 1; }
done
last=$(($(newest killed) + 5))
train killed $last 1
wait $! || { cat killed.err; echo "the last attempt failed"; exit 1; }
train undisturbed $last 0
wait $! || { cat undisturbed.err; echo "the undisturbed run failed"; exit 1; }
wanted=$(field undisturbed.json content_hash) got=$(field killed.json content_hash)
echo "$done_kills kills in $attempts attempts, $inside of them inside a save; step $last: content hash $got, undisturbed $wanted"
[ -n "$got" ] && [ "$got" = "$wanted" ]
