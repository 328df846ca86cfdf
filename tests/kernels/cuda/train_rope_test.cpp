// The rotation against double, on joined rows with other columns between, and back.
#include "kernels/cuda/train_rope.h"

#include "tests/kernels/cuda/device_array.h"

namespace lacuna::cuda {
namespace {

using namespace test;

struct Size {
  std::int64_t tokens, seq_len, heads, kv_heads, head_dim, gap;  // gap: columns behind the keys
};
const Size kSizes[] = {{1, 1, 1, 1, 2, 0},     {5, 3, 3, 1, 6, 1},     {7, 7, 4, 2, 16, 0},
                       {33, 11, 5, 1, 64, 64}, {20, 10, 9, 3, 128, 0}, {6, 4, 2, 0, 36, 0},
                       {9, 9, 32, 4, 64, 256}, {3, 2, 1, 1, 256, 3}};

struct Case {
  DType dtype;
  Size size;
  std::int64_t stride;
  Values rows, cos, sin;

  Case(DType type, Size s) : dtype(type), size(s) {
    stride = (s.heads + s.kv_heads) * s.head_dim + s.gap;
    rows = normals(dtype, "qk", s.tokens * stride);
    for (std::int64_t i = 0; i < s.seq_len * (s.head_dim / 2); ++i) {
      cos.push_back(rounded(accumulation(dtype), std::cos(0.37 * static_cast<double>(i))));
      sin.push_back(rounded(accumulation(dtype), std::sin(0.37 * static_cast<double>(i))));
    }
  }
};

std::vector<std::byte> run(const Case& c, bool back, Values& out) {
  const Size& s = c.size;
  const DeviceArray rows(c.dtype, c.rows), cos(accumulation(c.dtype), c.cos),
      sin(accumulation(c.dtype), c.sin);
  const RopeRows query{rows.data(), s.heads, c.stride};
  const RopeRows key{rows.at(s.heads * s.head_dim), s.kv_heads, c.stride};
  const RopeAngles angles{cos.data(), sin.data(), s.seq_len, s.head_dim};
  (back ? rope_rotate_back : rope_rotate)(c.dtype, query, key, angles, s.tokens, nullptr);
  finish();
  EXPECT_TRUE(rows.intact());
  out = rows.get();
  return rows.bytes();
}

TEST(TrainRopeCuda, AgreesWithDouble) {
  for (DType dtype : kFloatTypes)
    for (const Size& s : kSizes)
      for (bool back : {false, true}) {
        const Case c(dtype, s);
        Values want = c.rows, scale(want.size(), 0.0), got;
        const std::int64_t half = s.head_dim / 2;
        for (std::int64_t t = 0; t < s.tokens; ++t)
          for (std::int64_t head = 0; head < s.heads + s.kv_heads; ++head)
            for (std::int64_t i = 0; i < half; ++i) {
              const auto a = static_cast<std::size_t>(t * c.stride + head * s.head_dim + i);
              const auto b = a + static_cast<std::size_t>(half);
              const auto angle = static_cast<std::size_t>(t % s.seq_len * half + i);
              const double cosine = c.cos[angle], sine = back ? -c.sin[angle] : c.sin[angle];
              want[a] = c.rows[a] * cosine - c.rows[b] * sine;
              want[b] = c.rows[b] * cosine + c.rows[a] * sine;
              scale[a] = scale[b] = 3 * (std::abs(c.rows[a]) + std::abs(c.rows[b]));  // two products, a sum
            }
        const std::vector<std::byte> bytes = run(c, back, got);
        expect_close(
            got, want,
            [&](std::size_t i) {
              return scale[i] == 0 ? 0 : unit(dtype) * scale[i] + stored_unit(dtype) * std::abs(want[i]);
            },
            label(dtype, s.tokens, c.stride));
        EXPECT_EQ(run(c, back, got), bytes);
      }
}

}  // namespace
}  // namespace lacuna::cuda
