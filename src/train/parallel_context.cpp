#include "src/train/parallel_context.h"

#include <fmt/format.h>

#include <algorithm>

#include "parallel/run/cuda/cuda_device.h"
#include "parallel/run/cuda/gpus.h"
#include "parallel/run/nccl/nccl.h"
#include "parallel/run/node_place.h"
#include "src/base/error.h"
#include "src/model/cuda/ops.h"

namespace lacuna {

namespace {

// Every rank decides alike: by the rank that has the least.
bool wants_gpu(Communicator& world, const std::string& name) {
  if (name != "auto") return name == "cuda";
  if (!on_cuda::built()) return false;
  const NodePlace place = find_node_place(world);
  const auto gpus = static_cast<int>(gpus_by_pci().size());
  std::int64_t without = gpus == 0 || (!place.threads && gpus < place.local_size) ? 1 : 0;
  return sum_over(world, without) == 0;
}

}  // namespace

ParallelContext::ParallelContext(Communicator& world_comm, const Topology& shape, Progress& word,
                                 const std::string& device_name)
    : world(world_comm), topology(shape), place(coordinates_of(shape, world_comm.rank())), progress(word) {
  LACUNA_ASSERT(topology.world() == world.size());
  const Coordinates& at = place;
  const int replica = at.dp * topology.tp + at.tp;  // the pipeline this rank belongs to
  tp = world.split(at.pp * topology.dp + at.dp, at.tp, "tp");
  dp = world.split(at.pp * topology.tp + at.tp, at.dp, "dp");
  pp = world.split(replica, at.pp, "pp");
  control = world.split(replica, at.pp, "control");
  if (wants_gpu(world, device_name))
    take_gpu();
  else
    device = std::make_unique<HostDevice>();
}

ParallelContext::~ParallelContext() = default;

void ParallelContext::take_gpu() {
  LACUNA_CHECK(on_cuda::built(), ErrorKind::Usage,
               "this build has no CUDA: say --device cpu, or build with -DLACUNA_CUDA=ON");
  const NodePlace on_node = find_node_place(world);
  const std::vector<GpuInfo> gpus = gpus_by_pci();
  LACUNA_CHECK(!gpus.empty(), ErrorKind::NoFit,
               "--device cuda, and no GPU is visible (nvidia-smi shows them)");
  const GpuInfo& mine =
      gpus.at(static_cast<std::size_t>(gpu_of_rank(on_node, static_cast<int>(gpus.size()))));
  use_gpu(mine.index);
  device = make_cuda_device(on_cuda::use_device(mine.index));
  model_device = at::Device(at::kCUDA, static_cast<at::DeviceIndex>(mine.index));
  gpu_name_ = mine.name;
  std::int64_t on_my_node =
      on_node.local_rank == 0 ? std::min(on_node.local_size, static_cast<int>(gpus.size())) : 0;
  world.all_reduce_sum(&on_my_node, 1, DType::I64);
  gpus_ = static_cast<int>(on_my_node);
  const auto door = [&](Communicator& host) {
    return on_node.threads ? make_cuda_communicator(host, *device, &progress)
                           : make_nccl_communicator(host, *device, &progress);
  };
  gpu_tp_ = door(*tp);
  gpu_dp_ = door(*dp);
  gpu_pp_ = door(*pp);
}

void ParallelContext::close() {
  device->finish(kComputeQueue);
  world.barrier();
}

int ParallelContext::processors() const {
  return model_device.is_cuda() ? gpus_ : world.size();
}

std::string ParallelContext::device_text() const {
  return model_device.is_cuda() ? fmt::format("{} x {}", gpus_, gpu_name_) : "CPU";
}

}  // namespace lacuna
