// Gradient norms without a float atomic: squares per segment in fp64, then the norm, the clip factor and
// whether everything is finite.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/adamw.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/segments.h"
#include "src/base/dtype.h"

namespace lacuna::cuda {

// Bytes for `chunks` chunks; contents do not matter.
std::size_t sum_squares_workspace(std::int64_t chunks);
// squares[i] = Σ from² of segment i in fp64 (products of floats are exact), 0 for an empty one. dtype: F64,
// F32 or BF16. `segments` entries in the table. The order depends on the segment's size alone.
void sum_squares(DType dtype, const Segment* table, std::int64_t segments, Chunks chunks, double* squares,
                 void* workspace, Stream stream);

// *control (device): grad_norm = sqrt(Σ squares, added in ascending order), grad_scale = min(1, max_norm /
// (grad_norm + 1e-6)) or 1 when max_norm is 0, finite = whether the norm and *loss (may be null) are finite.
void clip_gradients(const double* squares, std::int64_t count, double max_norm, const double* loss,
                    UpdateControl* control, Stream stream);

}  // namespace lacuna::cuda
