#include "kernels/cuda/segments.h"

#include <algorithm>

#include "kernels/cuda/elements.cuh"

namespace lacuna::cuda {

namespace {

constexpr int kThreads = 256;

__device__ inline bool aligned_to(const void* pointer, unsigned bytes) {
  return reinterpret_cast<std::uintptr_t>(pointer) % bytes == 0;
}

template <class T>
__global__ void __launch_bounds__(kThreads) zero_kernel(const Segment* table, const Chunk* chunks) {
  using A = Accumulate<T>;
  constexpr int V = kPack<T>;
  const Chunk chunk = chunks[blockIdx.x];
  const Segment segment = table[chunk.segment];
  const std::int64_t begin = chunk.part * kChunkElements;
  T* to = static_cast<T*>(segment.to) + begin;
  const int count = static_cast<int>(min(segment.count - begin, kChunkElements));
  const int packs = aligned_to(to, 16) ? count / V : 0;
  const A zeros[V] = {};
  for (int i = static_cast<int>(threadIdx.x); i < packs; i += kThreads) store<V>(to + i * V, zeros);
  for (int i = packs * V + static_cast<int>(threadIdx.x); i < count; i += kThreads) to[i] = narrow<T>(A{0});
}

template <class To, class From>
__device__ inline To converted(From from) {
  if constexpr (sizeof(From) == 8 && sizeof(To) == 2) {
    // Through float without rounding twice: toward zero, the lost part kept in the last bit.
    const double exact = from;
    float near = __double2float_rz(exact);
    if (static_cast<double>(near) != exact && exact == exact && !isinf(near))
      near = __uint_as_float(__float_as_uint(near) | 1u);
    return narrow<To>(near);
  } else {
    return narrow<To>(static_cast<Accumulate<To>>(widen(from)));
  }
}

// Four elements a turn, in loads of up to 16 bytes.
template <class To, class From>
__global__ void __launch_bounds__(kThreads) convert_kernel(const Segment* table, const Chunk* chunks) {
  struct alignas(sizeof(From) * 4 < 16 ? sizeof(From) * 4 : 16) FourFrom {
    From at[4];
  };
  struct alignas(sizeof(To) * 4 < 16 ? sizeof(To) * 4 : 16) FourTo {
    To at[4];
  };
  const Chunk chunk = chunks[blockIdx.x];
  const Segment segment = table[chunk.segment];
  const std::int64_t begin = chunk.part * kChunkElements;
  To* to = static_cast<To*>(segment.to) + begin;
  const From* from = static_cast<const From*>(segment.from) + begin;
  const int count = static_cast<int>(min(segment.count - begin, kChunkElements));
  const int fours = aligned_to(to, alignof(FourTo)) && aligned_to(from, alignof(FourFrom)) ? count / 4 : 0;
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < fours; i += kThreads) {
    const FourFrom in = reinterpret_cast<const FourFrom*>(from)[i];
    FourTo out;
#pragma unroll
    for (int k = 0; k < 4; ++k) out.at[k] = converted<To>(in.at[k]);
    reinterpret_cast<FourTo*>(to)[i] = out;
  }
  for (int i = fours * 4 + static_cast<int>(threadIdx.x); i < count; i += kThreads)
    to[i] = converted<To>(from[i]);
}

}  // namespace

void fill_zero(DType dtype, const Segment* table, Chunks chunks, Stream stream) {
  if (chunks.count == 0) return;
  with_float_type(dtype, [&]<class Tag>(Tag) {
    zero_kernel<typename Tag::type><<<grid_of(chunks.count), kThreads, 0, stream>>>(table, chunks.data);
  });
  check_launch("fill_zero");
}

void convert(DType from, DType to, const Segment* table, Chunks chunks, Stream stream) {
  if (chunks.count == 0) return;
  with_float_type(from, [&]<class FromTag>(FromTag) {
    with_float_type(to, [&]<class ToTag>(ToTag) {
      convert_kernel<typename ToTag::type, typename FromTag::type>
          <<<grid_of(chunks.count), kThreads, 0, stream>>>(table, chunks.data);
    });
  });
  check_launch("convert");
}

}  // namespace lacuna::cuda
