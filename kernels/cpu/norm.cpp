#include "kernels/norm.h"

#include "kernels/cpu/kernel_table.h"
#include "src/base/error.h"

namespace lacuna {

void rmsnorm(ConstRows x, const float* weight, double eps, Rows y, Isa isa) {
  LACUNA_ASSERT(x.count == y.count && x.width == y.width && (x.width > 0 || x.count == 0));
  const cpu::KernelTable& table = cpu::table_of(isa);
  for (std::int64_t t = 0; t < x.count; ++t)
    table.rmsnorm_row(x.row(t), weight, static_cast<float>(eps), y.row(t), x.width);
}

}  // namespace lacuna
