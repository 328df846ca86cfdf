#include "src/train/memory_report.h"

#include <algorithm>

#include "parallel/run/node_place.h"
#include "src/model/cuda/ops.h"

namespace lacuna {

std::vector<GpuMemory> gpu_memory(ParallelContext& context, std::int64_t predicted) {
  if (!context.model_device.is_cuda()) return {};
  const bool threads = find_node_place(context.world).threads;
  // One row a rank: where it computes, predicted bytes, bytes of its arenas, peak of the process's allocator.
  std::vector<std::int64_t> mine{threads ? context.model_device.index() : context.world.rank(), predicted,
                                 context.device->counters().bytes,
                                 on_cuda::allocator_bytes(context.model_device.index()).peak_allocated};
  std::vector<std::int64_t> all(mine.size() * static_cast<std::size_t>(context.world.size()));
  context.world.all_gather(std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(all)));
  std::vector<GpuMemory> gpus;
  std::vector<std::int64_t> places;
  for (int rank = 0; rank < context.world.size(); ++rank) {
    const std::int64_t* row = all.data() + mine.size() * static_cast<std::size_t>(rank);
    const auto found = std::find(places.begin(), places.end(), row[0]);
    if (found == places.end()) {
      places.push_back(row[0]);
      gpus.push_back({rank, 1, row[1], row[2] + row[3]});
      continue;
    }
    GpuMemory& gpu = gpus[static_cast<std::size_t>(found - places.begin())];
    ++gpu.ranks;
    gpu.predicted += row[1];
    gpu.measured += row[2];
  }
  return gpus;
}

}  // namespace lacuna
