#include "kernels/cuda/reduce.h"

#include "kernels/cuda/column_partials.cuh"
#include "kernels/cuda/elements.cuh"

namespace lacuna::cuda {

namespace {

constexpr int kThreads = 256;

struct SumOf {
  template <class A>
  __device__ A operator()(A a, A b) const {
    return a + b;
  }
};
struct MaxOf {  // NaN wins
  template <class A>
  __device__ A operator()(A a, A b) const {
    return a > b || a != a ? a : b;
  }
};

// A thread does one pack, and the last thread the rest. Each element is read from all parts before it is
// written.
template <class T, class Op>
__global__ void __launch_bounds__(kThreads)
    reduce_kernel(Parts parts, T* out, std::int64_t packs, std::int64_t elements, Op op) {
  using A = Accumulate<T>;
  constexpr int V = kPack<T>;
  const std::int64_t pack = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const auto part = [&](int index) { return static_cast<const T*>(parts.data[index]); };
  if (pack < packs) {
    A sum[V];
    load<V>(part(0) + pack * V, sum);
#pragma unroll 4
    for (int p = 1; p < parts.count; ++p) {
      A v[V];
      load<V>(part(p) + pack * V, v);
#pragma unroll
      for (int i = 0; i < V; ++i) sum[i] = op(sum[i], v[i]);
    }
    store<V>(out + pack * V, sum);
    return;
  }
  const std::int64_t at = packs * V + (pack - packs);
  if (at >= elements) return;
  A sum = widen(part(0)[at]);
  for (int p = 1; p < parts.count; ++p) sum = op(sum, widen(part(p)[at]));
  out[at] = narrow<T>(sum);
}

template <class Op>
__global__ void __launch_bounds__(kThreads)
    reduce_integers_kernel(Parts parts, long long* out, std::int64_t elements, Op op) {
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= elements) return;
  long long sum = static_cast<const long long*>(parts.data[0])[at];
  for (int p = 1; p < parts.count; ++p) sum = op(sum, static_cast<const long long*>(parts.data[p])[at]);
  out[at] = sum;
}

template <class Op>
void reduce(DType dtype, const Parts& parts, void* out, std::int64_t elements, Op op, Stream stream) {
  LACUNA_ASSERT(parts.count > 0 && parts.count <= kMaxParts);
  if (elements == 0) return;
  if (dtype == DType::I64) {
    reduce_integers_kernel<<<grid_of(ceil_div(elements, kThreads)), kThreads, 0, stream>>>(
        parts, static_cast<long long*>(out), elements, op);
    check_launch("reduce");
    return;
  }
  bool aligned = is_aligned(out);
  for (int p = 0; p < parts.count; ++p) aligned = aligned && is_aligned(parts.data[p]);
  with_float_type(dtype, [&]<class Tag>(Tag) {
    using T = typename Tag::type;
    const std::int64_t packs = aligned ? elements / kPack<T> : 0;
    const std::int64_t threads = packs + (elements - packs * kPack<T>);
    reduce_kernel<T><<<grid_of(ceil_div(threads, kThreads)), kThreads, 0, stream>>>(
        parts, static_cast<T*>(out), packs, elements, op);
  });
  check_launch("reduce");
}

template <class T>
struct ColumnTerm {
  const T* x;
  std::int64_t stride;
  __device__ Accumulate<T> operator()(std::int64_t row, std::int64_t col) const {
    return widen(x[row * stride + col]);
  }
};

template <class Unit>
__global__ void __launch_bounds__(kThreads)
    copy_rows_kernel(const Unit* from, std::int64_t from_stride, Unit* to, std::int64_t to_stride,
                     std::int64_t units_of_row, std::int64_t units) {
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= units) return;
  const std::int64_t row = at / units_of_row, col = at - row * units_of_row;
  to[row * to_stride + col] = from[row * from_stride + col];
}

// Copies in units of this type if everything is a multiple of its size.
template <class Unit>
bool copied(const void* from, std::int64_t from_stride, void* to, std::int64_t to_stride,
            std::int64_t row_bytes, std::int64_t rows, Stream stream) {
  constexpr std::int64_t kSize = sizeof(Unit);
  const auto address = [](const void* p) {
    return static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(p));
  };
  if ((address(from) | address(to) | from_stride | to_stride | row_bytes) % kSize != 0) return false;
  const std::int64_t units = rows * (row_bytes / kSize);
  copy_rows_kernel<Unit><<<grid_of(ceil_div(units, kThreads)), kThreads, 0, stream>>>(
      static_cast<const Unit*>(from), from_stride / kSize, static_cast<Unit*>(to), to_stride / kSize,
      row_bytes / kSize, units);
  return true;
}

}  // namespace

void ordered_sum(DType dtype, const Parts& parts, void* out, std::int64_t elements, Stream stream) {
  reduce(dtype, parts, out, elements, SumOf{}, stream);
}

void ordered_max(DType dtype, const Parts& parts, void* out, std::int64_t elements, Stream stream) {
  reduce(dtype, parts, out, elements, MaxOf{}, stream);
}

std::size_t column_sums_workspace(DType dtype, std::int64_t rows, std::int64_t cols) {
  const std::size_t accumulate = dtype == DType::F64 ? sizeof(double) : sizeof(float);
  return static_cast<std::size_t>(column_parts(rows) * cols) * accumulate;
}

void column_sums(DType dtype, const void* x, std::int64_t stride, std::int64_t rows, std::int64_t cols,
                 void* sums, void* workspace, Stream stream) {
  if (rows == 0 || cols == 0) return;
  with_float_type(dtype, [&]<class Tag>(Tag) {
    using T = typename Tag::type;
    using A = Accumulate<T>;
    A* partials = static_cast<A*>(workspace);
    column_partials<A>(ColumnTerm<T>{static_cast<const T*>(x), stride}, rows, cols, partials, stream);
    add_partials(partials, column_parts(rows), cols, static_cast<A*>(sums), stream);
  });
}

void copy_rows(const void* from, std::int64_t from_stride, void* to, std::int64_t to_stride,
               std::int64_t row_bytes, std::int64_t rows, Stream stream) {
  if (row_bytes == 0 || rows == 0) return;
  const auto with_unit = [&]<class Unit>(Unit) {
    return copied<Unit>(from, from_stride, to, to_stride, row_bytes, rows, stream);
  };
  const bool done = with_unit(uint4{}) || with_unit(uint2{}) || with_unit(unsigned{}) ||
                    with_unit(std::uint16_t{}) || with_unit(std::uint8_t{});
  LACUNA_ASSERT(done);
  check_launch("copy_rows");
}

}  // namespace lacuna::cuda
