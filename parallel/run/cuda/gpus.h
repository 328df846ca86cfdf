// The GPUs of this machine in PCI order (node_place.h says which rank takes which). Needs no CUDA header; in
// a build without CUDA there are no GPUs, and the other functions fail with Error(Usage).
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace lacuna {

struct GpuInfo {
  int index = 0;  // for the CUDA runtime
  std::string name, pci;
  int capability = 0;  // 90: compute capability 9.0
  int processors = 0;  // streaming multiprocessors
  std::size_t memory_bytes = 0, l2_bytes = 0;
};

// All visible GPUs by ascending PCI address. Empty without a GPU or a driver.
std::vector<GpuInfo> gpus_by_pci();

// Makes a GPU (its `index`) the one of this thread. Before the first CUDA call of a process: asks the driver
// for as many hardware queues as a rank has streams.
void use_gpu(int index);

// Bytes free on this thread's GPU.
std::size_t free_gpu_bytes();

}  // namespace lacuna
