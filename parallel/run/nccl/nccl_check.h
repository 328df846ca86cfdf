// The one macro through which NCCL is called, and how its errors become ours.
#pragma once

#include <nccl.h>

#include <cstring>

#include "src/base/error.h"

namespace lacuna {

// A peer that went away shows as a system or remote error: retry. Of CUDA's errors only the text is told.
inline ErrorKind nccl_error_kind(ncclResult_t result, const char* last) {
  if (result == ncclRemoteError || result == ncclSystemError) return ErrorKind::Hang;
  const bool memory =
      result == ncclUnhandledCudaError && last && std::strstr(last, "out of memory") != nullptr;
  return memory ? ErrorKind::NoFit : ErrorKind::Internal;
}

}  // namespace lacuna

#define LACUNA_NCCL(call)                                                                                   \
  do {                                                                                                      \
    const ncclResult_t lacuna_nccl_result = (call);                                                         \
    if (lacuna_nccl_result != ncclSuccess) [[unlikely]] {                                                   \
      const char* lacuna_nccl_last = ncclGetLastError(nullptr);                                             \
      ::lacuna::fail(::lacuna::nccl_error_kind(lacuna_nccl_result, lacuna_nccl_last), "NCCL: {} in {}: {}", \
                     ncclGetErrorString(lacuna_nccl_result), #call,                                         \
                     lacuna_nccl_last ? lacuna_nccl_last : "");                                             \
    }                                                                                                       \
  } while (0)
