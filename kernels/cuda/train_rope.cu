#include "kernels/cuda/train_rope.h"

#include "kernels/cuda/elements.cuh"

namespace lacuna::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kHeads = 4;  // of one thread: it reads its angles once for all of them

template <class T>
struct Rows {
  T* data;
  const T* from;
  std::int64_t stride;
  unsigned heads;
};

// V neighbouring angles, from a table that is aligned where V > 1.
template <int V, class A>
__device__ void load_angles(const A* from, A (&out)[V]) {
  if constexpr (V == 1) {
    out[0] = from[0];
  } else {
    constexpr int kWide = kPack<A>;
#pragma unroll
    for (int start = 0; start < V; start += kWide) {
      A part[kWide];
      load<kWide>(from + start, part);
#pragma unroll
      for (int i = 0; i < kWide; ++i) out[start + i] = part[i];
    }
  }
}

// A thread turns V neighbouring pairs of one token in the heads h, h + groups, h + 2·groups, ...
template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    rotate_kernel(Rows<T> query, Rows<T> key, const Accumulate<T>* cos, const Accumulate<T>* sin,
                  unsigned seq_len, unsigned half, Accumulate<T> direction, unsigned items, unsigned groups) {
  using A = Accumulate<T>;
  const unsigned item = blockIdx.x * kThreads + threadIdx.x;
  if (item >= items) return;
  const unsigned slots = half / V, slot = item % slots, rest = item / slots;
  const unsigned group = rest % groups, token = rest / groups;
  const std::int64_t angle = static_cast<std::int64_t>(token % seq_len) * half + slot * V;

  T* at[kHeads] = {};
  A a[kHeads][V], b[kHeads][V];
#pragma unroll
  for (int j = 0; j < kHeads; ++j) {
    const unsigned head = group + static_cast<unsigned>(j) * groups;
    if (head >= query.heads + key.heads) continue;
    const bool of_query = head < query.heads;
    const Rows<T>& rows = of_query ? query : key;
    const std::int64_t place =
        token * rows.stride + (of_query ? head : head - query.heads) * (2 * half) + slot * V;
    at[j] = rows.data + place;
    load<V>(rows.from + place, a[j]);
    load<V>(rows.from + place + half, b[j]);
  }
  A c[V], s[V];
  load_angles<V>(cos + angle, c);
  load_angles<V>(sin + angle, s);
#pragma unroll
  for (int j = 0; j < kHeads; ++j) {
    if (!at[j]) continue;
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const A turned = s[i] * direction, first = a[j][i];
      a[j][i] = first * c[i] - b[j][i] * turned;
      b[j][i] = b[j][i] * c[i] + first * turned;
    }
    store<V>(at[j], a[j]);
    store<V>(at[j] + half, b[j]);
  }
}

template <class T>
void rotate(const RopeRows& query, const RopeRows& key, const RopeAngles& angles, std::int64_t tokens,
            int direction, Stream stream) {
  using A = Accumulate<T>;
  const std::int64_t d = angles.head_dim, half = d / 2;
  const auto typed = [d](const RopeRows& rows) {
    return Rows<T>{static_cast<T*>(rows.data), static_cast<const T*>(rows.from ? rows.from : rows.data),
                   rows.stride == 0 ? rows.heads * d : rows.stride, static_cast<unsigned>(rows.heads)};
  };
  const Rows<T> q = typed(query), k = typed(key);
  const auto in_packs = [](const Rows<T>& rows) {
    return rows.heads == 0 || (is_aligned(rows.data) && is_aligned(rows.from) && rows.stride % kPack<T> == 0);
  };
  const bool wide =
      half % kPack<T> == 0 && in_packs(q) && in_packs(k) && is_aligned(angles.cos) && is_aligned(angles.sin);
  const std::int64_t groups = ceil_div(q.heads + k.heads, kHeads);
  const std::int64_t items = tokens * groups * (half / (wide ? kPack<T> : 1));
  if (items == 0) return;
  LACUNA_ASSERT(items < (std::int64_t{1} << 32) - kThreads && angles.seq_len < (std::int64_t{1} << 32));
  const auto kernel = wide ? rotate_kernel<T, kPack<T>> : rotate_kernel<T, 1>;
  kernel<<<grid_of(ceil_div(items, kThreads)), kThreads, 0, stream>>>(
      q, k, static_cast<const A*>(angles.cos), static_cast<const A*>(angles.sin),
      static_cast<unsigned>(angles.seq_len), static_cast<unsigned>(half), static_cast<A>(direction),
      static_cast<unsigned>(items), static_cast<unsigned>(groups));
  check_launch("rope_rotate");
}

}  // namespace

void rope_rotate(DType dtype, const RopeRows& query, const RopeRows& key, const RopeAngles& angles,
                 std::int64_t tokens, Stream stream) {
  LACUNA_ASSERT(angles.head_dim > 0 && angles.head_dim % 2 == 0 && angles.seq_len > 0);
  with_float_type(dtype,
                  [&]<class Tag>(Tag) { rotate<typename Tag::type>(query, key, angles, tokens, 1, stream); });
}

void rope_rotate_back(DType dtype, const RopeRows& query, const RopeRows& key, const RopeAngles& angles,
                      std::int64_t tokens, Stream stream) {
  LACUNA_ASSERT(angles.head_dim > 0 && angles.head_dim % 2 == 0 && angles.seq_len > 0);
  with_float_type(
      dtype, [&]<class Tag>(Tag) { rotate<typename Tag::type>(query, key, angles, tokens, -1, stream); });
}

}  // namespace lacuna::cuda
