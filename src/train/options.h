// Everything a training run can be told, listed once. INI file, flags, config.resolved.ini and --help are
// visitors over it (src/base/fields.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lacuna {

struct TrainOptions {
  // where
  int pp = 1, tp = 1, dp = 0;
  std::vector<std::int64_t> cuts;
  std::string schedule = "1f1b", bpipe = "off";
  int pieces = 1;
  bool split_backward = false, recompute = false;
  std::string device = "auto", dtype = "fp32";
  bool deterministic = false;
  int virtual_ranks = 1;
  int threads = 1;
  // what
  std::string data;
  double valid_fraction = 0;
  std::int64_t seq_len = 256, micro_batch = 1, global_batch = 8, steps = 100;
  double max_minutes = 0;
  std::uint64_t seed = 1;
  // optimizer
  double lr = 3e-4, lr_final_fraction = 0.1, beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0.1,
         clip = 1.0;
  std::string lr_schedule = "cosine";
  std::int64_t warmup_steps = 0, decay_steps = 0;
  double l1 = 0;
  std::int64_t l1_warmup_steps = 0;
  double l1_knee = 0, distil = 0;
  // what it writes
  std::int64_t profile_step = 0;
  std::int64_t log_every = 10, eval_every = 0, eval_sequences = 64, save_every = 0;
  double save_minutes = 30;
  int keep_last = 3;
  std::int64_t keep_every = 0;
  bool save_final = true;
  std::string resume = "auto";
  // what ends it
  int guard_in_a_row = 3, guard_per_thousand = 10;
  double hang_seconds = 300;

  template <class Visitor>
  void visit(Visitor&& field) {
    field("parallel.pp", pp, "pipeline stages");
    field("parallel.tp", tp, "tensor-parallel ranks; also splits the sequence outside attention and FFN");
    field("parallel.dp", dp, "data-parallel replicas; 0 = what is left of the ranks");
    field("parallel.cuts", cuts, "layers of each stage, e.g. 3,5,4; empty = even");
    field("parallel.schedule", schedule, "1f1b | gpipe");
    field("parallel.bpipe", bpipe, "off | tight | loose: balance stashes between paired stages");
    field("parallel.pieces", pieces, "pieces of a stash that BPipe moves one by one");
    field("parallel.split-backward", split_backward,
          "gradients of inputs and of weights as two actions: the stage before waits for the first only");
    field("parallel.recompute", recompute,
          "keep only block inputs, run blocks forward again in the backward");
    field("parallel.device", device, "auto | cpu | cuda (auto: a GPU where every rank has one)");
    field("parallel.deterministic", deterministic,
          "CUDA: only algorithms that give the same bits in every run (attention backward gets slower)");
    field("parallel.virtual-ranks", virtual_ranks,
          "ranks that are threads of this one process, and share its GPUs");
    field("parallel.dtype", dtype, "fp64 | fp32 | bf16 (bf16: fp32 master weights and accumulation)");
    field("parallel.threads", threads, "threads per rank for matrix products; results may depend on it");
    field("data.data", data, "tokens.h5");
    field("data.valid-fraction", valid_fraction,
          "last part of the windows, kept out of training for evaluation");
    field("train.seq-len", seq_len, "tokens of a window");
    field("train.micro-batch", micro_batch, "sequences of a micro-batch");
    field("train.global-batch", global_batch, "sequences of a step, over all replicas");
    field("train.steps", steps, "steps of the whole run");
    field("train.max-minutes", max_minutes, "stop and save after this long; 0 = no limit");
    field("train.seed", seed, "of initial weights and data order");
    field("optim.lr", lr, "peak learning rate");
    field("optim.lr-schedule", lr_schedule, "constant | cosine | linear | wsd");
    field("optim.warmup-steps", warmup_steps, "linear warm-up");
    field("optim.decay-steps", decay_steps, "wsd: steps of the decay; 0 = a fifth");
    field("optim.lr-final-fraction", lr_final_fraction, "rate at the last step over the peak");
    field("optim.beta1", beta1, "AdamW");
    field("optim.beta2", beta2, "AdamW");
    field("optim.eps", eps, "AdamW");
    field("optim.weight-decay", weight_decay, "AdamW, matrices only");
    field("optim.clip", clip, "gradient norm is clipped to this; 0 = never");
    field("optim.l1", l1, "weight of mean over layers and tokens of sum |FFN product|");
    field("optim.l1-warmup-steps", l1_warmup_steps, "steps over which l1 grows from 0, linearly");
    field("optim.l1-knee", l1_knee,
          "k > 0: the sum is of k·log(1 + |product|/k), which spares what is well above k");
    field("optim.distil", distil,
          "share (0 to 1) of the loss that is the distance to the probabilities of --parent, or of --model");
    field("log.profile-step", profile_step,
          "this step's work by kind, and trace.json for Perfetto (rank 0); 0 = none");
    field("log.log-every", log_every, "steps between progress lines and log entries");
    field("log.eval-every", eval_every, "steps between evaluations on the kept-out windows; 0 = none");
    field("log.eval-sequences", eval_sequences, "sequences of an evaluation");
    field("save.save-every", save_every, "steps between checkpoints; 0 = by time");
    field("save.save-minutes", save_minutes, "minutes between checkpoints when save-every is 0");
    field("save.keep-last", keep_last, "newest checkpoints that are kept");
    field("save.keep-every", keep_every, "also keep steps that are a multiple of this; 0 = none");
    field("save.save-final", save_final, "save when the run ends; false: for measurements of speed");
    field("save.resume", resume, "auto | never | STEP");
    field("guard.in-a-row", guard_in_a_row, "skipped steps (NaN, infinity) in a row that end the run");
    field("guard.per-thousand", guard_per_thousand, "skipped steps among 1000 that end the run");
    field("guard.hang-seconds", hang_seconds, "a rank without progress for this long ends the job (exit 75)");
  }

  // The weight of the L1 term at a step.
  double l1_at(std::int64_t step) const {
    if (step >= l1_warmup_steps) return l1;
    return l1 * static_cast<double>(step + 1) / static_cast<double>(l1_warmup_steps + 1);
  }

  // Every violated rule, for `world` ranks; empty: fine. Fills dp when it was 0.
  std::vector<std::string> complete_and_check(int world);
};

}  // namespace lacuna
