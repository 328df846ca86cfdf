#include "src/train/options.h"

#include <fmt/format.h>

#include <initializer_list>

namespace lacuna {

namespace {

void one_of(std::vector<std::string>& problems, const char* flag, const std::string& value,
            std::initializer_list<const char*> allowed) {
  std::string list;
  for (const char* item : allowed) {
    if (value == item) return;
    list += (list.empty() ? "" : ", ") + std::string(item);
  }
  problems.push_back(fmt::format("--{} is '{}', wanted one of {}", flag, value, list));
}

template <class T>
void at_least(std::vector<std::string>& problems, const char* flag, T value, T least) {
  if (!(value >= least))
    problems.push_back(fmt::format("--{} is {}, wanted at least {}", flag, value, least));
}

template <class T>
void at_most(std::vector<std::string>& problems, const char* flag, T value, T most) {
  if (!(value <= most)) problems.push_back(fmt::format("--{} is {}, wanted at most {}", flag, value, most));
}

void below_one(std::vector<std::string>& problems, const char* flag, double value) {
  if (!(value >= 0 && value < 1))
    problems.push_back(fmt::format("--{} is {}, wanted 0 to below 1", flag, value));
}

// Sizes whose products must fit.
void check_sizes(std::vector<std::string>& problems, const TrainOptions& o) {
  constexpr int kMostRanks = 1 << 16;
  constexpr std::int64_t kMost = std::int64_t{1} << 30;
  at_least(problems, "pp", o.pp, 1);
  at_least(problems, "tp", o.tp, 1);
  at_least(problems, "dp", o.dp, 0);
  at_most(problems, "pp", o.pp, kMostRanks);
  at_most(problems, "tp", o.tp, kMostRanks);
  at_most(problems, "dp", o.dp, kMostRanks);
  at_least<std::int64_t>(problems, "seq-len", o.seq_len, 1);
  at_least<std::int64_t>(problems, "micro-batch", o.micro_batch, 1);
  at_least<std::int64_t>(problems, "global-batch", o.global_batch, 1);
  at_most(problems, "seq-len", o.seq_len, kMost);
  at_most(problems, "micro-batch", o.micro_batch, kMost);
  at_most(problems, "global-batch", o.global_batch, kMost);
}

void check_names(std::vector<std::string>& problems, const TrainOptions& o) {
  one_of(problems, "schedule", o.schedule, {"1f1b", "gpipe"});
  one_of(problems, "bpipe", o.bpipe, {"off", "tight", "loose"});
  one_of(problems, "dtype", o.dtype, {"fp64", "fp32", "bf16"});
  one_of(problems, "device", o.device, {"auto", "cpu", "cuda"});
  one_of(problems, "lr-schedule", o.lr_schedule, {"constant", "cosine", "linear", "wsd"});
}

// Rules of one value each.
void check_ranges(std::vector<std::string>& problems, const TrainOptions& o) {
  at_least<std::int64_t>(problems, "steps", o.steps, 0);
  at_least<std::int64_t>(problems, "warmup-steps", o.warmup_steps, 0);
  at_least<std::int64_t>(problems, "decay-steps", o.decay_steps, 0);
  at_least<std::int64_t>(problems, "l1-warmup-steps", o.l1_warmup_steps, 0);
  at_least<std::int64_t>(problems, "profile-step", o.profile_step, 0);
  at_least<std::int64_t>(problems, "log-every", o.log_every, 1);
  at_least<std::int64_t>(problems, "eval-every", o.eval_every, 0);
  at_least<std::int64_t>(problems, "eval-sequences", o.eval_sequences, 1);
  at_least<std::int64_t>(problems, "save-every", o.save_every, 0);
  at_least<std::int64_t>(problems, "keep-every", o.keep_every, 0);
  at_least(problems, "pieces", o.pieces, 1);
  at_least(problems, "threads", o.threads, 1);
  at_least(problems, "virtual-ranks", o.virtual_ranks, 1);
  at_least(problems, "keep-last", o.keep_last, 1);
  at_least(problems, "max-minutes", o.max_minutes, 0.0);
  at_least(problems, "save-minutes", o.save_minutes, 0.0);
  at_least(problems, "lr", o.lr, 0.0);
  at_least(problems, "lr-final-fraction", o.lr_final_fraction, 0.0);
  below_one(problems, "beta1", o.beta1);
  below_one(problems, "beta2", o.beta2);
  at_least(problems, "eps", o.eps, 0.0);
  at_least(problems, "weight-decay", o.weight_decay, 0.0);
  at_least(problems, "clip", o.clip, 0.0);
  at_least(problems, "l1", o.l1, 0.0);
  at_least(problems, "l1-knee", o.l1_knee, 0.0);
  at_least(problems, "distil", o.distil, 0.0);
  if (o.distil > 1) problems.push_back(fmt::format("--distil is {}, wanted a share of 0 to 1", o.distil));
  at_least(problems, "in-a-row", o.guard_in_a_row, 1);
  at_least(problems, "per-thousand", o.guard_per_thousand, 0);
  at_least(problems, "hang-seconds", o.hang_seconds, 1.0);
  below_one(problems, "valid-fraction", o.valid_fraction);
}

bool is_step(const std::string& text) {
  return !text.empty() && text.size() < 16 && text.find_first_not_of("0123456789") == std::string::npos;
}

}  // namespace

std::vector<std::string> TrainOptions::complete_and_check(int world) {
  std::vector<std::string> problems;
  check_sizes(problems, *this);
  if (!problems.empty()) return problems;
  const std::int64_t split = std::int64_t{pp} * tp;  // ranks of one replica
  if (dp == 0) dp = world % split == 0 ? static_cast<int>(world / split) : 1;
  if (split * dp != world)
    problems.push_back(fmt::format("--pp {} x --tp {} x --dp {} makes {} ranks, but {} run{} (mpirun -n {})",
                                   pp, tp, dp, split * dp, world, world == 1 ? "s" : "", split * dp));
  check_names(problems, *this);
  check_ranges(problems, *this);
  if (eval_every > 0 && valid_fraction == 0)
    problems.push_back("--eval-every wants kept-out windows: give --valid-fraction, e.g. 0.05");
  if (global_batch % (micro_batch * dp) != 0)
    problems.push_back(fmt::format("--global-batch {} is not a multiple of --micro-batch {} x dp {}",
                                   global_batch, micro_batch, dp));
  if (seq_len * micro_batch % tp != 0)
    problems.push_back(fmt::format("--micro-batch {} x --seq-len {} tokens do not divide by --tp {}",
                                   micro_batch, seq_len, tp));
  if (resume != "auto" && resume != "never" && !is_step(resume))
    problems.push_back(fmt::format("--resume is '{}', wanted auto, never or a step number", resume));
  if (split_backward && recompute)
    problems.push_back(
        "--split-backward and --recompute exclude each other: recomputing makes both gradients at once");
  if (bpipe != "off" && pp < 2) problems.push_back("--bpipe wants --pp of at least 2 (it pairs stages)");
  return problems;
}

}  // namespace lacuna
