// Cross-entropy of a chunk of logits, which become their own gradient. One rank: cross_entropy. A vocabulary
// cut over tensor-parallel ranks:
//   cross_entropy_statistics(...)            each rank's own maximum and sums
//   all-reduce the maximum of a copy of top -> top_of_all
//   cross_entropy_rebase(...)                sums now refer to top_of_all
//   all-reduce the sum of sums
//   cross_entropy_gradient(...)              logits -> gradient; the loss is the same on every rank
//
// Pointers are device memory of the caller, contiguous, aligned to 16 bytes. dtype: F64, F32 or BF16; A is
// double for F64, else float. Orders of sums depend on the shape alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/launch.h"
#include "src/base/dtype.h"

namespace lacuna::cuda {

struct LossChunk {
  DType dtype = DType::F32;
  void* logits = nullptr;  // [rows, cols]
  // [rows]: index in the whole vocabulary, -1: not scored, its gradient is zero.
  const std::int32_t* targets = nullptr;
  std::int64_t rows = 0, cols = 0;
  std::int64_t first = 0;  // this rank's columns are the vocabulary's [first, first + valid);
  std::int64_t valid = 0;  // columns from `valid` on are padding: not read, their gradient is zero
  double scale = 1;        // the gradient is that of scale · Σ loss
};

// Bytes of `workspace` below; its contents do not matter.
std::size_t cross_entropy_workspace(DType dtype, std::int64_t rows);

// logits -> gradient; Σ loss in nats (not scaled) over scored rows is added to *loss (device).
void cross_entropy(const LossChunk& chunk, double* loss, void* workspace, Stream stream);

// top [rows] of A: the largest valid logit of this rank, minus infinity for none. sums [rows, 2] of A: the
// sum of exp(logit - top), and the target's logit minus top, or 0 where the target is another rank's (or
// none).
void cross_entropy_statistics(const LossChunk& chunk, void* top, void* sums, Stream stream);
// Makes sums refer to top_of_all instead of top.
void cross_entropy_rebase(const LossChunk& chunk, const void* top, const void* top_of_all, void* sums,
                          Stream stream);
// From top_of_all and the sums over all ranks. Σ loss is added to *loss as above.
void cross_entropy_gradient(const LossChunk& chunk, const void* top_of_all, const void* sums, double* loss,
                            void* workspace, Stream stream);

}  // namespace lacuna::cuda
