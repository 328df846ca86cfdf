// The one macro through which NCCL is called, and how its errors become ours.
#pragma once

#include <nccl.h>

#include "src/base/error.h"

namespace lacuna {

// A peer that went away shows as a system or remote error: retry. The rest is ours.
inline ErrorKind nccl_error_kind(ncclResult_t result) {
  return result == ncclRemoteError || result == ncclSystemError ? ErrorKind::Hang : ErrorKind::Internal;
}

}  // namespace lacuna

#define LACUNA_NCCL(call)                                                                       \
  do {                                                                                          \
    const ncclResult_t lacuna_nccl_result = (call);                                             \
    if (lacuna_nccl_result != ncclSuccess) [[unlikely]]                                         \
      ::lacuna::fail(::lacuna::nccl_error_kind(lacuna_nccl_result), "NCCL: {} in {}: {}",       \
                     ncclGetErrorString(lacuna_nccl_result), #call, ncclGetLastError(nullptr)); \
  } while (0)
