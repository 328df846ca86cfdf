#include "kernels/glu.h"

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/run_rows.h"
#include "src/base/error.h"

namespace lacuna {

std::int64_t glu(Gating gating, Runs runs, ConstRows gate, ConstRows up, Rows product, Isa isa) {
  LACUNA_ASSERT(gate.count == up.count && gate.count == product.count);
  LACUNA_ASSERT(gate.width == up.width && gate.width == product.width && cpu::runs_fit(runs, gate.width));
  const cpu::KernelTable& table = cpu::table_of(isa);
  std::int64_t zeros = 0;
  for (std::int64_t t = 0; t < gate.count; ++t)
    for (const ActiveRun& run : runs)
      zeros += table.glu_row(static_cast<int>(gating), gate.row(t) + run.start, up.row(t) + run.start,
                             product.row(t) + run.start, run.length);
  return zeros;
}

}  // namespace lacuna
