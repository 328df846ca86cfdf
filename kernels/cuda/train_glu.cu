#include "kernels/cuda/train_glu.h"

#include <type_traits>

#include "kernels/cuda/elements.cuh"

namespace lacuna::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kForwardPacks = 4, kBackwardPacks = 2;  // of one thread

// relu that lets NaN through.
__device__ inline float opened(float x) {
  float out;
  asm("max.NaN.f32 %0, %1, 0f00000000;" : "=f"(out) : "f"(x));
  return out;
}
__device__ inline double opened(double x) {
  return x <= 0 ? 0 : x;
}

template <class T>
__device__ inline Accumulate<T> sigmoid(Accumulate<T> g) {
  if constexpr (sizeof(T) == 2)
    return fast_reciprocal(1 + fast_exp2(-kLog2E * g));
  else
    return Accumulate<T>{1} / (Accumulate<T>{1} + exponential(-g));
}

// One activation each: the product and the gradients for the product's gradient p.
struct SiluGate {
  template <class T, class A = Accumulate<T>>
  static __device__ A value(A g, A u) {
    return g * sigmoid<T>(g) * u;
  }
  template <class T, class A = Accumulate<T>>
  static __device__ void grads(A& g, A& u, A p) {
    const A s = sigmoid<T>(g), up_grad = p * (g * s);
    g = p * u * (s * (A{1} + g * (A{1} - s)));
    u = up_grad;
  }
};

struct ReluGate {
  template <class T, class A = Accumulate<T>>
  static __device__ A value(A g, A u) {
    return opened(g) * u + A{0};  // + 0: no negative zeros
  }
  template <class T, class A = Accumulate<T>>
  static __device__ void grads(A& g, A& u, A p) {
    const A on = g <= A{0} ? A{0} : A{1}, up_grad = p * g * on;
    g = p * u * on;
    u = up_grad;
  }
};

struct DoubleRelu {
  template <class T, class A = Accumulate<T>>
  static __device__ A value(A g, A u) {
    return opened(g) * opened(u);
  }
  template <class T, class A = Accumulate<T>>
  static __device__ void grads(A& g, A& u, A p) {
    const A on = g <= A{0} || u <= A{0} ? A{0} : A{1}, up_grad = p * g * on;
    g = p * u * on;
    u = up_grad;
  }
};

// Where pack number `pack` of the flat product lies in gate and up. Joined rows (stride == cols) are one long
// row.
struct Layout {
  std::int64_t elements, cols, gate_stride, up_stride;
  bool flat;
  // Whether all elements of this block exist, which has so many packs.
  template <int V>
  __device__ bool whole(std::int64_t packs) const {
    return (blockIdx.x + std::int64_t{1}) * packs * V <= elements;
  }
  template <int V>
  __device__ void find(std::int64_t pack, std::int64_t& gate, std::int64_t& up) const {
    gate = up = pack * V;
    if (flat) return;
    const std::int64_t row = gate / cols, col = gate - row * cols;
    gate = row * gate_stride + col;
    up = row * up_stride + col;
  }
};

// V elements as they were loaded.
template <class T, int V>
struct Held {
  using Word = std::conditional_t<V == 1, T, Raw<T>>;
  Word word;

  // At `offset`; `count` elements exist, but for Whole at least V.
  template <bool Whole>
  __device__ void load_from(const T* from, std::int64_t offset, std::int64_t count) {
    if (Whole || count >= V)
      word = *reinterpret_cast<const Word*>(from + offset);
    else
      load_tail(from + offset, static_cast<int>(count));
  }
  __device__ void values(Accumulate<T> (&out)[V]) const {
    if constexpr (V == 1)
      out[0] = widen(word);
    else
      unpack<T>(word, out);
  }

 private:
  __device__ void load_tail(const T* from, int count) {
    Accumulate<T> x[V];
    load_some<V>(from, count, x);
    if constexpr (V == 1)
      word = narrow<T>(x[0]);
    else
      word = pack<T>(x);
  }
};

template <bool Whole, int V, class T>
__device__ void store_at(T* to, std::int64_t offset, std::int64_t count, const Accumulate<T> (&x)[V]) {
  if (Whole || count >= V)
    store<V>(to + offset, x);
  else
    store_some<V>(to + offset, static_cast<int>(count), x);
}

// A block's part: Whole where all its elements exist.
template <class Form, class T, int V, bool Whole>
__device__ void forward_block(const Layout& layout, const T* gate, const T* up, T* product,
                              ProductSums* partial) {
  using A = Accumulate<T>;
  constexpr int N = kForwardPacks;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * (kThreads * N) + threadIdx.x;
  Held<T, V> gates[N], ups[N];
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const std::int64_t pack = first + j * kThreads, count = layout.elements - pack * V;
    std::int64_t gate_at, up_at;
    layout.find<V>(pack, gate_at, up_at);
    gates[j].template load_from<Whole>(gate, gate_at, count);
    ups[j].template load_from<Whole>(up, up_at, count);
  }
  double l1 = 0;
  int zeros = 0;
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const std::int64_t start = (first + j * kThreads) * V, count = layout.elements - start;
    A g[V], u[V], sum = 0;
    gates[j].values(g);
    ups[j].values(u);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      g[i] = widen(narrow<T>(Form::template value<T>(g[i], u[i])));
      if (!Whole && i >= count) continue;
      zeros += g[i] == A{0};
      sum += fabs(g[i]);
    }
    l1 += static_cast<double>(sum);
    store_at<Whole, V>(product, start, count, g);
  }
  __shared__ double sums[32];
  __shared__ int counts[32];
  l1 = block_reduce(l1, 0.0, sums, Add{});
  zeros = block_reduce(zeros, 0, counts, Add{});
  if (threadIdx.x == 0) *partial = {static_cast<unsigned long long>(zeros), l1};
}

template <class Form, class T, int V>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(Layout layout, const T* __restrict__ gate, const T* __restrict__ up,
                   T* __restrict__ product, ProductSums* partials) {
  if (layout.whole<V>(kThreads * kForwardPacks))
    forward_block<Form, T, V, true>(layout, gate, up, product, partials + blockIdx.x);
  else
    forward_block<Form, T, V, false>(layout, gate, up, product, partials + blockIdx.x);
}

// One block: thread t takes the partial sums t, t + 1024, ...; then a tree.
__global__ void __launch_bounds__(1024)
    add_sums_kernel(const ProductSums* partials, std::int64_t count, ProductSums* sums) {
  __shared__ double l1s[32];
  __shared__ unsigned long long counts[32];
  ProductSums mine;
  for (std::int64_t i = threadIdx.x; i < count; i += blockDim.x) {
    mine.zeros += partials[i].zeros;
    mine.l1 += partials[i].l1;
  }
  mine.l1 = block_reduce(mine.l1, 0.0, l1s, Add{});
  mine.zeros = block_reduce(mine.zeros, 0ull, counts, Add{});
  if (threadIdx.x != 0) return;
  sums->zeros += mine.zeros;
  sums->l1 += mine.l1;
}

template <class Form, class T, int V, bool Whole>
__device__ void backward_block(const Layout& layout, T* gate, T* up, const T* product, const T* product_grad,
                               Accumulate<T> l1) {
  using A = Accumulate<T>;
  constexpr int N = kBackwardPacks;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * (kThreads * N) + threadIdx.x;
  Held<T, V> gates[N], ups[N], grads[N], products[N];
  std::int64_t gate_at[N], up_at[N];
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const std::int64_t pack = first + j * kThreads, count = layout.elements - pack * V;
    layout.find<V>(pack, gate_at[j], up_at[j]);
    gates[j].template load_from<Whole>(gate, gate_at[j], count);
    ups[j].template load_from<Whole>(up, up_at[j], count);
    grads[j].template load_from<Whole>(product_grad, pack * V, count);
    if (product) products[j].template load_from<Whole>(product, pack * V, count);
  }
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const std::int64_t count = layout.elements - (first + j * kThreads) * V;
    A g[V], u[V], p[V], h[V] = {};
    gates[j].values(g);
    ups[j].values(u);
    grads[j].values(p);
    if (product) products[j].values(h);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const A plus = h[i] > A{0} ? l1 : A{0}, minus = h[i] < A{0} ? l1 : A{0};
      Form::template grads<T>(g[i], u[i], p[i] + (plus - minus));
    }
    store_at<Whole, V>(gate, gate_at[j], count, g);
    store_at<Whole, V>(up, up_at[j], count, u);
  }
}

// product is null where l1 is zero.
template <class Form, class T, int V>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(Layout layout, T* __restrict__ gate, T* __restrict__ up, const T* __restrict__ product,
                    const T* __restrict__ product_grad, Accumulate<T> l1) {
  if (layout.whole<V>(kThreads * kBackwardPacks))
    backward_block<Form, T, V, true>(layout, gate, up, product, product_grad, l1);
  else
    backward_block<Form, T, V, false>(layout, gate, up, product, product_grad, l1);
}

// Calls body(form) with the functions of the activation.
template <class Body>
void with_form(Gating gating, Body&& body) {
  switch (gating) {
    case Gating::Silu:
      return body(SiluGate{});
    case Gating::Relu:
      return body(ReluGate{});
    case Gating::Drelu:
      break;
  }
  return body(DoubleRelu{});
}

Layout layout_of(const GluShape& shape) {
  Layout layout{shape.rows * shape.cols, shape.cols, shape.gate_stride, shape.up_stride, false};
  if (layout.gate_stride == 0) layout.gate_stride = shape.cols;
  if (layout.up_stride == 0) layout.up_stride = shape.cols;
  LACUNA_ASSERT(layout.gate_stride >= shape.cols && layout.up_stride >= shape.cols);
  layout.flat = shape.rows <= 1 || (layout.gate_stride == shape.cols && layout.up_stride == shape.cols);
  return layout;
}

// Whether packs of `pack` elements lie whole in every row.
bool in_packs(const Layout& layout, int pack) {
  return layout.flat ||
         (layout.cols % pack == 0 && layout.gate_stride % pack == 0 && layout.up_stride % pack == 0);
}

std::int64_t forward_blocks(const Layout& layout, int pack) {
  return ceil_div(ceil_div(layout.elements, pack), kThreads * kForwardPacks);
}

// Calls body(TypeTag<T>, std::integral_constant<int, V>, Form) for a shape.
template <class Body>
void with_shape(const GluShape& shape, const Layout& layout, Body&& body) {
  with_float_type(shape.dtype, [&]<class Tag>(Tag tag) {
    with_form(shape.gating, [&]<class Form>(Form form) {
      constexpr int kWide = kPack<typename Tag::type>;
      if (in_packs(layout, kWide))
        body(tag, std::integral_constant<int, kWide>{}, form);
      else
        body(tag, std::integral_constant<int, 1>{}, form);
    });
  });
}

}  // namespace

std::size_t glu_forward_workspace(const GluShape& shape) {
  const Layout layout = layout_of(shape);
  const int wide = 16 / static_cast<int>(size_of(shape.dtype));
  return static_cast<std::size_t>(forward_blocks(layout, in_packs(layout, wide) ? wide : 1)) *
         sizeof(ProductSums);
}

void glu_forward(const GluShape& shape, const void* gate, const void* up, void* product, ProductSums* sums,
                 void* workspace, Stream stream) {
  const Layout layout = layout_of(shape);
  if (layout.elements == 0) return;
  LACUNA_ASSERT(is_aligned(gate) && is_aligned(up) && is_aligned(product));
  ProductSums* partials = static_cast<ProductSums*>(workspace);
  std::int64_t blocks = 0;
  with_shape(shape, layout, [&]<class Tag, int V, class Form>(Tag, std::integral_constant<int, V>, Form) {
    using T = typename Tag::type;
    blocks = forward_blocks(layout, V);
    forward_kernel<Form, T, V><<<grid_of(blocks), kThreads, 0, stream>>>(
        layout, static_cast<const T*>(gate), static_cast<const T*>(up), static_cast<T*>(product), partials);
  });
  check_launch("glu_forward");
  add_sums_kernel<<<1, 1024, 0, stream>>>(partials, blocks, sums);
  check_launch("glu_forward sums");
}

void glu_backward(const GluShape& shape, void* gate, void* up, const void* product, const void* product_grad,
                  double l1, Stream stream) {
  const Layout layout = layout_of(shape);
  if (layout.elements == 0) return;
  LACUNA_ASSERT(is_aligned(gate) && is_aligned(up) && is_aligned(product) && is_aligned(product_grad));
  LACUNA_ASSERT(product || l1 == 0);
  with_shape(shape, layout, [&]<class Tag, int V, class Form>(Tag, std::integral_constant<int, V>, Form) {
    using T = typename Tag::type;
    const std::int64_t blocks = ceil_div(ceil_div(layout.elements, V), kThreads * kBackwardPacks);
    backward_kernel<Form, T, V><<<grid_of(blocks), kThreads, 0, stream>>>(
        layout, static_cast<T*>(gate), static_cast<T*>(up),
        l1 == 0 ? nullptr : static_cast<const T*>(product), static_cast<const T*>(product_grad),
        static_cast<Accumulate<T>>(l1));
  });
  check_launch("glu_backward");
}

}  // namespace lacuna::cuda
