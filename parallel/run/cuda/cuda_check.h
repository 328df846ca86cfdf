// The one macro through which the CUDA runtime is called here: an error becomes ours and names the call.
#pragma once

#include "kernels/cuda/launch.h"

#define LACUNA_CUDA_CALL(call) ::lacuna::cuda::check((call), #call)
