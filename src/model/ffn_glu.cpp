#include "src/model/ffn_glu.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "src/model/cuda/ops.h"
#include "src/model/element_types.h"

namespace lacuna {

namespace {

// Zero up to zero, one above it; NaN counts as on, so that it is not lost.
template <class A>
A is_on(A x) {
  return x <= A{0} ? A{0} : A{1};
}

// One activation each: value(g, u, s) and the gradients for the product's gradient p; s is sigmoid(g),
// g_on and u_on are is_on(g) and is_on(u).
struct SiluGate {
  static constexpr bool kUsesSigmoid = true;
  template <class A>
  static A value(A g, A u, A s) {
    return g * s * u;
  }
  template <class A>
  static A gate_grad(A g, A u, A s, A p, A, A) {
    return p * u * (s * (A{1} + g * (A{1} - s)));
  }
  template <class A>
  static A up_grad(A g, A, A s, A p, A, A) {
    return p * (g * s);
  }
};

struct ReluGate {
  static constexpr bool kUsesSigmoid = false;
  template <class A>
  static A value(A g, A u, A) {
    return (g <= A{0} ? A{0} : g) * u + A{0};  // + 0: no negative zeros
  }
  template <class A>
  static A gate_grad(A, A u, A, A p, A g_on, A) {
    return p * u * g_on;
  }
  template <class A>
  static A up_grad(A g, A, A, A p, A g_on, A) {
    return p * g * g_on;
  }
};

struct DoubleRelu {
  static constexpr bool kUsesSigmoid = false;
  template <class A>
  static A value(A g, A u, A) {
    return (g <= A{0} ? A{0} : g) * (u <= A{0} ? A{0} : u);
  }
  template <class A>
  static A gate_grad(A, A u, A, A p, A g_on, A u_on) {
    return p * u * (g_on * u_on);
  }
  template <class A>
  static A up_grad(A g, A, A, A p, A g_on, A u_on) {
    return p * g * (g_on * u_on);
  }
};

template <class Form, class T, class A>
void forward_elements(const T* gate, const T* up, const A* sigmoid, T* product, std::int64_t n,
                      ProductCounts& tally) {
  constexpr std::int64_t kChunk = 4096;  // bounds the error of the float sums of |product|
  double l1 = 0;
  for (std::int64_t begin = 0; begin < n; begin += kChunk) {
    const std::int64_t size = std::min(kChunk, n - begin);
    T* out = product + begin;
    for (std::int64_t i = 0; i < size; ++i) {
      const A s = Form::kUsesSigmoid ? sigmoid[begin + i] : A{0};
      out[i] = static_cast<T>(Form::value(static_cast<A>(gate[begin + i]), static_cast<A>(up[begin + i]), s));
    }
    std::int32_t zeros = 0;
    for (std::int64_t i = 0; i < size; ++i) zeros += static_cast<A>(out[i]) == A{0} ? 1 : 0;
    tally.zeros += zeros;
    l1 += static_cast<double>(
        lane_sum<A>(size, [out](std::int64_t i) { return std::abs(static_cast<A>(out[i])); }));
  }
  tally.l1 += l1;
}

// In chunks, selects first: one loop with several selects on the same value would become branches.
template <class Form, class T, class A>
void backward_elements(T* __restrict gate, T* __restrict up, const A* __restrict sigmoid,
                       const T* __restrict product, const T* __restrict product_grad, A l1, std::int64_t n) {
  constexpr std::int64_t kChunk = 512;
  A g_on[kChunk], u_on[kChunk], plus[kChunk], minus[kChunk];
  for (std::int64_t begin = 0; begin < n; begin += kChunk) {
    const std::int64_t size = std::min(kChunk, n - begin);
    T *g = gate + begin, *u = up + begin;
    for (std::int64_t i = 0; i < size; ++i) g_on[i] = is_on(static_cast<A>(g[i]));
    for (std::int64_t i = 0; i < size; ++i) u_on[i] = is_on(static_cast<A>(u[i]));
    for (std::int64_t i = 0; i < size; ++i) plus[i] = static_cast<A>(product[begin + i]) > A{0} ? l1 : A{0};
    for (std::int64_t i = 0; i < size; ++i) minus[i] = static_cast<A>(product[begin + i]) < A{0} ? l1 : A{0};
    for (std::int64_t i = 0; i < size; ++i) {
      const A gi = static_cast<A>(g[i]), ui = static_cast<A>(u[i]);
      const A s = Form::kUsesSigmoid ? sigmoid[begin + i] : A{0};
      const A p = static_cast<A>(product_grad[begin + i]) + (plus[i] - minus[i]);
      g[i] = static_cast<T>(Form::gate_grad(gi, ui, s, p, g_on[i], u_on[i]));
      u[i] = static_cast<T>(Form::up_grad(gi, ui, s, p, g_on[i], u_on[i]));
    }
  }
}

// Calls body(form) with the functions of the activation.
template <class Body>
decltype(auto) with_form(Activation activation, Body&& body) {
  switch (activation) {
    case Activation::Silu:
      return body(SiluGate{});
    case Activation::Relu:
      return body(ReluGate{});
    case Activation::Drelu:
      break;
  }
  return body(DoubleRelu{});
}

void write_sigmoid(Activation activation, const at::Tensor& gate, at::Tensor scratch) {
  if (activation != Activation::Silu) return;
  if (gate.scalar_type() == scratch.scalar_type()) {
    at::sigmoid_out(scratch, gate);
  } else {
    scratch.copy_(gate);
    scratch.sigmoid_();
  }
}

}  // namespace

void ProductCounts::add(const at::Tensor& zeros_and_l1, std::int64_t count) {
  elements += count;
  if (device.defined()) {
    device.narrow(0, 2, 2).add_(zeros_and_l1);
    return;
  }
  const double* values = zeros_and_l1.const_data_ptr<double>();
  zeros += static_cast<std::int64_t>(values[0]);
  l1 += values[1];
}

void ProductCounts::add_fetched(const double* values) {
  zeros += static_cast<std::int64_t>(std::bit_cast<std::uint64_t>(values[0])) +
           static_cast<std::int64_t>(values[2]);
  l1 += values[1] + values[3];
}

void glu_forward(Activation activation, const at::Tensor& gate, const at::Tensor& up,
                 const at::Tensor& product, const at::Tensor& scratch, ProductCounts& tally) {
  tally.elements += gate.numel();
  if (gate.is_cuda()) return on_cuda::glu_forward(activation, gate, up, product, tally.device);
  write_sigmoid(activation, gate, scratch);
  with_element_type(gate.scalar_type(), [&]<class T>(T) {
    using A = Accumulate<T>;
    with_form(activation, [&]<class Form>(Form) {
      forward_elements<Form, T, A>(gate.const_data_ptr<T>(), up.const_data_ptr<T>(),
                                   activation == Activation::Silu ? scratch.const_data_ptr<A>() : nullptr,
                                   product.data_ptr<T>(), gate.numel(), tally);
    });
  });
}

at::Tensor penalty_grad(const at::Tensor& product, const Penalty& penalty) {
  const at::Tensor values = product.to(accumulate_type(product.scalar_type()));
  at::Tensor grad = values.sign().mul_(penalty.weight);
  if (penalty.knee > 0) grad.mul_(penalty.knee).div_(values.abs().add_(penalty.knee));
  return grad;
}

void glu_backward(Activation activation, const at::Tensor& gate, const at::Tensor& up,
                  const at::Tensor& product, const at::Tensor& product_grad, const Penalty& penalty,
                  const at::Tensor& scratch) {
  const bool bent = penalty.knee > 0 && penalty.weight != 0;
  if (bent) product_grad.add_(penalty_grad(product, penalty));
  const double l1 = bent ? 0 : penalty.weight;
  if (gate.is_cuda()) return on_cuda::glu_backward(activation, gate, up, product, product_grad, l1);
  write_sigmoid(activation, gate, scratch);
  with_element_type(gate.scalar_type(), [&]<class T>(T) {
    using A = Accumulate<T>;
    with_form(activation, [&]<class Form>(Form) {
      backward_elements<Form, T, A>(gate.data_ptr<T>(), up.data_ptr<T>(),
                                    activation == Activation::Silu ? scratch.const_data_ptr<A>() : nullptr,
                                    product.const_data_ptr<T>(), product_grad.const_data_ptr<T>(),
                                    static_cast<A>(l1), gate.numel());
    });
  });
}

}  // namespace lacuna
