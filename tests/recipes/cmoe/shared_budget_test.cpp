// Shared parts spread over layers: the least total among all counts, and a model with as many active neurons.
#include "recipes/cmoe/shared_budget.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "src/base/error.h"
#include "src/base/rng.h"
#include "tests/recipes/cmoe/carved_runs.h"

namespace lacuna::test {
namespace {

using Loss = std::vector<std::vector<double>>;

double cost_of(const Loss& loss, const std::vector<std::int64_t>& parts) {
  double sum = 0;
  for (std::size_t layer = 0; layer < loss.size(); ++layer)
    sum += loss[layer][static_cast<std::size_t>(parts[layer])];
  return sum;
}

// Every count of every layer, in turn.
double least_of_all(const Loss& loss, std::int64_t total) {
  std::vector<std::int64_t> parts(loss.size(), 0);
  double least = std::numeric_limits<double>::infinity();
  for (bool more = true; more;) {
    if (std::accumulate(parts.begin(), parts.end(), std::int64_t{0}) == total)
      least = std::min(least, cost_of(loss, parts));
    more = false;
    for (std::size_t layer = 0; layer < loss.size() && !more; ++layer) {
      more = ++parts[layer] < std::ssize(loss[layer]);
      if (!more) parts[layer] = 0;
    }
  }
  return least;
}

TEST(SpreadShared, IsTheLeastOfAllCounts) {
  const std::uint64_t key = rng_key(3, "losses");
  std::uint64_t at = 0;
  for (int instance = 0; instance < 200; ++instance) {
    Loss loss(1 + rng_below(key, at++, 5));
    for (std::vector<double>& layer : loss) {
      layer.resize(1 + rng_below(key, at++, 5));
      for (double& value : layer) {
        value = static_cast<double>(rng_below(key, at++, 12));  // whole numbers: exact sums, many equal ones
        if (rng_below(key, at++, 8) == 0 && &value != &layer.back())
          value = std::numeric_limits<double>::infinity();
      }
    }
    std::int64_t most = 0;
    for (const std::vector<double>& layer : loss) most += std::ssize(layer) - 1;
    for (std::int64_t total = 0; total <= most; ++total) {
      const double least = least_of_all(loss, total);
      if (std::isinf(least)) {
        EXPECT_THROW(spread_shared(loss, total), Error);
        continue;
      }
      const std::vector<std::int64_t> parts = spread_shared(loss, total);
      EXPECT_EQ(std::accumulate(parts.begin(), parts.end(), std::int64_t{0}), total);
      EXPECT_EQ(cost_of(loss, parts), least);
    }
  }
  EXPECT_EQ(spread_shared({{1, 1, 1}, {1, 1, 1}, {1, 1, 1}}, 3), (std::vector<std::int64_t>{2, 1, 0}));
}

TEST(SpreadShared, KeepsTheNumberOfActiveNeurons) {
  const Outcome equal = carve(small_options(1, 1, 1), small_carving({{"cmoe.spread-shared", "equal"}})),
                spread = carve(small_options(1, 1, 1), small_carving());
  ASSERT_EQ(equal.routed.shared.size(), 1u);
  EXPECT_NEAR(spread.all_on, spread.parent, 1e-13 * spread.parent);
  ASSERT_EQ(spread.routed.shared.size(), 3u);
  EXPECT_EQ(std::accumulate(spread.routed.shared.begin(), spread.routed.shared.end(), std::int64_t{0}),
            3 * equal.routed.shared[0]);
  EXPECT_EQ(spread.routed.experts, equal.routed.experts);
  EXPECT_EQ(spread.routed.active, equal.routed.active);
}

TEST(SharedLoss, IsWhatIsNotSharedAndHasRoomForGuardedNeurons) {
  constexpr double kNone = std::numeric_limits<double>::infinity();
  const at::Tensor scores = at::tensor({4.0, 16.0, 1.0, 8.0, 2.0}, at::kDouble);
  using Losses = std::vector<double>;
  EXPECT_EQ(shared_loss(scores, {0, 1, 3, 5}, 0, 2), (Losses{31, 15, 3, 0}));
  EXPECT_EQ(shared_loss(scores, {0, 1, 3, 5}, 2, 3), (Losses{kNone, kNone, 3, 0}));
  // More of them than there is room for, where all layers are alike: that much every layer may have.
  EXPECT_EQ(shared_loss(scores, {0, 1, 3, 5}, 4, 1), (Losses{kNone, 15, 3, 0}));
  EXPECT_EQ(shared_loss(scores, {0, 1, 3, 5}, 4, 0), (Losses{31, 15, 3, 0}));
}

TEST(SpreadShared, NothingSharedStaysNothing) {
  const Outcome none = carve(small_options(1, 1, 1), small_carving({{"cmoe.shared", "0"}}));
  EXPECT_EQ(none.routed.shared, (std::vector<std::int64_t>{0, 0, 0}));
  EXPECT_NEAR(none.all_on, none.parent, 1e-13 * none.parent);
}

}  // namespace
}  // namespace lacuna::test
