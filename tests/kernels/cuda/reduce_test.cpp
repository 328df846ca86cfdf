// Sums and maxima over ranks to the bit, column sums against double, copies between row layouts.
#include "kernels/cuda/reduce.h"

#include <algorithm>
#include <memory>

#include "tests/kernels/cuda/device_array.h"

namespace lacuna::cuda {
namespace {

using namespace test;

struct Ranks {
  std::vector<Values> values;
  std::vector<std::unique_ptr<DeviceArray>> arrays;
  Parts parts;

  // `shift` elements in front are not part of it.
  Ranks(DType dtype, int count, std::int64_t elements, std::int64_t shift) {
    for (int rank = 0; rank < count; ++rank) {
      values.push_back(normals(dtype == DType::I64 ? DType::F64 : dtype, "rank" + std::to_string(rank),
                               elements + shift, dtype == DType::I64 ? 1e6 : 1.0));
      if (dtype == DType::I64)
        for (double& x : values.back()) x = std::floor(x);
      arrays.push_back(std::make_unique<DeviceArray>(dtype, values.back()));
      parts.data[rank] = arrays.back()->at(shift);
    }
    parts.count = count;
  }
};

TEST(ReduceCuda, AddsInRankOrder) {
  for (DType dtype : {DType::F64, DType::F32, DType::BF16, DType::I64})
    for (int count : {1, 2, 3, 8})
      for (std::int64_t elements : {1, 7, 8, 1000, 4099})
        for (std::int64_t shift : {0, 1})
          for (bool in_place : {false, true}) {
            const Ranks ranks(dtype, count, elements, shift);
            const DeviceArray apart(dtype, elements);
            void* out = in_place ? ranks.arrays.back()->at(shift) : apart.data();
            ordered_sum(dtype, ranks.parts, out, elements, nullptr);
            finish();
            const Values got = in_place ? ranks.arrays.back()->get() : apart.get();
            for (std::int64_t i = 0; i < elements; ++i) {
              double want = 0;  // rounded after each addition; bf16 only at the end
              for (int rank = 0; rank < count; ++rank) {
                const double x =
                    ranks.values[static_cast<std::size_t>(rank)][static_cast<std::size_t>(i + shift)];
                want = dtype == DType::I64 || rank == 0 ? want + x : rounded(accumulation(dtype), want + x);
              }
              if (dtype != DType::I64) want = rounded(dtype, want);
              ASSERT_EQ(got[static_cast<std::size_t>(in_place ? i + shift : i)], want) << name_of(dtype) << i;
            }
            EXPECT_TRUE(apart.intact() && ranks.arrays.back()->intact());
          }
}

TEST(ReduceCuda, TakesTheLargest) {
  for (DType dtype : {DType::F64, DType::F32, DType::BF16, DType::I64})
    for (int count : {1, 4})
      for (std::int64_t elements : {5, 1000}) {
        const Ranks ranks(dtype, count, elements, 0);
        const DeviceArray out(dtype, elements);
        ordered_max(dtype, ranks.parts, out.data(), elements, nullptr);
        finish();
        const Values got = out.get();
        for (std::size_t i = 0; i < got.size(); ++i) {
          double want = ranks.values[0][i];
          for (const Values& values : ranks.values) want = std::max(want, values[i]);
          ASSERT_EQ(got[i], want);
        }
      }
  for (std::size_t bad : {0, 1, 2}) {
    Values values[3] = {{1, 2}, {3, 1}, {2, 5}};
    values[bad][0] = std::nan("");
    const DeviceArray a(DType::F32, values[0]), b(DType::F32, values[1]), c(DType::F32, values[2]);
    const Parts parts{{a.data(), b.data(), c.data()}, 3};
    ordered_max(DType::F32, parts, a.data(), 2, nullptr);
    finish();
    EXPECT_TRUE(std::isnan(a.get()[0]));
    EXPECT_EQ(a.get()[1], 5);
  }
}

TEST(ReduceCuda, ColumnSumsAgreeWithDouble) {
  struct Size {
    std::int64_t rows, cols, stride;
  };
  for (DType dtype : kFloatTypes)
    for (const Size& s :
         {Size{1, 1, 1}, Size{3, 5, 9}, Size{255, 33, 33}, Size{256, 129, 130}, Size{5000, 97, 100}}) {
      const DType sums_type = accumulation(dtype);
      const Values x = normals(dtype, "x", s.rows * s.stride), before = normals(sums_type, "before", s.cols);
      const DeviceArray device(dtype, x);
      std::vector<std::byte> first;
      for (int run = 0; run < 2; ++run) {
        const DeviceArray sums(sums_type, before);
        const Workspace workspace(column_sums_workspace(dtype, s.rows, s.cols));
        column_sums(dtype, device.data(), s.stride, s.rows, s.cols, sums.data(), workspace.data(), nullptr);
        finish();
        EXPECT_TRUE(sums.intact() && workspace.intact());
        if (run == 1) {
          EXPECT_EQ(sums.bytes(), first);
          continue;
        }
        first = sums.bytes();
        Values want = before, scale(before.size(), 0.0);
        for (std::int64_t row = 0; row < s.rows; ++row)
          for (std::int64_t col = 0; col < s.cols; ++col) {
            const double v = x[static_cast<std::size_t>(row * s.stride + col)];
            want[static_cast<std::size_t>(col)] += v;
            scale[static_cast<std::size_t>(col)] += std::abs(v);
          }
        // A 64th of the rows (or four) in a chain, two parts a lane, 32 lanes, the old value.
        const double additions = std::max(4.0, std::ceil(static_cast<double>(s.rows) / 64)) + 2 + 32 + 1;
        expect_close(
            sums.get(), want,
            [&](std::size_t i) {
              return unit(dtype) * (additions * scale[i] + std::abs(before[i]) + std::abs(want[i]));
            },
            label(dtype, s.rows, s.cols));
      }
    }
}

TEST(ReduceCuda, CopiesRows) {
  for (std::int64_t row_bytes : {1, 2, 6, 8, 48, 130, 4096})
    for (std::int64_t from_gap : {0, 2, 16})
      for (std::int64_t to_gap : {0, 1, 32}) {
        const std::int64_t rows = 9, from_stride = row_bytes + from_gap, to_stride = row_bytes + to_gap;
        std::vector<unsigned char> bytes(static_cast<std::size_t>(rows * from_stride));
        for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<unsigned char>(i * 31 % 251);
        const DeviceList<unsigned char> from(bytes);
        const DeviceArray to(DType::U8, rows * to_stride);
        copy_rows(from.data(), from_stride, to.data(), to_stride, row_bytes, rows, nullptr);
        finish();
        EXPECT_TRUE(to.intact());
        const std::vector<std::byte> got = to.bytes();
        for (std::int64_t row = 0; row < rows; ++row)
          for (std::int64_t i = 0; i < to_stride; ++i) {
            const auto value = static_cast<unsigned char>(got[static_cast<std::size_t>(row * to_stride + i)]);
            ASSERT_EQ(value, i < row_bytes ? bytes[static_cast<std::size_t>(row * from_stride + i)] : 0xff);
          }
      }
}

}  // namespace
}  // namespace lacuna::cuda
