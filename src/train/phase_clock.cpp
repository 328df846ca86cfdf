#include "src/train/phase_clock.h"

#include <fmt/format.h>

#include <algorithm>

#include "src/model/cuda/ops.h"

namespace lacuna {

void PhaseClock::settle() {
  if (device_.is_cuda()) on_cuda::synchronise();
  const Clock::time_point then = std::exchange(mark_, Clock::now());
  phases_[current_].second += std::chrono::duration<double>(mark_ - then).count();
}

std::size_t PhaseClock::begin(const std::string& name) {
  settle();
  const auto known =
      std::find_if(phases_.begin(), phases_.end(), [&](const auto& phase) { return phase.first == name; });
  const auto place = static_cast<std::size_t>(known - phases_.begin());
  if (place == phases_.size()) phases_.emplace_back(name, 0.0);
  return std::exchange(current_, place);
}

void PhaseClock::end(std::size_t around) {
  settle();
  current_ = around;
}

std::vector<std::pair<std::string, double>> PhaseClock::seconds() {
  settle();
  std::vector<std::pair<std::string, double>> out(phases_.begin() + 1, phases_.end());
  out.push_back(phases_.front());
  return out;
}

std::string PhaseClock::text() {
  double sum = 0;
  std::string parts;
  for (const auto& [name, took] : seconds()) {
    sum += took;
    parts += fmt::format("{}{} {:.2f}", parts.empty() ? "" : " + ", name, took);
  }
  return fmt::format("{:.2f} s = {}", sum, parts);
}

}  // namespace lacuna
