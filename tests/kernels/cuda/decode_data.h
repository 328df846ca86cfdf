// Weights and activations as the decode kernels want them: aligned rows, zeros behind them, fp32 vectors
// padded to 4 floats.
#pragma once

#include <memory>

#include "kernels/cuda/decode_launch.h"
#include "tests/kernels/cuda/device_array.h"

namespace lacuna::cuda::test {

inline constexpr DType kWeightTypes[] = {DType::F32, DType::BF16};
inline constexpr double kUnit = 0x1p-24;

// A matrix [rows, cols] of normal numbers over sqrt(cols), and its values as stored.
struct TestMatrix {
  TestMatrix(DType dtype, const std::string& name, std::int64_t rows, std::int64_t cols,
             std::int64_t extra_stride = 0)
      : values(normals(dtype, name, rows * cols, 1 / std::sqrt(static_cast<double>(cols)))),
        each(16 / static_cast<std::int64_t>(size_of(dtype))),
        stride((cols + each - 1) / each * each + extra_stride * each),
        array(dtype, rows * stride),
        view{array.data(), dtype, rows, cols, stride} {
    upload();
  }
  // After a change of `values`. Rows [begin, end) of columns behind the padding hold NaN.
  void upload() {
    const std::int64_t padded = (view.cols + each - 1) / each * each;
    Values all(static_cast<std::size_t>(view.rows * stride), std::nan(""));
    for (std::int64_t r = 0; r < view.rows; ++r)
      for (std::int64_t c = 0; c < padded; ++c)
        all[static_cast<std::size_t>(r * stride + c)] =
            c < view.cols ? values[static_cast<std::size_t>(r * view.cols + c)] : 0;
    array.set(all);
  }
  const double* row(std::int64_t r) const { return values.data() + r * view.cols; }

  Values values;
  std::int64_t each, stride;
  DeviceArray array;
  DecodeMatrix view;
};

inline Values padded(Values values) {
  while (values.size() % 4 != 0) values.push_back(0);
  return values;
}

// RMSNorm as the kernels fold it in, in double.
inline Values normed(const Values& x, const Values& weight, double eps) {
  double squares = 0;
  for (double v : x) squares += v * v;
  const double scale = 1 / std::sqrt(squares / static_cast<double>(x.size()) + eps);
  Values out;
  for (std::size_t i = 0; i < x.size(); ++i) out.push_back(x[i] * scale * weight[i]);
  return out;
}

// A dot product and the bound of its error in a kernel: each lane adds cols/32 terms in two chains, a tree
// adds the lanes; x times the norm's weight, the norm's scale (a chain of cols/512 squares, a tree, a root
// and a quotient) and the product with it round as well.
struct Dot {
  double value = 0, bound = 0;
};
inline Dot dot(const double* row, const Values& x) {
  Dot out;
  double size = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    out.value += row[i] * x[i];
    size += std::abs(row[i] * x[i]);
  }
  const double steps = static_cast<double>(x.size()) * (1.0 / 32 + 1.0 / 1024) + 40;
  out.bound = steps * kUnit * size;
  return out;
}

inline DecodeLaunch launch_of(int blocks, bool overlap) {
  return {blocks, overlap, nullptr};
}

}  // namespace lacuna::cuda::test
