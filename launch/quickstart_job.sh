# shellcheck shell=bash
# The main job of the quickstart: text -> tokens -> parent -> control and child -> folders -> table. Sourced by
# quickstart.sh; steps, logs and errors come from lib.sh.

LACUNA=$ROOT/build/lacuna
# One setting for all three runs: control and child see the same extra tokens in the same order.
TRAINING=(--global-batch 16 --micro-batch 4 --seq-len 128 --quiet --json --force)
# Four CPU ranks; on a machine with GPUs one of them, or four ranks where four are.
RANKS=(--ranks 4 --pp 2 --tp 2 --device cpu)
DEVICE=(--device cpu)
LAYOUT="4 ranks (2 pipeline x 2 tensor)"
use_gpus() {
  local gpus
  gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU') || gpus=0
  [ "$gpus" -ge 1 ] || die 69 "--cuda, and no GPU is here (nvidia-smi shows none)"
  DEVICE=(--device cuda)
  RANKS=(--device cuda)
  LAYOUT="one GPU"
  if [ "$gpus" -ge 4 ]; then
    RANKS=(--ranks 4 --pp 2 --tp 2 --device cuda)
    LAYOUT="4 GPUs (2 pipeline x 2 tensor)"
  fi
}
PARENT_STEPS=${QUICKSTART_PARENT_STEPS:-700}
EXTRA_STEPS=${QUICKSTART_EXTRA_STEPS:-350}

# into FILE COMMAND...: standard output goes to the file, the rest to the step's log.
into() {
  local file=$1
  shift
  "$@" > "$file"
}

write_stories() {
  "$LACUNA" stories --bytes 3000000 --seed 1 --force -o train.txt
  "$LACUNA" stories --bytes 200000 --seed 2 --force -o held_out.txt
}

# The last tenth of the user's text, from a line's start on, is held out.
split_text() {
  local lines
  lines=$(wc -l < "$1")
  [ "$lines" -ge 20 ] || { echo "$1 has $lines lines, too few to hold a tenth out"; return 65; }
  head -n $((lines - lines / 10)) "$1" > train.txt
  tail -n $((lines / 10)) "$1" > held_out.txt
}

make_tokens() {  # make_tokens TOKENIZER
  "$LACUNA" tokenize -m "$1" --text train.txt --force -o tokens.h5
}

extra() {  # extra FOLDER VERB...: control and child alike, on the same tokens
  local folder=$1
  shift
  into "$folder.json" "$LACUNA" "$@" -m "$PARENT" --data tokens.h5 -o "$folder" "${TRAINING[@]}" "${RANKS[@]}" \
    --steps "$EXTRA_STEPS" --seed 7 --lr "$EXTRA_LR" --lr-schedule cosine --warmup-steps 20
}

export_all() {
  local name
  for name in "$@"; do "$LACUNA" export -m "$name.run" --force -o "$name"; done
}

swap_alone() {
  "$LACUNA" recipe drelu --start plain -m "$PARENT" --data tokens.h5 -o swap.run "${TRAINING[@]}" "${DEVICE[@]}" --steps 0
  into swap.eval.json "$LACUNA" eval -m swap.run --text held_out.txt --seq-len 128 --json "${DEVICE[@]}"
}

measure() {
  local name
  for name in parent control child; do
    into $name.inspect.json "$LACUNA" inspect "$(model_of $name)" --json
    into $name.eval.json "$LACUNA" eval -m "$(model_of $name)" --text held_out.txt --seq-len 128 --bigram tokens.h5 --json "${DEVICE[@]}"
    into $name.bench.json "$LACUNA" bench -m "$(model_of $name)" --json "${DEVICE[@]}"
  done
}

model_of() { if [ "$1" = parent ]; then echo "$PARENT_MODEL"; else echo "$1"; fi; }

# run_main_job FOLDER [HF_FOLDER TEXT_FILE]
run_main_job() {
  local out=$1 user_model=${2:-} user_text=${3:-} started=$SECONDS
  if [ "$KIND" = cuda ]; then use_gpus; fi
  if [ -n "$user_model" ]; then
    user_model=$(realpath "$user_model")
    user_text=$(realpath "$user_text")
  fi
  if [ "$DRY_RUN" = no ]; then
    mkdir -p "$out"
    cd "$out"
  fi
  if [ -n "$user_model" ]; then
    PARENT=$user_model PARENT_MODEL=$user_model EXTRA_LR=${QUICKSTART_LR:-1e-3}
    step "your text, a tenth held out" split_text "$user_text"
    step "tokens" make_tokens "$user_model"
  else
    PARENT=parent.run PARENT_MODEL=parent EXTRA_LR=${QUICKSTART_LR:-3e-3}
    step "stories (3 MB)" write_stories
    step "vocabulary of 1,024" "$LACUNA" tokenize --train-vocab 1024 --text train.txt --force -o tokenizer
    step "tokens" make_tokens tokenizer
    step "parent: $PARENT_STEPS steps on $LAYOUT" into parent.json "$LACUNA" train --arch tiny \
      --data tokens.h5 -o parent.run "${TRAINING[@]}" "${RANKS[@]}" --steps "$PARENT_STEPS" --lr "$EXTRA_LR" \
      --lr-schedule constant --warmup-steps 40
  fi
  step "control: $EXTRA_STEPS more steps" extra control.run train
  step "child: recipe drelu, the same $EXTRA_STEPS steps" extra child.run recipe drelu --l1 3e-4
  step "export, proved against the trainer" export_all control child $([ -n "$user_model" ] || echo parent)
  step "swap without training" swap_alone
  step "held-out text, decoding speed" measure
  if [ "$DRY_RUN" = yes ]; then return; fi
  python3 "$ROOT/launch/quickstart_table.py" "$PARENT_MODEL"
  echo
  "$LACUNA" generate -m child "${DEVICE[@]}" -p "$(head -c 60 held_out.txt | head -n 1)" -n 40 2> /dev/null || true
  echo
  echo "the main job took $((SECONDS - started)) s; the sparse model is in $out/child, all figures in $out/result.json"
  echo "next: build/lacuna generate -m $out/child -p 'One morning' -n 100"
}
