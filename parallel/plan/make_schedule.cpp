#include "parallel/plan/make_schedule.h"

#include "parallel/plan/check.h"
#include "parallel/plan/generators/generators.h"
#include "parallel/plan/passes/passes.h"
#include "src/base/error.h"

namespace lacuna {
namespace {

void finish(Schedule& schedule) {
  add_transfers(schedule);
  assign_slots(schedule);
  const std::vector<std::string> problems = violations(schedule);
  LACUNA_CHECK(problems.empty(), ErrorKind::Internal,
               "schedule {} for {} ranks and {} micro-batches: {} problems, {}", schedule.name,
               schedule.ranks.size(), schedule.micros, problems.size(), problems.front());
}

}  // namespace

Schedule make_schedule(const std::string& kind, int pp, int micros, const std::string& bpipe, int pieces,
                       bool split_backward) {
  LACUNA_CHECK(kind == "gpipe" || kind == "1f1b", ErrorKind::Usage, "schedule '{}': wanted gpipe or 1f1b",
               kind);
  LACUNA_CHECK(bpipe == "off" || bpipe == "tight" || bpipe == "loose", ErrorKind::Usage,
               "bpipe '{}': wanted off, tight or loose", bpipe);
  LACUNA_CHECK(pieces >= 1, ErrorKind::Usage, "pieces {}: wanted at least 1", pieces);
  Schedule schedule = kind == "gpipe" ? gpipe(pp, micros) : one_f_one_b(pp, micros);
  schedule.pieces = pieces;
  if (split_backward) {
    schedule.name += "+split";
    split_backwards(schedule);
  }
  if (bpipe != "off") {
    schedule.name += "+bpipe(" + bpipe + ")";
    balance_pairs(schedule, tight_cap(schedule) + (bpipe == "loose" ? 1 : 0));
  }
  finish(schedule);
  return schedule;
}

Schedule make_forward_schedule(int pp, int micros, int pieces) {
  LACUNA_CHECK(pieces >= 1, ErrorKind::Usage, "pieces {}: wanted at least 1", pieces);
  Schedule schedule = forward_only(pp, micros);
  schedule.pieces = pieces;
  finish(schedule);
  return schedule;
}

}  // namespace lacuna
