// What every launcher shares: the stream type, checks of the runtime's return codes, ceil division on the device.
#pragma once

#include <cuda_runtime.h>

#include "src/base/error.h"

namespace lacuna::cuda {

using Stream = cudaStream_t;

// Error(NoFit) for exhausted memory, Error(Internal) for everything else; `what` is the call or the kernel.
void check(cudaError_t status, const char* what);
inline void check_launch(const char* kernel) {
  check(cudaGetLastError(), kernel);
}

}  // namespace lacuna::cuda
