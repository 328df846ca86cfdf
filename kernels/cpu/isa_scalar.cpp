// The inner loops without vector instructions.
#include <bit>
#include <cstring>

#include "kernels/cpu/kernel_table.h"

#define LANES_INLINE static inline

namespace lacuna::cpu {

namespace {
#include "kernels/cpu/lanes_scalar.h"

#include "kernels/cpu/bodies_matrix.h"
#include "kernels/cpu/bodies_rows.h"
}  // namespace

const KernelTable kScalarTable = {unpack,     dot_rows,    dot_block, axpy_rows,
                                  axpy_block, rmsnorm_row, glu_row,   softmax_row};

}  // namespace lacuna::cpu
