#include "src/model/cross_entropy.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include "src/base/error.h"
#include "src/model/cuda/ops.h"
#include "src/model/element_types.h"

namespace lacuna {

namespace {

constexpr std::int64_t kChunkElements = 1 << 16;  // of one pass over the logits: stays in the cache

template <class T>
class Loss {
  using A = Accumulate<T>;

 public:
  Loss(const at::Tensor& logits, std::span<const std::int32_t> targets, VocabColumns columns, double scale)
      : logits_(logits),
        targets_(targets),
        columns_(columns),
        scale_(scale),
        width_(logits.size(1)),
        top_(targets.size()),
        sums_(2 * targets.size()) {
    chunk_ = std::clamp<std::int64_t>(kChunkElements / width_, 1, logits.size(0));
    if (!std::is_same_v<T, A>)
      buffer_ =
          at::empty({chunk_ * width_}, at::TensorOptions().dtype(accumulate_type(logits.scalar_type())));
  }

  double run(const TokenShards& shards) {
    const bool alone = shards.size() == 1;
    each_chunk([&](std::int64_t begin, std::int64_t end) {
      find_top(begin, end);
      if (alone) sum_exponentials(begin, end);
      if (alone) write_gradient(begin, end);
    });
    if (!alone) {
      const DType dtype = std::is_same_v<A, double> ? DType::F64 : DType::F32;
      shards.communicator()->all_reduce_max(top_.data(), top_.size(), dtype);
      each_chunk([&](std::int64_t begin, std::int64_t end) { sum_exponentials(begin, end); });
      shards.communicator()->all_reduce_sum(sums_.data(), sums_.size(), dtype);
      each_chunk([&](std::int64_t begin, std::int64_t end) { write_gradient(begin, end); });
    }
    double loss = 0;
    for (std::size_t row = 0; row < targets_.size(); ++row)
      if (targets_[row] >= 0) loss += static_cast<double>(std::log(sum(row)) - target_logit(row));
    return loss;
  }

 private:
  A& sum(std::size_t row) { return sums_[2 * row]; }
  A& target_logit(std::size_t row) { return sums_[2 * row + 1]; }  // minus the row's maximum
  T* row_at(std::int64_t row) { return logits_.data_ptr<T>() + row * width_; }
  // This rank's column of the row's target, or -1.
  std::int64_t target_column(std::int64_t row) const {
    const std::int64_t column = targets_[static_cast<std::size_t>(row)] - columns_.first;
    return targets_[static_cast<std::size_t>(row)] >= 0 && column >= 0 && column < columns_.valid ? column
                                                                                                  : -1;
  }

  template <class Body>
  void each_chunk(Body&& body) {
    const std::int64_t rows = static_cast<std::int64_t>(targets_.size());
    for (std::int64_t begin = 0; begin < rows; begin += chunk_) body(begin, std::min(begin + chunk_, rows));
  }

  void find_top(std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      T* l = row_at(row);
      std::fill(l + columns_.valid, l + width_, static_cast<T>(-std::numeric_limits<A>::infinity()));
      top_[static_cast<std::size_t>(row)] = lane_max(l, columns_.valid);
    }
  }

  // exp(logit − maximum) of the rows: in place, or in the buffer where the logits are bf16.
  A* exponentials(std::int64_t begin, std::int64_t end) {
    A* e = nullptr;
    if constexpr (std::is_same_v<T, A>)
      e = row_at(begin);
    else
      e = buffer_.template data_ptr<A>();
    for (std::int64_t row = begin; row < end; ++row) {
      const T* l = row_at(row);
      A* to = e + (row - begin) * width_;
      const A top = top_[static_cast<std::size_t>(row)];
      for (std::int64_t i = 0; i < width_; ++i) to[i] = static_cast<A>(l[i]) - top;
    }
    const at::Tensor& memory = std::is_same_v<T, A> ? logits_ : buffer_;
    const std::int64_t first = std::is_same_v<T, A> ? begin * width_ : 0;
    memory.view({-1}).narrow(0, first, (end - begin) * width_).exp_();
    return e;
  }

  void sum_exponentials(std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t column = target_column(row);
      target_logit(static_cast<std::size_t>(row)) =
          column < 0 ? A{0} : static_cast<A>(row_at(row)[column]) - top_[static_cast<std::size_t>(row)];
    }
    const A* e = exponentials(begin, end);
    for (std::int64_t row = begin; row < end; ++row, e += width_)
      sum(static_cast<std::size_t>(row)) = lane_sum<A>(width_, [e](std::int64_t i) { return e[i]; });
  }

  void write_gradient(std::int64_t begin, std::int64_t end) {
    const A* e = nullptr;
    if constexpr (std::is_same_v<T, A>)
      e = row_at(begin);
    else
      e = exponentials(begin, end);
    for (std::int64_t row = begin; row < end; ++row, e += width_) {
      T* to = row_at(row);
      if (targets_[static_cast<std::size_t>(row)] < 0) {
        std::fill(to, to + width_, T{});
        continue;
      }
      const std::int64_t column = target_column(row);
      const A factor = static_cast<A>(scale_) / sum(static_cast<std::size_t>(row));
      const A at_target = column < 0 ? A{0} : e[column] * factor - static_cast<A>(scale_);
      for (std::int64_t i = 0; i < width_; ++i) to[i] = static_cast<T>(e[i] * factor);
      if (column >= 0) to[column] = static_cast<T>(at_target);
    }
  }

  at::Tensor logits_, buffer_;
  std::span<const std::int32_t> targets_;
  VocabColumns columns_;
  double scale_;
  std::int64_t width_, chunk_ = 1;
  std::vector<A> top_, sums_;
};

void cross_entropy_on_cuda(const at::Tensor& logits, const at::Tensor& targets, VocabColumns columns,
                           double scale, const TokenShards& shards, const at::Tensor& loss) {
  if (shards.size() == 1) return on_cuda::cross_entropy(logits, targets, columns.valid, scale, loss);
  const at::ScalarType sum_type = accumulate_type(logits.scalar_type());
  const DType dtype = sum_type == at::kDouble ? DType::F64 : DType::F32;
  const at::Tensor top = at::empty({logits.size(0)}, logits.options().dtype(sum_type));
  const at::Tensor sums = at::empty({logits.size(0), 2}, top.options());
  on_cuda::logit_statistics(logits, targets, columns.first, columns.valid, top, sums);
  const at::Tensor top_of_all = top.clone();
  shards.communicator()->all_reduce_max(top_of_all.data_ptr(), static_cast<std::size_t>(top.numel()), dtype);
  on_cuda::logit_rebase(logits, targets, columns.first, columns.valid, top, top_of_all, sums);
  shards.communicator()->all_reduce_sum(sums.data_ptr(), static_cast<std::size_t>(sums.numel()), dtype);
  on_cuda::logit_gradient(logits, targets, columns.first, columns.valid, top_of_all, sums, scale, loss);
}

}  // namespace

void cross_entropy(const at::Tensor& logits, const TokenIds& targets, VocabColumns columns, double scale,
                   const TokenShards& shards, const at::Tensor& loss) {
  LACUNA_ASSERT(logits.size(0) == static_cast<std::int64_t>(targets.host.size()));
  if (logits.is_cuda()) return cross_entropy_on_cuda(logits, targets.device, columns, scale, shards, loss);
  const double sum = with_element_type(logits.scalar_type(), [&]<class T>(T) {
    return Loss<T>(logits, targets.host, columns, scale).run(shards);
  });
  *loss.data_ptr<double>() += sum;
}

}  // namespace lacuna
