// The one way a decode kernel is launched.
#pragma once

#include <cuda_bf16.h>

#include "kernels/cuda/decode_launch.h"

namespace lacuna::cuda::decode {

// All kernels ask for the same split of the first cache, so that two of them can share a multiprocessor.
template <class... Parameters>
void launch(void (*kernel)(Parameters...), const char* name, dim3 grid, int threads, std::size_t shared,
            const DecodeLaunch& how, Parameters... arguments) {
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                             cudaSharedmemCarveoutMaxShared),
        name);
  allow_shared(reinterpret_cast<const void*>(kernel), shared, name);
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = shared;
  config.stream = how.stream;
  config.attrs = &attribute;
  config.numAttrs = how.overlap ? 1 : 0;
  check(cudaLaunchKernelEx(&config, kernel, arguments...), name);
}

// Calls body(W{}) with the element type of the weights.
template <class Body>
void with_element(DType dtype, Body body) {
  if (dtype == DType::BF16) return body(__nv_bfloat16{});
  LACUNA_ASSERT(dtype == DType::F32);
  body(float{});
}

}  // namespace lacuna::cuda::decode
