// AdamW against its formula in double, schedules at their corners, clipping.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "optim/adamw.h"
#include "optim/lr_schedule.h"
#include "src/base/error.h"
#include "src/base/rng.h"

namespace lacuna {
namespace {

// arXiv 1711.05101, algorithm 2, one element, straight from the text.
double reference(double w, const std::vector<double>& grads, double lr, double decay, double scale,
                 const AdamWOptions& o) {
  double m = 0, v = 0;
  for (std::size_t t = 1; t <= grads.size(); ++t) {
    const double g = grads[t - 1] * scale;
    m = o.beta1 * m + (1 - o.beta1) * g;
    v = o.beta2 * v + (1 - o.beta2) * g * g;
    const double m_hat = m / (1 - std::pow(o.beta1, static_cast<double>(t)));
    const double v_hat = v / (1 - std::pow(o.beta2, static_cast<double>(t)));
    w = w - lr * decay * w - lr * m_hat / (std::sqrt(v_hat) + o.eps);
  }
  return w;
}

template <class T>
void compare(double relative) {
  const AdamWOptions options{0.9, 0.95, 1e-8, 0.1};
  constexpr std::size_t kCount = 37;
  std::vector<T> w(kCount), m(kCount, 0), v(kCount, 0), g(kCount);
  std::vector<std::vector<double>> history(kCount);
  std::vector<double> start(kCount);
  for (std::size_t i = 0; i < kCount; ++i)
    start[i] = static_cast<double>(w[i] = static_cast<T>(rng_normal(1, i)));
  for (std::int64_t step = 1; step <= 7; ++step) {
    for (std::size_t i = 0; i < kCount; ++i) {
      g[i] = static_cast<T>(rng_normal(2, static_cast<std::uint64_t>(step) * 100 + i));
      history[i].push_back(static_cast<double>(g[i]));
    }
    adamw(w.data(), g.data(), m.data(), v.data(), kCount, 1e-2, 0.1, 0.5, step, options);
  }
  // Seven steps of about ten roundings each on values of order one.
  for (std::size_t i = 0; i < kCount; ++i)
    EXPECT_NEAR(static_cast<double>(w[i]), reference(start[i], history[i], 1e-2, 0.1, 0.5, options),
                70 * relative * (std::fabs(start[i]) + 0.1));
}

TEST(AdamW, FollowsTheFormulaInDouble) {
  compare<double>(2.3e-16);
}
TEST(AdamW, FollowsTheFormulaInFloat) {
  compare<float>(1.2e-7);
}

TEST(AdamW, CuttingABufferChangesNoBit) {
  const AdamWOptions options;
  std::vector<float> whole(101), m(101, 0.1f), v(101, 0.2f), g(101);
  for (std::size_t i = 0; i < g.size(); ++i) whole[i] = g[i] = static_cast<float>(rng_normal(3, i));
  auto cut = whole;
  auto m2 = m, v2 = v;
  adamw(whole.data(), g.data(), m.data(), v.data(), 101, 1e-3, 0.1, 1.0, 3, options);
  adamw(cut.data(), g.data(), m2.data(), v2.data(), 29, 1e-3, 0.1, 1.0, 3, options);
  adamw(cut.data() + 29, g.data() + 29, m2.data() + 29, v2.data() + 29, 72, 1e-3, 0.1, 1.0, 3, options);
  EXPECT_EQ(cut, whole);
}

TEST(LrSchedule, WarmsUpLinearlyThenFollowsItsKind) {
  LrSchedule s{"cosine", 1.0, 0.1, 10, 0, 110};
  EXPECT_DOUBLE_EQ(s.at(0), 0.1);
  EXPECT_DOUBLE_EQ(s.at(9), 1.0);
  EXPECT_DOUBLE_EQ(s.at(10), 1.0);
  EXPECT_NEAR(s.at(109), 0.1, 1e-15);
  s.kind = "linear";
  EXPECT_NEAR(s.at(10 + 49), 1 - 0.9 * 49 / 99, 1e-15);
  EXPECT_NEAR(s.at(109), 0.1, 1e-15);
  s.kind = "constant";
  EXPECT_DOUBLE_EQ(s.at(109), 1.0);
  s = {"wsd", 1.0, 0.0, 10, 20, 100};
  EXPECT_DOUBLE_EQ(s.at(79), 1.0);
  EXPECT_NEAR(s.at(89), 0.5, 1e-15);
  EXPECT_NEAR(s.at(99), 0.0, 1e-15);
  s.kind = "square";
  EXPECT_THROW(s.at(50), Error);
}

TEST(LrSchedule, OneStepAndLongWarmUpStayFinite) {
  for (const char* kind : {"constant", "cosine", "linear", "wsd"})
    for (std::int64_t warmup : {0, 1, 5})
      for (std::int64_t step = 0; step < 3; ++step) {
        const double rate = LrSchedule{kind, 2.0, 0.1, warmup, 0, 1}.at(step);
        EXPECT_TRUE(std::isfinite(rate) && rate > 0 && rate <= 2.0) << kind << " " << warmup << " " << step;
      }
}

}  // namespace
}  // namespace lacuna
