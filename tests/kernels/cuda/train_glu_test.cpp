// The gated product and its gradient against double; counts exactly.
#include "kernels/cuda/train_glu.h"

#include <limits>

#include "kernels/gradients.h"
#include "tests/kernels/cuda/device_array.h"

namespace lacuna::cuda {
namespace {

using namespace test;

struct Size {
  std::int64_t rows, cols, gate_gap, up_gap;  // gaps: elements between rows
};
const Size kSizes[] = {{1, 1, 0, 0},     {1, 7, 0, 0},           {3, 5, 0, 0},    {2, 8, 8, 24},
                       {5, 13, 13, 2},   {4, 64, 64, 64},        {37, 128, 8, 0}, {1, 9001, 0, 0},
                       {70, 1408, 0, 0}, {70, 1408, 1408, 1408}, {13, 1153, 7, 0}};
const Gating kGatings[] = {Gating::Silu, Gating::Relu, Gating::Drelu};

// One product: gate and up with NaN in the gaps.
struct Case {
  GluShape shape;
  Values gate, up, product_grad;

  Case(Gating gating, DType dtype, Size size) {
    shape = {gating, dtype, size.rows, size.cols, size.cols + size.gate_gap, size.cols + size.up_gap};
    if (size.gate_gap == 0 && size.up_gap == 0) shape.gate_stride = shape.up_stride = 0;
    gate = normals(dtype, "g", size.rows * size.cols);
    up = normals(dtype, "u", size.rows * size.cols);
    product_grad = normals(dtype, "p", size.rows * size.cols);
    for (std::size_t i = 0; i < gate.size(); i += 5) gate[i] = rounded(dtype, gate[i] * 60);  // the far tails
    for (std::size_t i = 3; i < gate.size(); i += 7) gate[i] = i % 2 == 0 ? 0.0 : -0.0;
    for (std::size_t i = 4; i < up.size(); i += 11) up[i] = 0;
  }
  Values spread(const Values& dense, std::int64_t stride) const {
    if (stride == 0) return dense;
    Values out(static_cast<std::size_t>(shape.rows * stride), std::numeric_limits<double>::quiet_NaN());
    for (std::size_t i = 0; i < dense.size(); ++i) out[place(i, stride)] = dense[i];
    return out;
  }
  std::size_t place(std::size_t i, std::int64_t stride) const {
    const auto cols = static_cast<std::size_t>(shape.cols);
    return stride == 0 ? i : i / cols * static_cast<std::size_t>(stride) + i % cols;
  }
  std::string what() const {
    return label(shape.dtype, shape.rows, shape.cols) + " gating " +
           std::to_string(static_cast<int>(shape.gating));
  }
};

template <class Body>
void each_case(Body&& body) {
  for (Gating gating : kGatings)
    for (DType dtype : kFloatTypes)
      for (Size size : kSizes) body(Case(gating, dtype, size));
}

struct Forward {
  Values product;
  std::vector<std::byte> bytes;
  ProductSums sums;
};

Forward run_forward(const Case& c) {
  const GluShape& s = c.shape;
  const DeviceArray gate(s.dtype, c.spread(c.gate, s.gate_stride)), up(s.dtype, c.spread(c.up, s.up_stride)),
      product(s.dtype, s.rows * s.cols);
  const DeviceList<ProductSums> sums({{7, 0.5}});
  const Workspace workspace(glu_forward_workspace(s));
  glu_forward(s, gate.data(), up.data(), product.data(), sums.data(), workspace.data(), nullptr);
  finish();
  EXPECT_TRUE(product.intact() && workspace.intact()) << c.what();
  return {product.get(), product.bytes(), sums.get()[0]};
}

TEST(TrainGluCuda, ProductAndCountsAgreeWithDouble) {
  each_case([](const Case& c) {
    const double u = unit(c.shape.dtype);
    const Forward got = run_forward(c);
    Values want, bounds;
    for (std::size_t i = 0; i < c.gate.size(); ++i) {
      want.push_back(glu_ref(c.shape.gating, c.gate[i], c.up[i]));
      // exp within 2 last places (4 units; in bf16 its argument is rounded too), sum, quotient, two products.
      bounds.push_back(((8 + 2 * std::abs(c.gate[i])) * u + stored_unit(c.shape.dtype)) * std::abs(want[i]) +
                       tiny(c.shape.dtype) * (1 + std::abs(c.gate[i] * c.up[i])));
    }
    expect_close(
        got.product, want, [&](std::size_t i) { return bounds[i]; }, c.what());
    unsigned long long zeros = 7;
    double l1 = 0.5;
    for (std::size_t i = 0; i < got.product.size(); ++i) {
      zeros += got.product[i] == 0;
      l1 += std::abs(got.product[i]);
      EXPECT_FALSE(got.product[i] == 0 && std::signbit(got.product[i]) && c.shape.gating != Gating::Silu)
          << i;
      EXPECT_TRUE(c.shape.gating == Gating::Silu || (got.product[i] == 0) == (want[i] == 0)) << c.what();
    }
    EXPECT_EQ(got.sums.zeros, zeros) << c.what();
    EXPECT_NEAR(got.sums.l1, l1, (8 * u + 1e-12) * l1) << c.what();  // eight at a time, then in double
    const Forward again = run_forward(c);
    EXPECT_EQ(again.bytes, got.bytes);
    EXPECT_EQ(again.sums.l1, got.sums.l1);
  });
}

TEST(TrainGluCuda, NanIsNoZero) {
  for (Gating gating : kGatings)
    for (DType dtype : kFloatTypes) {
      Case c(gating, dtype, {3, 40, 0, 0});
      c.gate[17] = std::numeric_limits<double>::quiet_NaN();
      c.up[100] = std::numeric_limits<double>::quiet_NaN();
      c.gate[100] = 1;
      const Forward got = run_forward(c);
      EXPECT_TRUE(std::isnan(got.product[17]));
      EXPECT_TRUE(std::isnan(got.product[100]));
      EXPECT_TRUE(std::isnan(got.sums.l1));
    }
}

struct Backward {
  Values gate, up;
  std::vector<std::byte> gate_bytes, up_bytes;
};

Backward run_backward(const Case& c, const Values& product, double l1) {
  const GluShape& s = c.shape;
  const DeviceArray gate(s.dtype, c.spread(c.gate, s.gate_stride)), up(s.dtype, c.spread(c.up, s.up_stride)),
      held(s.dtype, product), grad(s.dtype, c.product_grad);
  glu_backward(s, gate.data(), up.data(), l1 == 0 ? nullptr : held.data(), grad.data(), l1, nullptr);
  finish();
  EXPECT_TRUE(gate.intact() && up.intact()) << c.what();
  return {gate.get(), up.get(), gate.bytes(), up.bytes()};
}

void check_backward(const Case& c, double l1) {
  const GluShape& s = c.shape;
  const double u = unit(s.dtype), stored = stored_unit(s.dtype);
  Values product;
  for (std::size_t i = 0; i < c.gate.size(); ++i)
    product.push_back(rounded(s.dtype, glu_ref(s.gating, c.gate[i], c.up[i])));
  const Backward got = run_backward(c, product, l1);
  for (std::size_t i = 0; i < c.gate.size(); ++i) {
    double gate = c.gate[i], up = c.up[i];
    const double sign = product[i] > 0 ? 1 : product[i] < 0 ? -1 : 0;
    glu_backward_ref(s.gating, gate, up, c.product_grad[i] + rounded(accumulation(s.dtype), l1) * sign);
    const double p = std::abs(c.product_grad[i]) + l1, g = std::abs(c.gate[i]);
    const double sigmoid = s.gating == Gating::Silu ? 1 / (1 + std::exp(-c.gate[i])) : 1;
    // 1 - s is off by the seven roundings of s, times |g|; then the rounding of p and the products.
    const double gate_scale = p * std::abs(c.up[i]) * sigmoid * (12 + 2 * g) * (g + 1.5),
                 up_scale = (12 + 2 * g) * p * g * sigmoid;
    const double least = tiny(s.dtype) * (1 + p) * (1 + g) * (1 + g) * (1 + std::abs(c.up[i]));
    const double gate_got = got.gate[c.place(i, s.gate_stride)], up_got = got.up[c.place(i, s.up_stride)];
    ASSERT_NEAR(gate_got, gate, u * gate_scale + stored * std::abs(gate) + least) << c.what() << " " << i;
    ASSERT_NEAR(up_got, up, u * up_scale + stored * std::abs(up) + least) << c.what() << " " << i;
  }
  std::size_t unwritten = 0;  // the gaps
  for (double x : got.gate) unwritten += std::isnan(x);
  EXPECT_EQ(unwritten, got.gate.size() - c.gate.size()) << c.what();
  const Backward again = run_backward(c, product, l1);
  EXPECT_EQ(again.gate_bytes, got.gate_bytes);
  EXPECT_EQ(again.up_bytes, got.up_bytes);
}

TEST(TrainGluCuda, GradientsAgreeWithDouble) {
  each_case([](const Case& c) {
    check_backward(c, 0);
    check_backward(c, 0.01);
  });
}

}  // namespace
}  // namespace lacuna::cuda
