#include "kernels/cuda/norms.h"

#include <algorithm>

#include "kernels/cuda/elements.cuh"

namespace lacuna::cuda {

namespace {

constexpr int kThreads = 256;

// The order of the sum is by index whether or not the buffer is aligned: thread t adds the packs t, t + 256,
// ...
template <class T>
__global__ void __launch_bounds__(kThreads)
    squares_kernel(const Segment* table, const Chunk* chunks, double* partials) {
  using A = Accumulate<T>;
  constexpr int V = kPack<T>;
  __shared__ double shared[32];
  const Chunk chunk = chunks[blockIdx.x];
  const Segment segment = table[chunk.segment];
  const std::int64_t begin = chunk.part * kChunkElements;
  const T* from = static_cast<const T*>(segment.from) + begin;
  const int count = static_cast<int>(min(segment.count - begin, kChunkElements));
  const bool aligned = reinterpret_cast<std::uintptr_t>(from) % 16 == 0;
  double sum = 0;
#pragma unroll 4
  for (int start = static_cast<int>(threadIdx.x) * V; start < count; start += kThreads * V) {
    A v[V];
    if (aligned && start + V <= count)
      load<V>(from + start, v);
    else
      load_some<V>(from + start, count - start, v);
#pragma unroll
    for (int i = 0; i < V; ++i) sum += static_cast<double>(v[i]) * static_cast<double>(v[i]);
  }
  sum = block_reduce(sum, 0.0, shared, Add{});
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

// First chunk of `segment` or of one after it.
__device__ std::int64_t first_chunk(const Chunk* chunks, std::int64_t count, int segment) {
  std::int64_t low = 0, high = count;
  while (low < high) {
    const std::int64_t middle = (low + high) / 2;
    if (chunks[middle].segment < segment)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

__global__ void __launch_bounds__(kThreads)
    add_squares_kernel(const double* partials, const Chunk* chunks, std::int64_t count, double* squares) {
  __shared__ double shared[32];
  const int segment = static_cast<int>(blockIdx.x);
  const std::int64_t begin = first_chunk(chunks, count, segment);
  const std::int64_t end = first_chunk(chunks, count, segment + 1);
  double sum = 0;
  for (std::int64_t i = begin + threadIdx.x; i < end; i += kThreads) sum += partials[i];
  sum = block_reduce(sum, 0.0, shared, Add{});
  if (threadIdx.x == 0) squares[segment] = sum;
}

__global__ void __launch_bounds__(kThreads)
    clip_kernel(const double* squares, std::int64_t count, double max_norm, const double* loss,
                UpdateControl* control) {
  __shared__ double staged[kThreads];
  double sum = 0;
  for (std::int64_t first = 0; first < count; first += kThreads) {
    const int here = static_cast<int>(min(count - first, static_cast<std::int64_t>(kThreads)));
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < here) staged[threadIdx.x] = squares[first + threadIdx.x];
    __syncthreads();
    if (threadIdx.x == 0)
      for (int i = 0; i < here; ++i) sum += staged[i];
  }
  if (threadIdx.x != 0) return;
  const double norm = sqrt(sum), clipped = __ddiv_rn(max_norm, __dadd_rn(norm, 1e-6));
  control->grad_norm = norm;
  control->grad_scale = max_norm > 0 && clipped < 1 ? clipped : 1.0;
  control->finite = isfinite(norm) && (!loss || isfinite(*loss));
}

}  // namespace

std::size_t sum_squares_workspace(std::int64_t chunks) {
  return static_cast<std::size_t>(chunks) * sizeof(double);
}

void sum_squares(DType dtype, const Segment* table, std::int64_t segments, Chunks chunks, double* squares,
                 void* workspace, Stream stream) {
  if (segments == 0) return;
  double* partials = static_cast<double*>(workspace);
  if (chunks.count > 0) {
    with_float_type(dtype, [&]<class Tag>(Tag) {
      squares_kernel<typename Tag::type>
          <<<grid_of(chunks.count), kThreads, 0, stream>>>(table, chunks.data, partials);
    });
    check_launch("sum_squares");
  }
  add_squares_kernel<<<grid_of(segments), kThreads, 0, stream>>>(partials, chunks.data, chunks.count,
                                                                 squares);
  check_launch("add_squares");
}

void clip_gradients(const double* squares, std::int64_t count, double max_norm, const double* loss,
                    UpdateControl* control, Stream stream) {
  clip_kernel<<<1, kThreads, 0, stream>>>(squares, count, max_norm, loss, control);
  check_launch("clip_gradients");
}

}  // namespace lacuna::cuda
