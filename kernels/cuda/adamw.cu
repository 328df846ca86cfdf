// Every operation is written as one rounded operation, so that the compiler fuses none.
#include "kernels/cuda/adamw.h"

#include <cmath>

#include "kernels/cuda/elements.cuh"

namespace lacuna::cuda {

namespace {

constexpr int kThreads = 256;

__device__ inline float times(float a, float b) {
  return __fmul_rn(a, b);
}
__device__ inline float plus(float a, float b) {
  return __fadd_rn(a, b);
}
__device__ inline float minus(float a, float b) {
  return __fsub_rn(a, b);
}
__device__ inline float over(float a, float b) {
  return __fdiv_rn(a, b);
}
__device__ inline float root_of(float a) {
  return __fsqrt_rn(a);
}
__device__ inline double times(double a, double b) {
  return __dmul_rn(a, b);
}
__device__ inline double plus(double a, double b) {
  return __dadd_rn(a, b);
}
__device__ inline double minus(double a, double b) {
  return __dsub_rn(a, b);
}
__device__ inline double over(double a, double b) {
  return __ddiv_rn(a, b);
}
__device__ inline double root_of(double a) {
  return __dsqrt_rn(a);
}

// What does not depend on the parameter, in the accumulation type.
template <class A>
struct Constants {
  A beta1, beta2, rest1, rest2, rate, eps, root;
  double lr;

  __device__ void update(A& weight, A grad, A& exp_avg, A& exp_avg_sq, A keep, A scale) const {
    const A g = times(grad, scale);
    exp_avg = plus(times(beta1, exp_avg), times(rest1, g));
    exp_avg_sq = plus(times(beta2, exp_avg_sq), times(times(rest2, g), g));
    const A divisor = plus(times(root_of(exp_avg_sq), root), eps);
    weight = minus(times(weight, keep), over(times(rate, exp_avg), divisor));
  }
};

// A chunk of a segment, typed.
template <class A, class W>
struct Part {
  A* master;
  const A* grad;
  A* exp_avg;
  A* exp_avg_sq;
  W* weight;
  int count;

  __device__ Part(const AdamWSegment& s, std::int64_t begin)
      : master(static_cast<A*>(s.master) + begin),
        grad(static_cast<const A*>(s.grad) + begin),
        exp_avg(static_cast<A*>(s.exp_avg) + begin),
        exp_avg_sq(static_cast<A*>(s.exp_avg_sq) + begin),
        weight(s.weight ? static_cast<W*>(s.weight) + begin : nullptr),
        count(static_cast<int>(min(s.count - begin, kChunkElements))) {}

  __device__ bool aligned() const {
    const auto bits = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p); };
    return ((bits(master) | bits(grad) | bits(exp_avg) | bits(exp_avg_sq)) % 16 | bits(weight) % 16) == 0;
  }
};

// N elements of A as weights of the compute type, in one store.
template <int N, class W, class A>
__device__ inline void store_weights(W* to, const A (&x)[N]) {
  if constexpr (sizeof(W) == 2) {
    static_assert(N == 4);
    *reinterpret_cast<uint2*>(to) = {two_bf16(x[0], x[1]), two_bf16(x[2], x[3])};
  } else {
    store<N>(to, x);
  }
}

template <class A, class W>
__global__ void __launch_bounds__(kThreads)
    adamw_kernel(const AdamWSegment* table, const Chunk* chunks, Constants<A> constants,
                 const UpdateControl* control) {
  constexpr int V = kPack<A>;
  if (control->finite == 0) return;
  const A scale = static_cast<A>(control->grad_scale);
  const Chunk chunk = chunks[blockIdx.x];
  const AdamWSegment segment = table[chunk.segment];
  const Part<A, W> part(segment, chunk.part * kChunkElements);
  const A keep = static_cast<A>(__dsub_rn(1.0, __dmul_rn(constants.lr, segment.weight_decay)));
  const int packs = part.aligned() ? part.count / V : 0;
#pragma unroll 2
  for (int i = static_cast<int>(threadIdx.x); i < packs; i += kThreads) {
    A w[V], g[V], m[V], v[V];
    load<V>(part.master + i * V, w);
    load<V>(part.grad + i * V, g);
    load<V>(part.exp_avg + i * V, m);
    load<V>(part.exp_avg_sq + i * V, v);
#pragma unroll
    for (int k = 0; k < V; ++k) constants.update(w[k], g[k], m[k], v[k], keep, scale);
    store<V>(part.master + i * V, w);
    store<V>(part.exp_avg + i * V, m);
    store<V>(part.exp_avg_sq + i * V, v);
    if (part.weight) store_weights<V>(part.weight + i * V, w);
  }
  for (int i = packs * V + static_cast<int>(threadIdx.x); i < part.count; i += kThreads) {
    A w = part.master[i], m = part.exp_avg[i], v = part.exp_avg_sq[i];
    constants.update(w, part.grad[i], m, v, keep, scale);
    part.master[i] = w;
    part.exp_avg[i] = m;
    part.exp_avg_sq[i] = v;
    if (part.weight) part.weight[i] = narrow<W>(w);
  }
}

}  // namespace

void adamw(DType compute, const AdamWSegment* table, Chunks chunks, const AdamWStep& step,
           const UpdateControl* control, Stream stream) {
  if (chunks.count == 0) return;
  const double correction1 = 1 - std::pow(step.beta1, static_cast<double>(step.step));
  const double correction2 = 1 - std::pow(step.beta2, static_cast<double>(step.step));
  with_float_type(compute, [&]<class Tag>(Tag) {
    using W = typename Tag::type;
    using A = Accumulate<W>;
    const Constants<A> constants{static_cast<A>(step.beta1),
                                 static_cast<A>(step.beta2),
                                 static_cast<A>(1 - step.beta1),
                                 static_cast<A>(1 - step.beta2),
                                 static_cast<A>(step.lr / correction1),
                                 static_cast<A>(step.eps),
                                 static_cast<A>(1 / std::sqrt(correction2)),
                                 step.lr};
    adamw_kernel<A, W>
        <<<grid_of(chunks.count), kThreads, 0, stream>>>(table, chunks.data, constants, control);
  });
  check_launch("adamw");
}

}  // namespace lacuna::cuda
