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

bool is_step(const std::string& text) {
  return !text.empty() && text.size() < 16 && text.find_first_not_of("0123456789") == std::string::npos;
}

}  // namespace

std::vector<std::string> TrainOptions::complete_and_check(int world) {
  std::vector<std::string> problems;
  at_least(problems, "pp", pp, 1);
  at_least(problems, "tp", tp, 1);
  at_least(problems, "dp", dp, 0);
  if (!problems.empty()) return problems;
  if (dp == 0) dp = world % (pp * tp) == 0 ? world / (pp * tp) : 1;
  if (pp * tp * dp != world)
    problems.push_back(fmt::format("--pp {} x --tp {} x --dp {} makes {} ranks, but {} run{} (mpirun -n {})",
                                   pp, tp, dp, pp * tp * dp, world, world == 1 ? "s" : "", pp * tp * dp));
  one_of(problems, "schedule", schedule, {"1f1b", "gpipe"});
  one_of(problems, "bpipe", bpipe, {"off", "tight", "loose"});
  one_of(problems, "dtype", dtype, {"fp64", "fp32", "bf16"});
  one_of(problems, "device", device, {"auto", "cpu"});
  one_of(problems, "lr-schedule", lr_schedule, {"constant", "cosine", "linear", "wsd"});
  at_least<std::int64_t>(problems, "seq-len", seq_len, 1);
  at_least<std::int64_t>(problems, "micro-batch", micro_batch, 1);
  at_least<std::int64_t>(problems, "global-batch", global_batch, 1);
  at_least<std::int64_t>(problems, "steps", steps, 0);
  at_least<std::int64_t>(problems, "warmup-steps", warmup_steps, 0);
  at_least<std::int64_t>(problems, "log-every", log_every, 1);
  at_least<std::int64_t>(problems, "eval-every", eval_every, 0);
  at_least<std::int64_t>(problems, "save-every", save_every, 0);
  at_least(problems, "pieces", pieces, 1);
  at_least(problems, "threads", threads, 1);
  at_least(problems, "keep-last", keep_last, 1);
  at_least(problems, "lr", lr, 0.0);
  at_least(problems, "clip", clip, 0.0);
  at_least(problems, "l1", l1, 0.0);
  at_least(problems, "hang-seconds", hang_seconds, 1.0);
  if (!(valid_fraction >= 0 && valid_fraction < 1))
    problems.push_back(fmt::format("--valid-fraction is {}, wanted 0 to below 1", valid_fraction));
  if (eval_every > 0 && valid_fraction == 0)
    problems.push_back("--eval-every wants kept-out windows: give --valid-fraction, e.g. 0.05");
  if (micro_batch > 0 && global_batch > 0 && global_batch % (micro_batch * dp) != 0)
    problems.push_back(fmt::format("--global-batch {} is not a multiple of --micro-batch {} x dp {}",
                                   global_batch, micro_batch, dp));
  if (seq_len > 0 && micro_batch > 0 && seq_len * micro_batch % tp != 0)
    problems.push_back(fmt::format("--micro-batch {} x --seq-len {} tokens do not divide by --tp {}",
                                   micro_batch, seq_len, tp));
  if (resume != "auto" && resume != "never" && !is_step(resume))
    problems.push_back(fmt::format("--resume is '{}', wanted auto, never or a step number", resume));
  if (bpipe != "off" && pp < 2) problems.push_back("--bpipe wants --pp of at least 2 (it pairs stages)");
  return problems;
}

}  // namespace lacuna
