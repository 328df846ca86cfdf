#include "kernels/attention.h"

#include <cmath>

#include "src/base/error.h"
#include "tests/kernels/kernel_data.h"

namespace lacuna {
namespace {

using namespace test;

struct Case {
  std::int64_t queries, first_position, head_dim, window;
};
const Case kCases[] = {{1, 0, 2, 0},   {1, 40, 64, 0}, {7, 0, 6, 0},   {33, 0, 16, 0},
                       {5, 60, 20, 0}, {40, 3, 8, 10}, {70, 5, 64, 0}, {1, 100, 128, 17}};

struct Inputs {
  explicit Inputs(const Case& c)
      : query(random_floats("q", c.queries * c.head_dim)),
        keys(random_floats("k", (c.first_position + c.queries) * c.head_dim)),
        values(random_floats("v", (c.first_position + c.queries) * c.head_dim)) {}
  std::vector<float> query, keys, values;
};

AttentionHead task(const Case& c, const Inputs& in, Rows context) {
  return {rows_of(in.query, c.queries, c.head_dim),
          c.first_position,
          in.keys.data(),
          in.values.data(),
          c.window,
          1 / std::sqrt(static_cast<float>(c.head_dim)),
          context};
}

TEST(AttentionHead, AgreesWithDoubleAndAcrossInstructionSets) {
  for (const Case& c : kCases) {
    const Inputs in(c);
    const float scale = 1 / std::sqrt(static_cast<float>(c.head_dim));
    std::vector<double> want(static_cast<std::size_t>(c.queries * c.head_dim));
    attention_head_ref(widened(in.query).data(), c.queries, c.head_dim, c.first_position,
                       widened(in.keys).data(), widened(in.values).data(), c.window, scale, want.data());
    // Scores differ by (d/16 + 4)u of sum|q||k|·scale, which moves each weight by twice that relatively;
    // then softmax (range of scores, exp, sum, quotient) and one product and sum per key. Sizes: the maxima.
    double q = 0, k = 0, v = 0;
    for (float x : in.query) q = std::max(q, std::abs(double{x}));
    for (float x : in.keys) k = std::max(k, std::abs(double{x}));
    for (float x : in.values) v = std::max(v, std::abs(double{x}));
    const double d = static_cast<double>(c.head_dim),
                 keys = static_cast<double>(c.first_position + c.queries);
    const double score = d * q * k * scale;
    const double relative = 2 * (d / 16 + 5) * score + 2 * (4 * score + 3) + keys / 16 + 7 + keys;
    Scratch one, two;
    Guarded first(c.queries, c.head_dim);
    attention_head(task(c, in, first.rows), one, two, Isa::Scalar);
    EXPECT_TRUE(first.intact());
    for (std::int64_t t = 0; t < c.queries; ++t)
      for (std::int64_t i = 0; i < c.head_dim; ++i)
        ASSERT_NEAR(first.rows.row(t)[i], want[static_cast<std::size_t>(t * c.head_dim + i)],
                    relative * kUnit * v);
    for (Isa isa : supported_isas()) {
      Guarded y(c.queries, c.head_dim);
      attention_head(task(c, in, y.rows), one, two, isa);
      EXPECT_TRUE(y == first) << name_of(isa);
    }
  }
}

TEST(AttentionHead, BitsDoNotDependOnTheOtherQueries) {
  for (std::int64_t window : {0, 9}) {
    const Case c{50, 4, 24, window};
    const Inputs in(c);
    Scratch one, two;
    Guarded together(c.queries, c.head_dim), apart(c.queries, c.head_dim);
    attention_head(task(c, in, together.rows), one, two);
    for (std::int64_t t = 0; t < c.queries; ++t) {
      AttentionHead single = task(c, in, {apart.rows.row(t), 1, c.head_dim, c.head_dim});
      single.query = {in.query.data() + t * c.head_dim, 1, c.head_dim, c.head_dim};
      single.first_position = c.first_position + t;
      attention_head(single, one, two);
    }
    EXPECT_TRUE(together == apart) << window;
  }
}

TEST(AttentionHead, DoesNotSeeTheFutureNorBeyondTheWindow) {
  const Case c{6, 20, 16, 8};
  Inputs in(c);
  Scratch one, two;
  Guarded before(1, 16), after(1, 16);
  AttentionHead single = task(c, in, before.rows);
  single.query.count = 1;
  attention_head(single, one, two);
  for (std::int64_t position = 0; position < 26; ++position)
    if (position <= 20 - 8 || position > 20)
      for (std::int64_t i = 0; i < 16; ++i)
        in.keys[static_cast<std::size_t>(position * 16 + i)] =
            in.values[static_cast<std::size_t>(position * 16 + i)] = std::nanf("");
  single.context = after.rows;
  attention_head(single, one, two);
  EXPECT_TRUE(before == after);
  single.context = {after.rows.data, 1, 15, 15};
  EXPECT_THROW(attention_head(single, one, two), Error);
}

}  // namespace
}  // namespace lacuna
