// The device of a rank on a GPU and the communicator of virtual ranks. Needs no CUDA header; in a build
// without CUDA every function fails with Error(Usage).
#pragma once

#include <memory>

#include "parallel/run/communicator.h"
#include "parallel/run/device.h"

namespace lacuna {

// A device over the GPU that is this thread's now. `compute_stream` (a cudaStream_t, outlives the device) is
// its compute queue; null: the device makes one. Copies and transfers get streams of their own with a higher
// priority.
std::unique_ptr<Device> make_cuda_device(void* compute_stream = nullptr);

// The cudaStream_t of a queue of such a device.
void* stream_of(Device& device, Queue queue);

// Ranks that are threads of one process, for device memory: transfers are copies between the ranks' buffers,
// sums run in ascending rank order. `host` is the communicator of the same threads for host memory, and
// becomes its control(). `progress`: see Communicator::report_to. All outlive the result. Error(Internal)
// when the ranks are processes.
std::unique_ptr<Communicator> make_cuda_communicator(Communicator& host, Device& device,
                                                     Progress* progress = nullptr);

// Memory of each rank that the others may copy to and from, on one node: the pointer itself among threads,
// CUDA IPC among processes. Collective over `host`.
std::unique_ptr<SharedWindow> open_cuda_window(Communicator& host, Device& device, std::size_t bytes);

}  // namespace lacuna
