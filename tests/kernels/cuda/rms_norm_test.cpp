// RMSNorm and its gradients against double. A sum of n positive terms of which each passes through D
// additions has a relative error of at most D units; D is bounded by depth() for every way in which the
// kernels spread a row.
#include "kernels/cuda/rms_norm.h"

#include <algorithm>

#include "kernels/gradients.h"
#include "kernels/norm.h"
#include "tests/kernels/cuda/device_array.h"

namespace lacuna::cuda {
namespace {

using namespace test;

struct Size {
  std::int64_t rows, n;
};
const Size kSizes[] = {{1, 1},     {3, 2},     {5, 7},     {2, 8},     {17, 13},  {7, 64},    {33, 97},
                       {1, 128},   {301, 128}, {13, 384},  {5, 520},   {9, 768},  {65, 1153}, {700, 2048},
                       {31, 4096}, {3, 8192},  {2, 16384}, {2, 20480}, {2, 40000}};

double depth(std::int64_t n) {
  return std::max(64.0, std::ceil(static_cast<double>(n) / 256)) + 12;
}
// Additions that one row's term of a column sum passes through.
double row_depth(std::int64_t rows) {
  return std::min(static_cast<double>(rows), static_cast<double>(rows) / 64 + 400) + 4;
}

struct Case {
  DType dtype;
  std::int64_t rows, n;
  Values x, weight, dy, carried, rstd, weight_grad;

  Case(DType type, Size size) : dtype(type), rows(size.rows), n(size.n) {
    x = normals(dtype, "x", rows * n);
    weight = normals(dtype, "w", n);
    dy = normals(dtype, "dy", rows * n);
    carried = normals(dtype, "carried", rows * n, 0.1);
    weight_grad = normals(accumulation(dtype), "dw", n);
    for (std::int64_t t = 0; t < rows; ++t) {
      double squares = 0;
      for (std::int64_t i = 0; i < n; ++i) squares += x[at(t, i)] * x[at(t, i)];
      rstd.push_back(rounded(accumulation(dtype), 1 / std::sqrt(squares / static_cast<double>(n) + 1e-5)));
    }
  }
  std::size_t at(std::int64_t t, std::int64_t i) const { return static_cast<std::size_t>(t * n + i); }
};

template <class Body>
void each_case(Body&& body) {
  for (DType dtype : kFloatTypes)
    for (Size size : kSizes) body(Case(dtype, size));
}

TEST(RmsNormCuda, AgreesWithDouble) {
  each_case([](const Case& c) {
    const DeviceArray x(c.dtype, c.x), weight(c.dtype, c.weight), y(c.dtype, c.rows * c.n),
        rstd(accumulation(c.dtype), c.rows);
    rms_norm(c.dtype, x.data(), weight.data(), 1e-5, y.data(), rstd.data(), c.rows, c.n, nullptr);
    finish();
    Values want(c.x.size());
    rmsnorm_ref(c.x.data(), c.rows, c.n, c.weight.data(), 1e-5, want.data());
    // Half the error of the sum of squares, its terms, mean, eps, root, quotient; two products for y.
    const double relative = (0.5 * depth(c.n) + 8) * unit(c.dtype);
    const std::string what = label(c.dtype, c.rows, c.n);
    expect_close(
        y.get(), want,
        [&](std::size_t i) { return (relative + stored_unit(c.dtype)) * std::abs(want[i]) + tiny(c.dtype); },
        what);
    expect_close(
        rstd.get(), c.rstd, [&](std::size_t t) { return relative * c.rstd[t]; }, what + " rstd");
    EXPECT_TRUE(y.intact() && rstd.intact()) << what;
    rms_norm(c.dtype, x.data(), weight.data(), 1e-5, x.data(), rstd.data(), c.rows, c.n, nullptr);
    finish();
    EXPECT_EQ(x.bytes(), y.bytes()) << what << " in place, again";
  });
}

struct Results {
  Values dx, weight_grad;
  std::vector<std::byte> dx_bytes, weight_bytes, copy_bytes;
};

enum class Place { Apart, OverDy, OverCarried };

Results run_backward(const Case& c, bool with_carried, Place place) {
  const DeviceArray x(c.dtype, c.x), weight(c.dtype, c.weight), dy(c.dtype, c.dy),
      carried(c.dtype, c.carried), rstd(accumulation(c.dtype), c.rstd), dx(c.dtype, c.rows * c.n),
      weight_grad(accumulation(c.dtype), c.weight_grad);
  const Workspace workspace(rms_norm_backward_workspace(c.dtype, c.rows, c.n));
  const DeviceArray& out = place == Place::Apart ? dx : place == Place::OverDy ? dy : carried;
  RmsNormGrad grad;
  grad.dy = dy.data();
  grad.x = x.data();
  grad.rstd = rstd.data();
  grad.weight = weight.data();
  if (with_carried) grad.carried = carried.data();
  grad.dx = out.data();
  if (with_carried) grad.carried_copy = x.data();
  grad.weight_grad = weight_grad.data();
  grad.workspace = workspace.data();
  rms_norm_backward(c.dtype, grad, c.rows, c.n, nullptr);
  finish();
  EXPECT_TRUE(out.intact() && weight_grad.intact() && workspace.intact() && x.intact());
  return {out.get(), weight_grad.get(), out.bytes(), weight_grad.bytes(), x.bytes()};
}

void check_backward(const Case& c, bool with_carried) {
  const std::string what = label(c.dtype, c.rows, c.n) + (with_carried ? " carried" : "");
  Values dx(c.x.size()), weight_grad = c.weight_grad, scale(c.x.size()), weight_scale(c.weight.size());
  rmsnorm_backward_ref(c.dy.data(), c.x.data(), c.rstd.data(), c.weight.data(),
                       with_carried ? c.carried.data() : nullptr, c.rows, c.n, dx.data(), weight_grad.data());
  // Size of the terms: carried and direct with 6 roundings; along x with those of the inner product.
  for (std::int64_t t = 0; t < c.rows; ++t) {
    const double r = c.rstd[static_cast<std::size_t>(t)];
    double inner = 0;
    for (std::int64_t i = 0; i < c.n; ++i)
      inner += std::abs(c.dy[c.at(t, i)] * c.weight[static_cast<std::size_t>(i)] * c.x[c.at(t, i)] * r);
    for (std::int64_t i = 0; i < c.n; ++i) {
      const double direct = std::abs(r * c.dy[c.at(t, i)] * c.weight[static_cast<std::size_t>(i)]);
      const double along = std::abs(c.x[c.at(t, i)]) * r * r * inner / static_cast<double>(c.n);
      scale[c.at(t, i)] = 6 * (std::abs(c.carried[c.at(t, i)]) + direct) + (depth(c.n) + 12) * along;
      weight_scale[static_cast<std::size_t>(i)] += std::abs(c.dy[c.at(t, i)] * c.x[c.at(t, i)] * r);
    }
  }
  const Results got = run_backward(c, with_carried, Place::Apart);
  expect_close(
      got.dx, dx,
      [&](std::size_t i) {
        return unit(c.dtype) * scale[i] + stored_unit(c.dtype) * std::abs(dx[i]) + tiny(c.dtype);
      },
      what);
  const double chain = static_cast<double>(c.rows) + 3;  // of the reference, in double
  expect_close(
      got.weight_grad, weight_grad,
      [&](std::size_t i) {
        const double terms = weight_scale[i], before = std::abs(c.weight_grad[i]);
        return unit(c.dtype) * ((row_depth(c.rows) + 3) * terms + std::abs(weight_grad[i])) +
               0x1p-53 * chain * (terms + before);
      },
      what + " weight");
  const DeviceArray carried(c.dtype, c.carried), x(c.dtype, c.x);
  EXPECT_EQ(got.copy_bytes, with_carried ? carried.bytes() : x.bytes()) << what;
  for (Place place : {Place::Apart, Place::OverDy, Place::OverCarried}) {
    const Results again = run_backward(c, with_carried, place);
    EXPECT_EQ(again.dx_bytes, got.dx_bytes) << what;
    EXPECT_EQ(again.weight_bytes, got.weight_bytes) << what;
  }
}

TEST(RmsNormCuda, GradientsAgreeWithDouble) {
  each_case([](const Case& c) {
    check_backward(c, true);
    check_backward(c, false);
  });
}

TEST(RmsNormCuda, NothingForNoRows) {
  rms_norm(DType::F32, nullptr, nullptr, 1e-5, nullptr, nullptr, 0, 8, nullptr);
  rms_norm_backward(DType::BF16, {}, 0, 8, nullptr);
  finish();
}

}  // namespace
}  // namespace lacuna::cuda
