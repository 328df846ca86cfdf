// Inputs, guarded outputs and derived tolerances for kernel tests.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/matrix.h"
#include "src/base/rng.h"

namespace lacuna::test {

constexpr double kUnit = 0x1p-24;  // rounding unit of fp32
constexpr float kSentinel = -12345.0f;

// `count` normal floats of stream `name`.
inline std::vector<float> random_floats(const char* name, std::int64_t count) {
  std::vector<float> out;
  const std::uint64_t key = rng_key(7, name);
  for (std::int64_t i = 0; i < count; ++i)
    out.push_back(static_cast<float>(rng_normal(key, std::uint64_t(i))));
  return out;
}

// Random weights of any type with a stride wider than the rows (the gap holds NaN), at an odd address.
class Weights {
 public:
  Weights(DType dtype, std::int64_t rows, std::int64_t cols, std::int64_t gap, const char* name) : gap_(gap) {
    const std::int64_t stride = cols + gap;
    bytes_.assign(static_cast<std::size_t>(rows * stride) * size_of(dtype) + 1, std::byte{0xff});  // NaN
    view = {bytes_.data() + 1, dtype, rows, cols, stride};
    const std::vector<float> values = random_floats(name, rows * cols);
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < cols; ++c) put(r, c, values[static_cast<std::size_t>(r * cols + c)]);
  }
  void put(std::int64_t r, std::int64_t c, double value) {
    std::byte* at = bytes_.data() + 1 + static_cast<std::size_t>(r * view.stride + c) * size_of(view.dtype);
    const float single = static_cast<float>(value);
    const std::uint16_t brain = to_bf16(single), half = to_f16(single);
    if (view.dtype == DType::F64) value *= 1 + 0x1p-30;  // not a float
    switch (view.dtype) {
      case DType::F64:
        std::memcpy(at, &value, 8);
        break;
      case DType::F32:
        std::memcpy(at, &single, 4);
        break;
      case DType::BF16:
        std::memcpy(at, &brain, 2);
        break;
      default:
        std::memcpy(at, &half, 2);
        break;
    }
  }
  void fill_row(std::int64_t r, double value) {
    for (std::int64_t c = 0; c < view.cols; ++c) put(r, c, value);
  }
  double at(std::int64_t r, std::int64_t c) const {
    return load_as_double(view.row(r), view.dtype, static_cast<std::size_t>(c));
  }
  MatrixView view;

 private:
  std::int64_t gap_;
  std::vector<std::byte> bytes_;
};

// Output rows full of NaN, with sentinels before, between and after them.
class Guarded {
 public:
  Guarded(std::int64_t count, std::int64_t width)
      : width_(width), stride_(width + 3), data_(size(count), kSentinel) {
    rows = {data_.data() + 8, count, width, stride_};
    for (std::int64_t t = 0; t < count; ++t)
      std::fill(rows.row(t), rows.row(t) + width, std::numeric_limits<float>::quiet_NaN());
  }
  bool intact() const {
    for (std::size_t i = 0; i < data_.size(); ++i) {
      const std::int64_t at = static_cast<std::int64_t>(i) - 8;
      const bool inside = at >= 0 && at / stride_ < rows.count && at % stride_ < width_;
      if (!inside && data_[i] != kSentinel) return false;
    }
    return true;
  }
  // Bit for bit.
  bool operator==(const Guarded& other) const {
    return data_.size() == other.data_.size() &&
           std::memcmp(data_.data(), other.data_.data(), data_.size() * sizeof(float)) == 0;
  }
  Rows rows;

 private:
  std::size_t size(std::int64_t count) const { return static_cast<std::size_t>(count * stride_ + 16); }
  std::int64_t width_, stride_;
  std::vector<float> data_;
};

inline ConstRows rows_of(const std::vector<float>& data, std::int64_t count, std::int64_t width) {
  return {data.data(), count, width, width};
}
inline std::vector<double> widened(const std::vector<float>& data) {
  return {data.begin(), data.end()};
}

inline std::vector<ActiveRun> whole(std::int64_t rows) {
  return {{0, static_cast<std::int32_t>(rows)}};
}
// Runs of length 1, 2, 3 with gaps, over `rows`.
inline std::vector<ActiveRun> ragged(std::int64_t rows) {
  std::vector<ActiveRun> out;
  std::int32_t length = 1;
  for (std::int32_t at = 0; at + length <= rows; at += length + 2, length = length % 3 + 1)
    out.push_back({at, length});
  return out;
}

}  // namespace lacuna::test
