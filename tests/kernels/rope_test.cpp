#include "kernels/rope.h"

#include <cmath>

#include "src/base/error.h"
#include "tests/kernels/kernel_data.h"

namespace lacuna {
namespace {

using namespace test;
using Scaling = RopeSettings::Scaling;

const RopeSettings kSettings[] = {{10000, Scaling::None},
                                  {500000, Scaling::Linear, 4},
                                  {500000, Scaling::Llama3, 8, 1, 4, 8192},
                                  {10000, Scaling::Llama3, 32, 1, 4, 64}};

TEST(Rope, AgreesWithComplexRotationInDouble) {
  for (const RopeSettings& settings : kSettings)
    for (std::int64_t head_dim : {2, 6, 64, 128})
      for (std::int64_t first : {0, 5, 1000}) {
        const std::int64_t tokens = 3, heads = 2, width = heads * head_dim;
        const std::vector<float> x = random_floats("x", tokens * width);
        std::vector<double> want = widened(x);
        rope_ref(settings, head_dim, first, tokens, heads, want.data());
        Guarded y(tokens, width);
        for (std::int64_t t = 0; t < tokens; ++t) std::copy_n(x.data() + t * width, width, y.rows.row(t));
        rope(rope_table(settings, head_dim, first + tokens), first, y.rows);
        EXPECT_TRUE(y.intact());
        // Table entry, product, sum: 3u of each of the two terms; |cos|, |sin| <= 1.
        for (std::int64_t t = 0; t < tokens; ++t)
          for (std::int64_t i = 0; i < width; ++i) {
            const std::int64_t pair = i % head_dim < head_dim / 2 ? i + head_dim / 2 : i - head_dim / 2;
            const double size = std::abs(x[static_cast<std::size_t>(t * width + i)]) +
                                std::abs(x[static_cast<std::size_t>(t * width + pair)]);
            ASSERT_NEAR(y.rows.row(t)[i], want[static_cast<std::size_t>(t * width + i)], 3 * kUnit * size);
          }
      }
}

TEST(Rope, ScalingsDoWhatTheySay) {
  const std::vector<double> plain = rope_frequencies(kSettings[0], 64),
                            linear = rope_frequencies(kSettings[1], 64);
  EXPECT_DOUBLE_EQ(plain[0], 1);
  EXPECT_DOUBLE_EQ(linear[0], 0.25);
  const std::vector<double> base = rope_frequencies({500000, Scaling::None}, 64);
  const std::vector<double> llama3 = rope_frequencies(kSettings[2], 64);
  EXPECT_DOUBLE_EQ(llama3.front(), base.front());    // short waves stay
  EXPECT_DOUBLE_EQ(llama3.back(), base.back() / 8);  // long waves stretch by the factor
  int between = 0;
  for (std::size_t i = 0; i < base.size(); ++i) between += llama3[i] < base[i] && llama3[i] > base[i] / 8;
  EXPECT_GT(between, 0);
}

TEST(Rope, RefusesPositionsBeyondTheTableAndBrokenHeads) {
  const RopeTable table = rope_table(kSettings[0], 8, 4);
  std::vector<float> x(24);
  rope(table, 3, {x.data(), 1, 24, 24});
  EXPECT_THROW(rope(table, 4, {x.data(), 1, 24, 24}), Error);
  EXPECT_THROW(rope(table, 2, {x.data(), 3, 8, 8}), Error);
  EXPECT_THROW(rope(table, 0, {x.data(), 1, 12, 12}), Error);
  EXPECT_THROW(rope_frequencies(kSettings[0], 7), Error);
}

}  // namespace
}  // namespace lacuna
