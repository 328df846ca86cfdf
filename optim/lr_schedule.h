// Learning rate over steps: a linear warm-up, then constant, cosine, linear, or WSD (warm-up, stable, decay).
#pragma once

#include <cstdint>
#include <string>

namespace lacuna {

struct LrSchedule {
  std::string kind = "cosine";  // constant | cosine | linear | wsd
  double peak = 3e-4;
  double final_fraction = 0.1;  // of the peak at the last step (cosine, linear, wsd)
  std::int64_t warmup_steps = 0;
  std::int64_t decay_steps = 0;  // wsd: length of the decay; 0 = a fifth of the steps
  std::int64_t steps = 1;        // of the whole run

  // Rate of step `step` (0-based). The first warm-up step is peak / warmup_steps, not 0.
  double at(std::int64_t step) const;
};

}  // namespace lacuna
