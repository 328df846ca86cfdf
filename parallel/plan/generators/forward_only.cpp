#include "parallel/plan/generators/compute_rows.h"
#include "parallel/plan/generators/generators.h"

namespace lacuna {

Schedule forward_only(int ranks, int micros) {
  Schedule schedule = empty_schedule("forward", ranks, micros);
  schedule.forward_only = true;
  for (int stage = 0; stage < ranks; ++stage)
    for (int micro = 0; micro < micros; ++micro) add_compute(schedule, stage, Op::Forward, micro);
  return schedule;
}

}  // namespace lacuna
