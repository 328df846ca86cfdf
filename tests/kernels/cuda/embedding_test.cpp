// Rows exactly; the gradient against double, with one row that most positions hold.
#include "kernels/cuda/embedding.h"

#include <algorithm>

#include "tests/kernels/cuda/device_array.h"

namespace lacuna::cuda {
namespace {

using namespace test;

struct Size {
  std::int64_t tokens, first, table_rows, cols;
};
const Size kSizes[] = {{1, 0, 1, 1},    {5, 0, 3, 7},       {40, 10, 9, 8},     {333, 0, 50, 97},
                       {7, 3, 1, 2048}, {200, 64, 64, 264}, {1025, 0, 31, 520}, {3, 100, 5, 16}};

std::vector<std::int32_t> tokens_of(const Size& s) {
  std::vector<std::int32_t> out;
  const std::uint64_t key = rng_key(5, "tokens");
  for (std::int64_t t = 0; t < s.tokens; ++t) {
    const double draw = rng_uniform(key, static_cast<std::uint64_t>(t));
    const bool common = t % 3 != 0;  // two thirds are one token
    out.push_back(
        static_cast<std::int32_t>(common ? s.first : draw * static_cast<double>(s.first + s.table_rows + 4)));
  }
  return out;
}

TEST(EmbeddingCuda, RowsAreCopied) {
  for (DType dtype : kFloatTypes)
    for (const Size& s : kSizes) {
      const Values values = normals(dtype, "table", s.table_rows * s.cols);
      const std::vector<std::int32_t> list = tokens_of(s);
      const DeviceArray table(dtype, values), out(dtype, s.tokens * s.cols);
      const DeviceList<std::int32_t> tokens(list);
      embedding_rows(dtype, table.data(), s.first, s.table_rows, tokens.data(), s.tokens, s.cols, out.data(),
                     nullptr);
      finish();
      Values want;
      for (std::int32_t token : list) {
        const std::int64_t row = token - s.first;
        for (std::int64_t i = 0; i < s.cols; ++i)
          want.push_back(row < 0 || row >= s.table_rows ? 0
                                                        : values[static_cast<std::size_t>(row * s.cols + i)]);
      }
      EXPECT_EQ(out.get(), want) << label(dtype, s.tokens, s.cols);
      EXPECT_TRUE(out.intact());
    }
}

TEST(EmbeddingCuda, IndexListsEveryLocalTokenOnce) {
  const TokenIndex index = index_tokens(std::vector<std::int32_t>{12, 7, 10, 12, 9, 10, 12, 13}, 10, 3);
  EXPECT_EQ(index.rows, (std::vector<std::int32_t>{0, 2}));
  EXPECT_EQ(index.offsets, (std::vector<std::int32_t>{0, 2, 5}));
  EXPECT_EQ(index.positions, (std::vector<std::int32_t>{2, 5, 0, 3, 6}));
  EXPECT_EQ(index_tokens({}, 0, 4).offsets, (std::vector<std::int32_t>{0}));
}

TEST(EmbeddingCuda, GradientAgreesWithDouble) {
  for (DType dtype : kFloatTypes)
    for (const Size& s : kSizes) {
      const DType sums = accumulation(dtype);
      const Values rows = normals(dtype, "grads", s.tokens * s.cols),
                   before = normals(sums, "b", s.table_rows * s.cols);
      const std::vector<std::int32_t> list = tokens_of(s);
      const TokenIndex index = index_tokens(list, s.first, s.table_rows);
      const DeviceList<std::int32_t> distinct(index.rows), offsets(index.offsets), positions(index.positions);
      const DeviceArray row_grads(dtype, rows);
      std::vector<std::byte> first;
      for (int run = 0; run < 2; ++run) {
        const DeviceArray grad(sums, before);
        embedding_grad(dtype, row_grads.data(), distinct.data(), offsets.data(), positions.data(),
                       static_cast<std::int64_t>(index.rows.size()), s.cols, grad.data(), nullptr);
        finish();
        EXPECT_TRUE(grad.intact());
        if (run == 1) {
          EXPECT_EQ(first, grad.bytes());
          continue;
        }
        first = grad.bytes();
        Values want = before, scale(want.size());
        for (std::size_t i = 0; i < want.size(); ++i) scale[i] = std::abs(want[i]);
        for (std::size_t t = 0; t < list.size(); ++t) {
          const std::int64_t row = list[t] - s.first;
          if (row < 0 || row >= s.table_rows) continue;
          for (std::int64_t i = 0; i < s.cols; ++i) {
            const double x = rows[t * static_cast<std::size_t>(s.cols) + static_cast<std::size_t>(i)];
            want[static_cast<std::size_t>(row * s.cols + i)] += x;
            scale[static_cast<std::size_t>(row * s.cols + i)] += std::abs(x);
          }
        }
        // A term passes through an eighth of the additions, then eight lanes and the old value.
        const double additions = std::ceil(static_cast<double>(s.tokens) / 8) + 9;
        expect_close(
            grad.get(), want, [&](std::size_t i) { return additions * unit(dtype) * scale[i]; },
            label(dtype, s.tokens, s.cols));
      }
    }
}

}  // namespace
}  // namespace lacuna::cuda
