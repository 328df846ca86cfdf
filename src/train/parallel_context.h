// A rank's place and its communicators: world, one per parallel axis, one door each; and the device on which
// its model lives, with the same axes for memory of that device.
#pragma once

#include <c10/core/Device.h>

#include <memory>
#include <string>

#include "parallel/plan/topology.h"
#include "parallel/run/communicator.h"
#include "parallel/run/device.h"
#include "parallel/run/progress.h"

namespace lacuna {

struct ParallelContext {
  // Collective over world, which outlives the context, as does `word`. device: "cpu", "cuda", or "auto": a
  // GPU where this build and this machine have one for every rank.
  ParallelContext(Communicator& world_comm, const Topology& shape, Progress& word,
                  const std::string& device_name = "cpu");
  ~ParallelContext();

  Communicator& world;
  Topology topology;
  Coordinates place;
  Progress& progress;
  at::Device model_device = at::kCPU;
  std::unique_ptr<Device> device;
  // Host memory.
  std::unique_ptr<Communicator> tp, dp;
  std::unique_ptr<Communicator> pp;       // stage-to-stage traffic of the executor
  std::unique_ptr<Communicator> control;  // the same ranks as pp, for everything else between stages

  // The axes for memory of the model's device: those above on the CPU.
  Communicator& model_tp() const { return gpu_tp_ ? *gpu_tp_ : *tp; }
  Communicator& model_dp() const { return gpu_dp_ ? *gpu_dp_ : *dp; }
  Communicator& model_pp() const { return gpu_pp_ ? *gpu_pp_ : *pp; }

  // Collective, at the end: nobody's device has work left, so every rank may end its communicators.
  void close();

  bool is_main() const { return world.rank() == 0; }
  int processors() const;           // GPUs of all ranks (virtual ranks share them), or ranks on CPUs
  std::string device_text() const;  // "CPU", "1 x NVIDIA H100 80GB HBM3"

 private:
  void take_gpu();
  std::string gpu_name_;
  int gpus_ = 0;
  std::unique_ptr<Communicator> gpu_tp_, gpu_dp_, gpu_pp_;
};

}  // namespace lacuna
