#include "parallel/plan/generators/compute_rows.h"
#include "parallel/plan/generators/generators.h"

namespace lacuna {

Schedule gpipe(int ranks, int micros) {
  Schedule schedule = empty_schedule("gpipe", ranks, micros);
  for (int stage = 0; stage < ranks; ++stage) {
    for (int micro = 0; micro < micros; ++micro) add_compute(schedule, stage, Op::Forward, micro);
    for (int micro = 0; micro < micros; ++micro) add_compute(schedule, stage, Op::Backward, micro);
    add_compute(schedule, stage, Op::Reduce, -1);
  }
  return schedule;
}

}  // namespace lacuna
