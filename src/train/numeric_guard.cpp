#include "src/train/numeric_guard.h"

#include <algorithm>
#include <cmath>

#include "src/base/error.h"
#include "src/base/fields.h"

namespace lacuna {

bool NumericGuard::accept(std::int64_t step, double loss, double grad_norm, const std::string& what_is_bad) {
  if (std::isfinite(loss) && std::isfinite(grad_norm)) return true;
  skipped_steps_.push_back(step);
  int row = 0;
  for (std::int64_t expected = step; row < static_cast<int>(skipped_steps_.size()); ++row, --expected)
    if (skipped_steps_[skipped_steps_.size() - 1 - static_cast<std::size_t>(row)] != expected) break;
  const auto recent = std::count_if(skipped_steps_.begin(), skipped_steps_.end(),
                                    [&](std::int64_t s) { return s > step - 1000; });
  LACUNA_CHECK(
      row < in_a_row_ && recent <= per_thousand_, ErrorKind::Numeric,
      "step {}: loss {}, gradient norm {} ({}); {} steps skipped in a row (limit {}), {} among the last "
      "1000 (limit {}): lower --lr or look at the data",
      step, loss, grad_norm, what_is_bad, row, in_a_row_, recent, per_thousand_);
  return false;
}

std::string NumericGuard::to_state() const {
  return to_text(skipped_steps_);
}
void NumericGuard::from_state(const std::string& text) {
  from_text(text, skipped_steps_);
}

}  // namespace lacuna
