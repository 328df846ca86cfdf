// The loss in separate passes, one block a row, any number of columns: for vocabularies cut over ranks and
// for rows that are not whole packs.
#include "kernels/cuda/cross_entropy.h"

#include "kernels/cuda/cross_entropy_rows.cuh"

namespace lacuna::cuda {

namespace {

constexpr int kThreads = 512;
constexpr int kUnroll = 4;

template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    statistics_kernel(LossArgs<T> args, Accumulate<T>* top, Accumulate<T>* sums) {
  using A = Accumulate<T>;
  __shared__ RowSums<T> shared[32];
  const std::int64_t row = blockIdx.x;
  const T* logits = args.logits + row * args.cols;
  RowSums<T> mine;
  for (std::int64_t first = threadIdx.x * V; first < args.valid; first += kThreads * V * kUnroll) {
    A v[kUnroll][V];
#pragma unroll
    for (int j = 0; j < kUnroll; ++j)
      if (first + j * kThreads * V < args.valid) load<V>(logits + first + j * kThreads * V, v[j]);
#pragma unroll
    for (int j = 0; j < kUnroll; ++j)
      if (first + j * kThreads * V < args.valid) mine.add(v[j], first + j * kThreads * V, args.valid);
  }
  mine.reduce(shared);
  if (threadIdx.x != 0) return;
  const std::int64_t target = args.target_column(row);
  top[row] = mine.top == lowest<A>() ? -INFINITY : mine.top;
  sums[2 * row] = mine.sum;
  sums[2 * row + 1] = target < 0 ? A{0} : widen(logits[target]) - mine.top;
}

template <class T>
__global__ void rebase_kernel(LossArgs<T> args, const Accumulate<T>* top, const Accumulate<T>* top_of_all,
                              Accumulate<T>* sums) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (row >= args.rows) return;
  if (top[row] == top_of_all[row]) return;  // also where both are minus infinity
  sums[2 * row] *= exponential(top[row] - top_of_all[row]);
  if (args.target_column(row) >= 0) sums[2 * row + 1] += top[row] - top_of_all[row];
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads) gradient_kernel(LossArgs<T> args, const Accumulate<T>* top_of_all,
                                                            const Accumulate<T>* sums, double* row_losses) {
  using A = Accumulate<T>;
  const std::int64_t row = blockIdx.x;
  T* logits = args.logits + row * args.cols;
  const bool scored = args.scored(row);
  const A shift = SoftExp<T>::scaled(top_of_all[row]), sum = sums[2 * row], factor = args.scale / sum;
  const std::int64_t target = args.target_column(row);
  for (std::int64_t start = threadIdx.x * V; start < args.cols; start += kThreads * V) {
    A v[V] = {};
    if (scored && start < args.valid) {
      load<V>(logits + start, v);
      softmax_grad<T, V>(args, v, start, target, shift, factor);
    }
    store<V>(logits + start, v);
  }
  if (threadIdx.x == 0) row_losses[row] = scored ? static_cast<double>(log(sum) - sums[2 * row + 1]) : 0.0;
}

// One block: thread t adds the rows t, t + 1024, ...; then a tree.
__global__ void __launch_bounds__(1024)
    add_row_losses_kernel(const double* row_losses, std::int64_t rows, double* loss) {
  __shared__ double shared[32];
  double sum = 0;
  for (std::int64_t row = threadIdx.x; row < rows; row += 1024) sum += row_losses[row];
  sum = block_reduce(sum, 0.0, shared, Add{});
  if (threadIdx.x == 0) *loss += sum;
}

template <class T>
LossArgs<T> typed(const LossChunk& c) {
  LACUNA_ASSERT(is_aligned(c.logits) && c.valid >= 0 && c.valid <= c.cols);
  return {static_cast<T*>(c.logits),          c.targets, c.rows, c.cols, c.first, c.valid,
          static_cast<Accumulate<T>>(c.scale)};
}

}  // namespace

void add_row_losses(const double* row_losses, std::int64_t rows, double* loss, Stream stream) {
  add_row_losses_kernel<<<1, 1024, 0, stream>>>(row_losses, rows, loss);
  check_launch("add_row_losses");
}

std::size_t cross_entropy_workspace(DType dtype, std::int64_t rows) {
  const std::size_t accumulate = dtype == DType::F64 ? sizeof(double) : sizeof(float);
  return static_cast<std::size_t>(rows) * (sizeof(double) + 3 * accumulate);
}

void cross_entropy_statistics(const LossChunk& chunk, void* top, void* sums, Stream stream) {
  if (chunk.rows == 0) return;
  with_float_type(chunk.dtype, [&]<class Tag>(Tag) {
    using T = typename Tag::type;
    using A = Accumulate<T>;
    const auto kernel = chunk.cols % kPack<T> == 0 ? statistics_kernel<T, kPack<T>> : statistics_kernel<T, 1>;
    kernel<<<grid_of(chunk.rows), kThreads, 0, stream>>>(typed<T>(chunk), static_cast<A*>(top),
                                                         static_cast<A*>(sums));
  });
  check_launch("cross_entropy_statistics");
}

void cross_entropy_rebase(const LossChunk& chunk, const void* top, const void* top_of_all, void* sums,
                          Stream stream) {
  if (chunk.rows == 0) return;
  with_float_type(chunk.dtype, [&]<class Tag>(Tag) {
    using T = typename Tag::type;
    using A = Accumulate<T>;
    rebase_kernel<T><<<grid_of(ceil_div(chunk.rows, 128)), 128, 0, stream>>>(
        typed<T>(chunk), static_cast<const A*>(top), static_cast<const A*>(top_of_all),
        static_cast<A*>(sums));
  });
  check_launch("cross_entropy_rebase");
}

void cross_entropy_gradient(const LossChunk& chunk, const void* top_of_all, const void* sums, double* loss,
                            void* workspace, Stream stream) {
  if (chunk.rows == 0) return;
  double* row_losses = static_cast<double*>(workspace);
  with_float_type(chunk.dtype, [&]<class Tag>(Tag) {
    using T = typename Tag::type;
    using A = Accumulate<T>;
    const auto kernel = chunk.cols % kPack<T> == 0 ? gradient_kernel<T, kPack<T>> : gradient_kernel<T, 1>;
    kernel<<<grid_of(chunk.rows), kThreads, 0, stream>>>(typed<T>(chunk), static_cast<const A*>(top_of_all),
                                                         static_cast<const A*>(sums), row_losses);
  });
  check_launch("cross_entropy_gradient");
  add_row_losses(row_losses, chunk.rows, loss, stream);
}

void cross_entropy(const LossChunk& chunk, double* loss, void* workspace, Stream stream) {
  if (chunk.rows == 0) return;
  double* row_losses = static_cast<double*>(workspace);
  with_float_type(chunk.dtype, [&]<class Tag>(Tag) {
    using T = typename Tag::type;
    using A = Accumulate<T>;
    if (chunk.cols % kPack<T> == 0) {
      cross_entropy_fused(typed<T>(chunk), row_losses, stream);
      add_row_losses(row_losses, chunk.rows, loss, stream);
      return;
    }
    A* top = reinterpret_cast<A*>(row_losses + chunk.rows);
    A* sums = top + chunk.rows;
    cross_entropy_statistics(chunk, top, sums, stream);
    cross_entropy_gradient(chunk, top, sums, loss, workspace, stream);
  });
}

}  // namespace lacuna::cuda
