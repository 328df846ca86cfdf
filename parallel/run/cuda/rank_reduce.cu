#include <algorithm>
#include <cstdint>

#include "kernels/cuda/launch.h"
#include "parallel/run/cuda/rank_reduce.h"

namespace lacuna::cuda {
namespace {

constexpr int kThreads = 256;
constexpr std::size_t kMostBlocks = 1024;

struct Pointers {
  const void* parts[kMaxParts];
  void* outs[kMaxParts];
  int part_count, out_count;
};

// How an element type is stored, and in what it is added.
template <class T>
struct Plain {
  using Stored = T;
  using Sum = T;
  __device__ static Sum load(Stored value) { return value; }
  __device__ static Stored store(Sum value) { return value; }
};
struct Bf16 {
  using Stored = std::uint16_t;
  using Sum = float;
  __device__ static Sum load(Stored value) {
    return __uint_as_float(static_cast<std::uint32_t>(value) << 16);
  }
  __device__ static Stored store(Sum value) {
    const std::uint32_t bits = __float_as_uint(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
    return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
  }
};

// A NaN on either side stays.
template <class T>
__device__ T larger(T a, T b) {
  return b > a || b != b ? b : a;
}

template <class Element, Reduction kReduction>
__global__ void reduce_parts_kernel(const Pointers pointers, std::size_t count) {
  using Stored = typename Element::Stored;
  const std::size_t step = std::size_t{gridDim.x} * kThreads;
  for (std::size_t i = std::size_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += step) {
    typename Element::Sum sum = Element::load(static_cast<const Stored*>(pointers.parts[0])[i]);
    for (int r = 1; r < pointers.part_count; ++r) {
      const auto next = Element::load(static_cast<const Stored*>(pointers.parts[r])[i]);
      if constexpr (kReduction == Reduction::Sum) {
        sum = sum + next;
      } else {
        sum = larger(sum, next);
      }
    }
    for (int o = 0; o < pointers.out_count; ++o)
      static_cast<Stored*>(pointers.outs[o])[i] = Element::store(sum);
  }
}

template <class Element>
void launch(Reduction reduction, const Pointers& pointers, std::size_t count, cudaStream_t stream) {
  const std::size_t wanted = (count + kThreads - 1) / kThreads;
  const auto blocks = static_cast<unsigned>(std::min(wanted, kMostBlocks));
  if (reduction == Reduction::Sum) {
    reduce_parts_kernel<Element, Reduction::Sum><<<blocks, kThreads, 0, stream>>>(pointers, count);
  } else {
    reduce_parts_kernel<Element, Reduction::Max><<<blocks, kThreads, 0, stream>>>(pointers, count);
  }
  check_launch("reduce_parts");
}

constexpr unsigned kCopyBlocks = 32;  // of 1024 threads: a boundary is small, and compute goes on beside it

template <class Word>
__global__ void copy_words_kernel(Word* to, const Word* from, std::size_t count) {
  const std::size_t step = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step)
    to[i] = from[i];
}

template <class Word>
void copy_words(std::byte* to, const std::byte* from, std::size_t count, cudaStream_t stream) {
  constexpr unsigned kCopyThreads = 1024;
  const std::size_t wanted = (count + kCopyThreads - 1) / kCopyThreads;
  const auto blocks = static_cast<unsigned>(std::min<std::size_t>(wanted, kCopyBlocks));
  copy_words_kernel<<<blocks, kCopyThreads, 0, stream>>>(reinterpret_cast<Word*>(to),
                                                         reinterpret_cast<const Word*>(from), count);
  check_launch("copy_bytes");
}

}  // namespace

void copy_bytes(std::byte* to, const std::byte* from, std::size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return;
  const auto mixed = reinterpret_cast<std::uintptr_t>(to) | reinterpret_cast<std::uintptr_t>(from) | bytes;
  if (mixed % sizeof(uint4) == 0) {
    copy_words<uint4>(to, from, bytes / sizeof(uint4), stream);
  } else {
    copy_words<std::byte>(to, from, bytes, stream);
  }
}

void reduce_parts(Reduction reduction, std::span<const void* const> parts, std::span<void* const> outs,
                  std::size_t count, DType dtype, cudaStream_t stream) {
  LACUNA_ASSERT(!parts.empty() && parts.size() <= kMaxParts && outs.size() <= kMaxParts);
  if (count == 0) return;
  Pointers pointers;
  std::copy(parts.begin(), parts.end(), pointers.parts);
  std::copy(outs.begin(), outs.end(), pointers.outs);
  pointers.part_count = static_cast<int>(parts.size());
  pointers.out_count = static_cast<int>(outs.size());
  switch (dtype) {
    case DType::F64:
      return launch<Plain<double>>(reduction, pointers, count, stream);
    case DType::F32:
      return launch<Plain<float>>(reduction, pointers, count, stream);
    case DType::BF16:
      return launch<Bf16>(reduction, pointers, count, stream);
    case DType::I64:  // unsigned wraps; the comparison of a maximum is the signed one
      return reduction == Reduction::Sum
                 ? launch<Plain<unsigned long long>>(reduction, pointers, count, stream)
                 : launch<Plain<long long>>(reduction, pointers, count, stream);
    default:
      broken("a sum over ranks is of F64, F32, BF16 or I64", __FILE__, __LINE__);
  }
}

}  // namespace lacuna::cuda
