#include <algorithm>

#include "parallel/plan/generators/compute_rows.h"
#include "parallel/plan/generators/generators.h"

namespace lacuna {

Schedule one_f_one_b(int ranks, int micros) {
  Schedule schedule = empty_schedule("1f1b", ranks, micros);
  for (int stage = 0; stage < ranks; ++stage) {
    int forwards = 0, backwards = 0;
    const auto forward = [&] { add_compute(schedule, stage, Op::Forward, forwards++); };
    const auto backward = [&] { add_compute(schedule, stage, Op::Backward, backwards++); };
    const int ahead = std::min(ranks - 1 - stage, micros);
    while (forwards < ahead) forward();
    while (forwards < micros) forward(), backward();
    while (backwards < micros) backward();
    add_compute(schedule, stage, Op::Reduce, -1);
  }
  return schedule;
}

}  // namespace lacuna
