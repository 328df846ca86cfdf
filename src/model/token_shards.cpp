#include "src/model/token_shards.h"

#include <ATen/ATen.h>

#include <vector>

#include "src/base/error.h"

namespace lacuna {

namespace {

DType dtype_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kDouble:
      return DType::F64;
    case at::kFloat:
      return DType::F32;
    case at::kBFloat16:
      return DType::BF16;
    default:
      fail(ErrorKind::Internal, "tensors of this type are not sent between tensor-parallel ranks");
  }
}

}  // namespace

at::Tensor TokenShards::gather(const at::Tensor& mine, const at::Tensor& all) const {
  if (size() == 1) return mine;
  LACUNA_ASSERT(all.nbytes() == mine.nbytes() * static_cast<std::size_t>(size()));
  tp_->all_gather({static_cast<const std::byte*>(mine.const_data_ptr()), mine.nbytes()},
                  {static_cast<std::byte*>(all.data_ptr()), all.nbytes()});
  return all;
}

at::Tensor TokenShards::scatter_sum(const at::Tensor& partial, const at::Tensor& mine) const {
  if (size() == 1) return partial;
  LACUNA_ASSERT(partial.nbytes() == mine.nbytes() * static_cast<std::size_t>(size()));
  const std::vector<std::size_t> counts(static_cast<std::size_t>(size()),
                                        static_cast<std::size_t>(mine.numel()));
  tp_->reduce_scatter_sum(partial.const_data_ptr(), counts, mine.data_ptr(), dtype_of(partial));
  return mine;
}

}  // namespace lacuna
