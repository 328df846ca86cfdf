// The inner loops for AVX512. Only table_of() hands them out, and only where the processor has it.
// GCC 12's own header starts unused operands with themselves (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include "kernels/cpu/kernel_table.h"

#define LANES_INLINE static inline __attribute__((always_inline))

namespace lacuna::cpu {

namespace {
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq")
#include "kernels/cpu/lanes_avx512.h"

#include "kernels/cpu/bodies_matrix.h"
#include "kernels/cpu/bodies_rows.h"
#pragma GCC pop_options
}  // namespace

const KernelTable kAvx512Table = {unpack,     dot_rows,    dot_block, axpy_rows,
                                  axpy_block, rmsnorm_row, glu_row,   softmax_row};

}  // namespace lacuna::cpu
