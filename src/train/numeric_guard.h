// Decides what a step with a NaN or an infinity in its loss or gradient norm means: the update is skipped on
// all ranks; too many of them end the run with exit 81. Its counts are part of the checkpoint.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lacuna {

class NumericGuard {
 public:
  NumericGuard(int in_a_row, int per_thousand) : in_a_row_(in_a_row), per_thousand_(per_thousand) {}
  // True when the update may be applied. Throws Error(Numeric) with `what_is_bad` when the budget is spent.
  bool accept(std::int64_t step, double loss, double grad_norm, const std::string& what_is_bad);
  std::int64_t skipped() const { return static_cast<std::int64_t>(skipped_steps_.size()); }
  std::string to_state() const;
  void from_state(const std::string& text);

 private:
  int in_a_row_, per_thousand_;
  std::vector<std::int64_t> skipped_steps_;  // ascending
};

}  // namespace lacuna
