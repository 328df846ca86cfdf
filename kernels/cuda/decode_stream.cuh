// Device parts of the decode kernels. A warp walks rows of weights in lines of 512 bytes, 16 a lane, which
// pass through a ring in shared memory: kDepth lines are always under way, across rows and from before the
// kernel's turn. A lane reads only what it copied itself, so the ring needs no barrier.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/decode_launch.h"

namespace lacuna::cuda::decode {

constexpr int kWarps = 16, kThreads = 32 * kWarps;
constexpr int kLine = 512;  // bytes
constexpr int kDepth = 8;   // lines under way a warp: 64 KB a block of 16 warps

// What a block works in. Several blocks share the rows of a matrix.
struct Block {
  float4* x;         // activations, as stage() lays them out
  char* ring;        // [kWarps][kDepth][kLine]
  float* sums;       // [kWarps]
  int index, count;  // this block of so many
  int thread, warp, lane;
};
__device__ inline Block block_at(float4* x, int x_floats) {
  Block out;
  out.x = x;
  out.ring = reinterpret_cast<char*>(x) + x_floats * 4;
  out.sums = reinterpret_cast<float*>(out.ring + kWarps * kDepth * kLine);
  out.index = static_cast<int>(blockIdx.x);
  out.count = static_cast<int>(gridDim.x);
  out.thread = static_cast<int>(threadIdx.x);
  out.warp = out.thread / 32;
  out.lane = out.thread % 32;
  return out;
}

// Everything of the kernels before this one in the stream is done and visible. Activations are then read past
// the first cache (__ldcg): it may hold what they were before.
__device__ inline void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// The next kernel in the stream may take the free part of this multiprocessor.
__device__ inline void let_next_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

template <class W>
constexpr int kPerLane = 16 / static_cast<int>(sizeof(W));  // weights in 16 bytes

__device__ inline void unpack(const uint4& raw, float (&out)[4]) {
  out[0] = __uint_as_float(raw.x);
  out[1] = __uint_as_float(raw.y);
  out[2] = __uint_as_float(raw.z);
  out[3] = __uint_as_float(raw.w);
}
__device__ inline void unpack(const uint4& raw, float (&out)[8]) {
  const std::uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    out[2 * i] = __uint_as_float(words[i] << 16);
    out[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
  }
}

__device__ inline float warp_sum(float value) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  return value;
}

// Lines that hold a row of `cols` weights.
template <class W>
__host__ __device__ constexpr int lines_of(std::int64_t cols) {
  return static_cast<int>((cols * static_cast<std::int64_t>(sizeof(W)) + kLine - 1) / kLine);
}
// Floats that a line is multiplied with.
template <class W>
constexpr int kLineFloats = kLine / static_cast<int>(sizeof(W));

// Copies `width` floats, times the norm's weight, into shared memory in the order that lanes read them (bf16:
// first halves of all lanes, then second halves), zeros up to whole lines. Returns 1/rms, or 1 without a
// norm, for whoever writes a dot product. `values` and the weight are padded with zeros to 4 floats.
template <class W>
__device__ float stage(const float* values, DecodeNorm norm, int width, int lines, float4* x, float* sums) {
  const int have = (width + 3) / 4, total = lines * kLineFloats<W> / 4;
  float squares = 0;
  for (int c = threadIdx.x; c < total; c += kThreads) {
    float4 v = make_float4(0, 0, 0, 0);
    if (c < have) {
      v = __ldcg(reinterpret_cast<const float4*>(values) + c);
      if (norm.weight != nullptr) {
        const float4 gain = __ldg(reinterpret_cast<const float4*>(norm.weight) + c);
        squares = fmaf(v.x, v.x, fmaf(v.y, v.y, fmaf(v.z, v.z, fmaf(v.w, v.w, squares))));
        v = make_float4(v.x * gain.x, v.y * gain.y, v.z * gain.z, v.w * gain.w);
      }
    }
    int slot = c;
    if (sizeof(W) == 2) slot = (c & ~63) + (c & 1) * 32 + ((c & 63) >> 1);
    x[slot] = v;
  }
  if (norm.weight == nullptr) {
    __syncthreads();
    return 1;
  }
  squares = warp_sum(squares);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = squares;
  __syncthreads();
  float total_squares = 0;
#pragma unroll
  for (int i = 0; i < kWarps; ++i) total_squares += sums[i];
  return 1 / sqrtf(total_squares / static_cast<float>(width) + norm.eps);
}

// What a lane adds for its 16 bytes of line `line`.
__device__ inline void multiply(const uint4& raw, const float4* x, int line, int lane, float& low,
                                float& high, __nv_bfloat16) {
  float w[8];
  unpack(raw, w);
  const float4 a = x[line * 64 + lane], b = x[line * 64 + 32 + lane];
  low = fmaf(w[3], a.w, fmaf(w[2], a.z, fmaf(w[1], a.y, fmaf(w[0], a.x, low))));
  high = fmaf(w[7], b.w, fmaf(w[6], b.z, fmaf(w[5], b.y, fmaf(w[4], b.x, high))));
}
__device__ inline void multiply(const uint4& raw, const float4* x, int line, int lane, float& low,
                                float& high, float) {
  float w[4];
  unpack(raw, w);
  const float4 a = x[line * 32 + lane];
  low = fmaf(w[1], a.y, fmaf(w[0], a.x, low));
  high = fmaf(w[3], a.w, fmaf(w[2], a.z, high));
}

// A row, or a part of one, that a warp multiplies: `bytes` of it exist, the rest of its lines is zero.
struct Row {
  const char* data;
  int bytes;
  int first_line;  // of x
};

// The rows first, first + step, ... of a matrix.
struct MatrixRows {
  const char* data;
  std::size_t stride;  // bytes
  int bytes, first, step;
  __device__ Row operator()(int k) const {
    return {data + static_cast<std::size_t>(first + k * step) * stride, bytes, 0};
  }
};
template <class W>
__device__ inline int row_bytes(const DecodeMatrix& matrix) {
  return static_cast<int>(matrix.cols * sizeof(W) + 15) & ~15;
}
template <class W>
__device__ inline MatrixRows rows_of(const DecodeMatrix& matrix, int first, int step) {
  return {static_cast<const char*>(matrix.data), static_cast<std::size_t>(matrix.stride) * sizeof(W),
          row_bytes<W>(matrix), first, step};
}
// How many of first, first + step, ... lie below `all`.
__device__ inline int count_of(int all, int first, int step) {
  return first < all ? (all - first + step - 1) / step : 0;
}

// Rows 0 to rows-1 of this warp, `lines` lines each; address(k) says where row k lies. `ring`: of the warp.
template <class W, class Address>
class RowStream {
 public:
  __device__ RowStream(char* ring, int rows, int lines, Address address)
      : address_(address), rows_(rows), lines_(lines), lane_(static_cast<int>(threadIdx.x) % 32) {
    ring_ =
        static_cast<std::uint32_t>(__cvta_generic_to_shared(ring)) + static_cast<std::uint32_t>(lane_) * 16;
    own_ = reinterpret_cast<const uint4*>(ring) + lane_;
    if (rows_ > 0) fetched_ = address_(0);
  }
  __device__ void start() {
#pragma unroll
    for (int i = 0; i < kDepth; ++i) fetch();
  }
  // finish(k, sum): all lanes have the dot product of row k.
  template <class Finish>
  __device__ void run(const float4* x, Finish finish) {
    for (int k = 0; k < rows_; ++k) {
      const int first = address_(k).first_line;
      float low = 0, high = 0;
      for (int line = first; line < first + lines_; ++line) {
        asm volatile("cp.async.wait_group %0;" ::"n"(kDepth - 1) : "memory");
        multiply(own_[slot_ * 32], x, line, lane_, low, high, W{});
        fetch();
      }
      finish(k, warp_sum(low + high));
    }
  }

 private:
  __device__ void fetch() {
    if (row_ < rows_) {
      const int at = line_ * kLine + lane_ * 16;
      const int size = at < fetched_.bytes ? 16 : 0;
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(ring_ + slot_ * kLine),
                   "l"(fetched_.data + (size == 0 ? 0 : at)), "r"(size)
                   : "memory");
      if (++line_ == lines_) {
        line_ = 0;
        if (++row_ < rows_) fetched_ = address_(row_);
      }
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
    slot_ = (slot_ + 1) % kDepth;
  }

  Address address_;
  Row fetched_{};
  std::uint32_t ring_;
  const uint4* own_;
  int rows_, lines_, lane_, row_ = 0, line_ = 0, slot_ = 0;
};

}  // namespace lacuna::cuda::decode
