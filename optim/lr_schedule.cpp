#include "optim/lr_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "src/base/error.h"

namespace lacuna {

double LrSchedule::at(std::int64_t step) const {
  if (step < warmup_steps) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  if (kind == "constant") return peak;
  const double floor = peak * final_fraction;
  // Share of the decay that is over: 0 at the first step after the warm-up, 1 at the last step.
  const auto done = [&](std::int64_t first) {
    const double length = static_cast<double>(std::max<std::int64_t>(steps - 1 - first, 1));
    return std::clamp(static_cast<double>(step - first) / length, 0.0, 1.0);
  };
  if (kind == "cosine") {
    const double x = done(warmup_steps);
    return floor + (peak - floor) * 0.5 * (1 + std::cos(std::numbers::pi * x));
  }
  if (kind == "linear") return peak + (floor - peak) * done(warmup_steps);
  if (kind == "wsd") {
    const std::int64_t length = decay_steps > 0 ? decay_steps : std::max<std::int64_t>(steps / 5, 1);
    const std::int64_t first = std::max(steps - 1 - length, warmup_steps);
    return step <= first ? peak : peak + (floor - peak) * done(first);
  }
  fail(ErrorKind::Usage, "unknown lr-schedule '{}' (constant, cosine, linear, wsd)", kind);
}

}  // namespace lacuna
