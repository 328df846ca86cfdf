// AdamW (arXiv 1711.05101, algorithm 2) on many parameters in one launch: full-precision weights, moments and
// the working weights in one pass. The same operations in the same order as the CPU's, each rounded (no fused
// multiply-adds): equal bits element for element.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/segments.h"
#include "src/base/dtype.h"

namespace lacuna::cuda {

// One parameter's part on this rank. A is the accumulation type: double for F64, else float.
struct AdamWSegment {
  void* master = nullptr;      // [count] of A
  const void* grad = nullptr;  // [count] of A
  void* exp_avg = nullptr;     // [count] of A
  void* exp_avg_sq = nullptr;  // [count] of A
  void* weight = nullptr;      // [count] of the compute type, written; null: none (or master itself, if A)
  std::int64_t count = 0;
  double weight_decay = 0;
};

// `step` counts updates from 1.
struct AdamWStep {
  double lr = 0, beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
  std::int64_t step = 1;
};

// What the update reads from the device: see clip_gradients in norms.h.
struct UpdateControl {
  double grad_norm = 0;     // before clipping
  double grad_scale = 1;    // gradients are multiplied by this, rounded to A
  std::int64_t finite = 1;  // 0: nothing is updated
};

// compute: F64, F32 or BF16. table and chunks (cut by the segments' counts) and control lie in device memory.
void adamw(DType compute, const AdamWSegment* table, Chunks chunks, const AdamWStep& step,
           const UpdateControl* control, Stream stream);

}  // namespace lacuna::cuda
