// Device side of every training kernel: element types with their accumulation types, 16-byte loads and
// stores, and reductions whose order is fixed by the number of threads.
#pragma once

#include <cstdint>
#include <utility>

#include "kernels/cuda/launch.h"
#include "src/base/dtype.h"

namespace lacuna::cuda {

struct Bf16 {
  std::uint16_t bits;
};

template <class T>
struct AccumulateOf {
  using type = float;
};
template <>
struct AccumulateOf<double> {
  using type = double;
};
// double for double, float for float and bf16.
template <class T>
using Accumulate = typename AccumulateOf<T>::type;

__device__ inline double widen(double x) {
  return x;
}
__device__ inline float widen(float x) {
  return x;
}
__device__ inline float widen(Bf16 x) {
  return __uint_as_float(static_cast<unsigned>(x.bits) << 16);
}

// Rounded to nearest even; NaN stays NaN.
template <class T>
__device__ inline T narrow(Accumulate<T> x) {
  if constexpr (sizeof(T) == 2) {
    Bf16 out;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(out.bits) : "f"(x));
    return out;
  } else {
    return x;
  }
}

// 16 bytes as they lie in memory.
template <class T>
inline constexpr int kPack = 16 / static_cast<int>(sizeof(T));

template <class T>
struct alignas(16) Raw {
  uint4 word;
};

template <class T>
__device__ inline void unpack(const Raw<T>& raw, Accumulate<T> (&out)[kPack<T>]) {
  if constexpr (sizeof(T) == 2) {
    const unsigned words[4] = {raw.word.x, raw.word.y, raw.word.z, raw.word.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = __uint_as_float(words[i] << 16);
      out[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
    }
  } else if constexpr (sizeof(T) == 4) {
    out[0] = __uint_as_float(raw.word.x);
    out[1] = __uint_as_float(raw.word.y);
    out[2] = __uint_as_float(raw.word.z);
    out[3] = __uint_as_float(raw.word.w);
  } else {
    out[0] = __hiloint2double(static_cast<int>(raw.word.y), static_cast<int>(raw.word.x));
    out[1] = __hiloint2double(static_cast<int>(raw.word.w), static_cast<int>(raw.word.z));
  }
}

__device__ inline unsigned two_bf16(float low, float high) {
  unsigned out;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
  return out;
}

template <class T>
__device__ inline Raw<T> pack(const Accumulate<T> (&x)[kPack<T>]) {
  Raw<T> raw;
  if constexpr (sizeof(T) == 2) {
    raw.word = {two_bf16(x[0], x[1]), two_bf16(x[2], x[3]), two_bf16(x[4], x[5]), two_bf16(x[6], x[7])};
  } else if constexpr (sizeof(T) == 4) {
    raw.word = {__float_as_uint(x[0]), __float_as_uint(x[1]), __float_as_uint(x[2]), __float_as_uint(x[3])};
  } else {
    raw.word = {static_cast<unsigned>(__double2loint(x[0])), static_cast<unsigned>(__double2hiint(x[0])),
                static_cast<unsigned>(__double2loint(x[1])), static_cast<unsigned>(__double2hiint(x[1]))};
  }
  return raw;
}

template <class T>
__device__ inline Raw<T> load_raw(const T* from) {
  return {*reinterpret_cast<const uint4*>(from)};
}
template <class T>
__device__ inline void store_raw(T* to, const Raw<T>& raw) {
  *reinterpret_cast<uint4*>(to) = raw.word;
}

// V elements, V = kPack<T> (from an aligned address) or 1.
template <int V, class T>
__device__ inline void load(const T* from, Accumulate<T> (&out)[V]) {
  if constexpr (V == 1)
    out[0] = widen(from[0]);
  else
    unpack<T>(load_raw(from), out);
}
template <int V, class T>
__device__ inline void store(T* to, const Accumulate<T> (&x)[V]) {
  if constexpr (V == 1)
    to[0] = narrow<T>(x[0]);
  else
    store_raw(to, pack<T>(x));
}

// `count` of V elements, one by one; the others are zero. For the end of a buffer and for odd addresses.
template <int V, class T>
__device__ inline void load_some(const T* from, int count, Accumulate<T> (&out)[V]) {
#pragma unroll
  for (int i = 0; i < V; ++i) out[i] = i < count ? widen(from[i]) : Accumulate<T>{0};
}
template <int V, class T>
__device__ inline void store_some(T* to, int count, const Accumulate<T> (&x)[V]) {
#pragma unroll
  for (int i = 0; i < V; ++i)
    if (i < count) to[i] = narrow<T>(x[i]);
}

struct Add {
  template <class A>
  __device__ A operator()(A a, A b) const {
    return a + b;
  }
};
// NaN loses.
struct Larger {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
  __device__ double operator()(double a, double b) const { return fmax(a, b); }
};

// Over `width` neighbouring lanes (a power of two up to 32); every lane gets the result.
template <class A, class Op>
__device__ inline A lanes_reduce(A x, Op op, int width = 32) {
  for (int step = width / 2; step > 0; step /= 2) x = op(x, __shfl_xor_sync(0xffffffffu, x, step));
  return x;
}

// Over all threads of a block of whole warps, at most 1024. `shared` has 32 entries and is free again after
// the next barrier of the caller; every thread gets the result.
template <class A, class Op>
__device__ inline A block_reduce(A x, A identity, A* shared, Op op) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  x = lanes_reduce(x, op);
  if (lane == 0) shared[warp] = x;
  __syncthreads();
  return lanes_reduce(lane < static_cast<int>(blockDim.x) / 32 ? shared[lane] : identity, op);
}

__device__ inline float exponential(float x) {
  return expf(x);
}
__device__ inline double exponential(double x) {
  return exp(x);
}

// One instruction each, two last places or better; results below 2^-126 become zero. For values that are
// stored with eight bits.
inline constexpr float kLog2E = 1.4426950408889634f;
__device__ inline float fast_exp2(float x) {
  float out;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(x));
  return out;
}
__device__ inline float fast_reciprocal(float x) {
  float out;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(x));
  return out;
}

// ---- host side
template <class T>
struct TypeTag {
  using type = T;
};

// Calls body(TypeTag<T>{}) for the floating type of `dtype`.
template <class Body>
decltype(auto) with_float_type(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::F64:
      return std::forward<Body>(body)(TypeTag<double>{});
    case DType::F32:
      return std::forward<Body>(body)(TypeTag<float>{});
    case DType::BF16:
      return std::forward<Body>(body)(TypeTag<Bf16>{});
    default:
      broken("dtype is F64, F32 or BF16", __FILE__, __LINE__);
  }
}

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}
inline bool is_aligned(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0;
}
// The first dimension of a grid has 31 bits.
inline unsigned grid_of(std::int64_t blocks) {
  LACUNA_ASSERT(blocks > 0 && blocks <= 0x7fffffff);
  return static_cast<unsigned>(blocks);
}

}  // namespace lacuna::cuda
