// The assignment against a Hungarian solver on the expanded matrix, and its time at the size of a 7B layer.
#include "recipes/common/assignment.h"

#include <gtest/gtest.h>

#include <time.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "src/base/error.h"
#include "src/base/rng.h"

namespace lacuna::test {
namespace {

// Least cost of assigning every row to a column of its own (rows <= cols), by the O(n³) algorithm with
// potentials. Written apart from the solver and from its graph.
double hungarian(const std::vector<std::vector<double>>& cost) {
  const std::size_t rows = cost.size(), cols = rows == 0 ? 0 : cost[0].size();
  std::vector<double> u(rows + 1, 0.0), v(cols + 1, 0.0);
  std::vector<std::size_t> row_of(cols + 1, 0), way(cols + 1, 0);
  for (std::size_t row = 1; row <= rows; ++row) {
    row_of[0] = row;
    std::size_t col = 0;
    std::vector<double> least(cols + 1, std::numeric_limits<double>::infinity());
    std::vector<bool> used(cols + 1, false);
    do {
      used[col] = true;
      const std::size_t at = row_of[col];
      double delta = std::numeric_limits<double>::infinity();
      std::size_t next = 0;
      for (std::size_t c = 1; c <= cols; ++c) {
        if (used[c]) continue;
        const double reduced = cost[at - 1][c - 1] - u[at] - v[c];
        if (reduced < least[c]) {
          least[c] = reduced;
          way[c] = col;
        }
        if (least[c] < delta) {
          delta = least[c];
          next = c;
        }
      }
      for (std::size_t c = 0; c <= cols; ++c) {
        if (used[c]) {
          u[row_of[c]] += delta;
          v[c] -= delta;
        } else {
          least[c] -= delta;
        }
      }
      col = next;
    } while (row_of[col] != 0);
    while (col != 0) {
      row_of[col] = row_of[way[col]];
      col = way[col];
    }
  }
  double total = 0;
  for (std::size_t c = 1; c <= cols; ++c)
    if (row_of[c] != 0) total += cost[row_of[c] - 1][c - 1];
  return total;
}

struct Instance {
  std::vector<double> cost;
  std::vector<std::int64_t> capacity;
  std::size_t items = 0;
};

Instance random_instance(std::uint64_t number) {
  const std::uint64_t key = rng_key(17, "assignment " + std::to_string(number));
  std::uint64_t draw = 0;
  const auto below = [&](std::uint64_t bound) { return rng_below(key, draw++, bound); };
  Instance out;
  out.items = below(40);
  const std::size_t sinks = 1 + below(8);
  out.capacity.assign(sinks, 0);
  const std::size_t room = out.items + below(4);
  for (std::size_t i = 0; i < room; ++i) ++out.capacity[below(sinks)];  // some are empty
  const std::uint64_t kind = below(4);
  for (std::size_t i = 0; i < out.items; ++i)
    for (std::size_t s = 0; s < sinks; ++s) {
      const double ties = static_cast<double>(below(5)) - 2, smooth = rng_normal(key, draw++);
      out.cost.push_back(kind == 0   ? ties                                   // many equal ones
                         : kind == 1 ? smooth                                 // any sign
                         : kind == 2 ? -100 * std::abs(smooth)                // all negative
                                     : smooth + 3 * static_cast<double>(s));  // all want the same
    }
  return out;
}

TEST(Assignment, IsAsCheapAsAHungarianOnAThousandRandomInstances) {
  int unequal = 0, slack = 0;
  for (std::uint64_t number = 0; number < 1000; ++number) {
    const Instance instance = random_instance(number);
    const std::size_t sinks = instance.capacity.size();
    std::int64_t room = 0;
    for (const std::int64_t c : instance.capacity) room += c;
    unequal += instance.capacity.front() != instance.capacity.back();
    slack += room > static_cast<std::int64_t>(instance.items);
    const std::vector<std::int32_t> got = assign(std::span<const double>(instance.cost), instance.capacity);
    ASSERT_EQ(got.size(), instance.items);
    std::vector<std::vector<double>> expanded(instance.items);
    std::vector<std::int64_t> used(sinks, 0);
    double cost = 0, largest = 1;
    for (std::size_t i = 0; i < instance.items; ++i) {
      const auto sink = static_cast<std::size_t>(got[i]);
      ASSERT_LT(sink, sinks);
      ++used[sink];
      cost += instance.cost[i * sinks + sink];
      for (std::size_t s = 0; s < sinks; ++s) {
        largest = std::max(largest, std::abs(instance.cost[i * sinks + s]));
        expanded[i].insert(expanded[i].end(), static_cast<std::size_t>(instance.capacity[s]),
                           instance.cost[i * sinks + s]);
      }
    }
    for (std::size_t s = 0; s < sinks; ++s) ASSERT_LE(used[s], instance.capacity[s]);
    // Rounding to 2^-40 of the largest cost moves each of the two totals by half of that an item.
    const double bound = largest * static_cast<double>(instance.items + 1) * std::ldexp(1.0, -38);
    ASSERT_NEAR(cost, hungarian(expanded), bound) << "instance " << number;
  }
  EXPECT_GT(unequal, 500);
  EXPECT_GT(slack, 300);
}

TEST(Assignment, EqualCostsGoToTheLowerSinkAndTheLowerItemMovesFirst) {
  const std::vector<double> equal(5 * 2, 3.0);
  const std::vector<std::int64_t> three_and_two = {3, 2};
  // All begin at sink 0; the two that have to move are the lowest items.
  EXPECT_EQ(assign(std::span<const double>(equal), three_and_two),
            (std::vector<std::int32_t>{1, 1, 0, 0, 0}));
}

TEST(Assignment, FindsAChainOfMoves) {
  // Item 0 wants sink 0, which item 1 holds; item 1 can only go on to sink 1, whose item goes to sink 2.
  const std::vector<double> cost = {0, 90, 90, 0, 1, 90, 90, 0, 1};
  const std::vector<std::int64_t> one_each = {1, 1, 1};
  EXPECT_EQ(assign(std::span<const double>(cost), one_each), (std::vector<std::int32_t>{0, 1, 2}));
}

TEST(Assignment, RefusesWhatCannotBe) {
  const std::vector<double> cost = {1, 2, 3, 4, 5, 6};
  const auto message = [&](const std::vector<double>& c, const std::vector<std::int64_t>& capacity) {
    try {
      assign(std::span<const double>(c), capacity);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("nothing");
  };
  EXPECT_NE(message(cost, {1, 1}).find("3 items, room for 2"), std::string::npos);
  EXPECT_NE(message(cost, {9, -1}).find("capacity of -1"), std::string::npos);
  EXPECT_NE(message(cost, {1, 1, 1, 9}).find("6 costs for 4 sinks"), std::string::npos);
  EXPECT_NE(message({1, std::nan("")}, {1, 1}).find("nan"), std::string::npos);
}

// Of this thread's processor time, which other programs on the machine do not lengthen much.
double milliseconds(std::span<const float> cost, const std::vector<std::int64_t>& capacity) {
  const auto now = [] {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) * 1e-6;
  };
  const double start = now();
  const std::vector<std::int32_t> got = assign(cost, capacity);
  const double end = now();
  EXPECT_EQ(got.size(), cost.size() / capacity.size());
  return end - start;
}

// The shape of a 7B layer in 16 experts; the best of three tries.
TEST(Assignment, TakesMillisecondsForALayerOfElevenThousandNeurons) {
  constexpr std::size_t kItems = 11'008, kSinks = 16;
  const std::vector<std::int64_t> capacity(kSinks, kItems / kSinks);
  const std::uint64_t key = rng_key(3, "costs");
  const auto run = [&](const std::string& name, auto&& cost_of) {
    std::vector<float> cost;
    cost.reserve(kItems * kSinks);
    for (std::size_t i = 0; i < kItems; ++i)
      for (std::size_t s = 0; s < kSinks; ++s)
        cost.push_back(static_cast<float>(cost_of(i, s, i * kSinks + s)));
    double best = 1e9;
    for (int attempt = 0; attempt < 3; ++attempt) best = std::min(best, milliseconds(cost, capacity));
    RecordProperty(name, std::to_string(best));
    EXPECT_LT(best, 50.0) << name;
  };
  run("normal", [&](std::size_t, std::size_t, std::size_t at) { return rng_normal(key, at); });
  run("whole_numbers_below_12",
      [&](std::size_t, std::size_t, std::size_t at) { return rng_below(key, at, 12); });
  run("all_want_the_same_sinks", [&](std::size_t, std::size_t s, std::size_t at) {
    return rng_normal(key, at) + 3.0 * static_cast<double>(s);
  });
  // Squared distances of points with sizes over orders of magnitude to a few of them: a step of a clustering.
  std::vector<double> point(kItems * 8);
  for (std::size_t i = 0; i < kItems; ++i) {
    const double size = std::exp(rng_normal(key, 7'000'000 + i));
    for (std::size_t d = 0; d < 8; ++d) point[i * 8 + d] = size * rng_normal(key, 8'000'000 + i * 8 + d);
  }
  run("squared_distances", [&](std::size_t i, std::size_t s, std::size_t) {
    double sum = 0;
    for (std::size_t d = 0; d < 8; ++d) sum += std::pow(point[i * 8 + d] - point[s * 688 * 8 + d], 2);
    return sum;
  });
}

}  // namespace
}  // namespace lacuna::test
