#include "src/model/ffn_glu.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "src/model/element_types.h"

namespace lacuna {

namespace {

// One activation each: value(g, u, s) and the gradients for the product's gradient p; s is sigmoid(g).
struct SiluGate {
  template <class A>
  static A value(A g, A u, A s) {
    return g * s * u;
  }
  template <class A>
  static A gate_grad(A g, A u, A s, A p) {
    return p * u * (s * (A{1} + g * (A{1} - s)));
  }
  template <class A>
  static A up_grad(A g, A, A s, A p) {
    return p * (g * s);
  }
};

// Zero where x is not positive; NaN stays NaN. One select without a branch, which vectorises.
template <class A>
A positive_part(A x) {
  return x <= A{0} ? A{0} : x;
}
template <class A>
A where_positive(A x, A value) {
  return x <= A{0} ? A{0} : value;
}

struct ReluGate {
  template <class A>
  static A value(A g, A u, A) {
    return positive_part(g) * u + A{0};  // + 0: no negative zeros
  }
  template <class A>
  static A gate_grad(A g, A u, A, A p) {
    return where_positive(g, p * u);
  }
  template <class A>
  static A up_grad(A g, A, A, A p) {
    return p * positive_part(g);
  }
};

struct DoubleRelu {
  template <class A>
  static A value(A g, A u, A) {
    return positive_part(g) * positive_part(u);
  }
  template <class A>
  static A gate_grad(A g, A u, A, A p) {
    return where_positive(g, p * positive_part(u));
  }
  template <class A>
  static A up_grad(A g, A u, A, A p) {
    return where_positive(u, p * positive_part(g));
  }
};

template <class Form, class T, class A>
ProductCounts forward_elements(const T* gate, const T* up, const A* sigmoid, T* product, std::int64_t n) {
  constexpr std::int64_t kChunk = 4096;  // bounds the error of the float sums of |product|
  ProductCounts counts;
  counts.elements = n;
  for (std::int64_t begin = 0; begin < n; begin += kChunk) {
    const std::int64_t size = std::min(kChunk, n - begin);
    T* out = product + begin;
    for (std::int64_t i = 0; i < size; ++i) {
      const A s = sigmoid ? sigmoid[begin + i] : A{0};
      out[i] = static_cast<T>(Form::value(static_cast<A>(gate[begin + i]), static_cast<A>(up[begin + i]), s));
    }
    std::int32_t zeros = 0;
    for (std::int64_t i = 0; i < size; ++i) zeros += static_cast<A>(out[i]) == A{0} ? 1 : 0;
    counts.zeros += zeros;
    counts.l1 += static_cast<double>(
        lane_sum<A>(size, [out](std::int64_t i) { return std::abs(static_cast<A>(out[i])); }));
  }
  return counts;
}

template <class Form, class T, class A>
void backward_elements(T* gate, T* up, const A* sigmoid, const T* product, const T* product_grad, A l1,
                       std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const A g = static_cast<A>(gate[i]), u = static_cast<A>(up[i]), s = sigmoid ? sigmoid[i] : A{0};
    const A value = static_cast<A>(product[i]);
    const A sign = value > A{0} ? l1 : (value < A{0} ? -l1 : A{0});
    const A p = static_cast<A>(product_grad[i]) + sign;
    gate[i] = static_cast<T>(Form::gate_grad(g, u, s, p));
    up[i] = static_cast<T>(Form::up_grad(g, u, s, p));
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

ProductCounts glu_forward(Activation activation, const at::Tensor& gate, const at::Tensor& up,
                          const at::Tensor& product, const at::Tensor& scratch) {
  write_sigmoid(activation, gate, scratch);
  return with_element_type(gate.scalar_type(), [&]<class T>(T) {
    using A = Accumulate<T>;
    return with_form(activation, [&]<class Form>(Form) {
      return forward_elements<Form, T, A>(
          gate.const_data_ptr<T>(), up.const_data_ptr<T>(),
          activation == Activation::Silu ? scratch.const_data_ptr<A>() : nullptr, product.data_ptr<T>(),
          gate.numel());
    });
  });
}

void glu_backward(Activation activation, const at::Tensor& gate, const at::Tensor& up,
                  const at::Tensor& product, const at::Tensor& product_grad, double l1,
                  const at::Tensor& scratch) {
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
