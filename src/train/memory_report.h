// Predicted against measured memory of the GPUs, after a run.
#pragma once

#include <cstdint>
#include <vector>

#include "src/train/parallel_context.h"

namespace lacuna {

struct GpuMemory {
  int first_rank = 0, ranks = 1;  // that share the GPU: more than one where ranks are threads
  std::int64_t predicted = 0;     // bytes, the sum of the ranks' classes
  std::int64_t measured = 0;      // the most that libtorch's allocator had handed out, and the ranks' arenas
};

// Collective over the world; equal on every rank. `predicted` is this rank's total. Empty on the CPU.
std::vector<GpuMemory> gpu_memory(ParallelContext& context, std::int64_t predicted);

}  // namespace lacuna
