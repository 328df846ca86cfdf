// What the launchers of kernels/cuda want to know of a tensor.
#pragma once

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>

#include "src/base/dtype.h"
#include "src/base/error.h"

namespace lacuna::on_cuda {

inline cudaStream_t stream() {
  return at::cuda::getCurrentCUDAStream().stream();
}

inline DType dtype_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kDouble:
      return DType::F64;
    case at::kFloat:
      return DType::F32;
    case at::kBFloat16:
      return DType::BF16;
    default:
      fail(ErrorKind::Internal, "tensors of type {} are not computed with",
           c10::toString(tensor.scalar_type()));
  }
}

inline at::Tensor workspace(std::size_t bytes, const at::Tensor& beside) {
  return at::empty({static_cast<std::int64_t>(bytes)}, beside.options().dtype(at::kByte));
}

}  // namespace lacuna::on_cuda
