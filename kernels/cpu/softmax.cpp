#include "kernels/softmax.h"

#include "kernels/cpu/kernel_table.h"
#include "src/base/error.h"

namespace lacuna {

void softmax(float* scores, std::int64_t count, float scale, Isa isa) {
  LACUNA_ASSERT(count >= 0 && scale > 0);
  if (count > 0) cpu::table_of(isa).softmax_row(scores, count, scale);
}

}  // namespace lacuna
