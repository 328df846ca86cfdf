#include "kernels/unpack.h"

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/run_rows.h"
#include "src/base/error.h"

namespace lacuna {

void unpack_row(const MatrixView& w, std::int64_t row, float* out, Isa isa) {
  LACUNA_ASSERT(cpu::is_weight_type(w.dtype) && row >= 0 && row < w.rows);
  cpu::table_of(isa).unpack(w.dtype, w.row(row), out, w.cols);
}

}  // namespace lacuna
