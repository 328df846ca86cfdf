#include "src/infer/backend.h"

#include "src/base/error.h"
#include "src/infer/sampler.h"

namespace lacuna {

std::int32_t Backend::likeliest(std::int64_t index) {
  const ConstRows rows = logits(index, 1);
  return sample({rows.row(0), static_cast<std::size_t>(rows.width)}, {}, 0);
}

void Backend::trace_routes(RouteTrace* trace) {
  LACUNA_CHECK(trace == nullptr, ErrorKind::Usage, "this device does not record which experts are on");
}

}  // namespace lacuna
