// The parts below the protocol: runs of rectangles, conversion, the exchange between ranks.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "parallel/run/local_communicator.h"
#include "src/base/convert_elements.h"
#include "src/base/rng.h"
#include "src/checkpoint/rectangle.h"
#include "src/checkpoint/step_folders.h"
#include "src/checkpoint/together.h"
#include "tests/checkpoint/sample.h"

namespace lacuna::test {
namespace {

TEST(Rectangle, RunsVisitEveryElementOnceInOrder) {
  const std::uint64_t key = rng_key(1, "runs");
  std::uint64_t draws = 0;
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::int64_t> shape(1 + rng_below(key, draws++, 4));
    Slab slab;
    for (auto& extent : shape) {
      extent = 1 + static_cast<std::int64_t>(rng_below(key, draws++, 5));
      slab.offset.push_back(
          static_cast<std::int64_t>(rng_below(key, draws++, static_cast<std::uint64_t>(extent))));
      const auto left = static_cast<std::uint64_t>(extent - slab.offset.back());
      const bool rest = rng_below(key, draws++, 2) == 0;
      slab.extent.push_back(rest ? static_cast<std::int64_t>(left)
                                 : 1 + static_cast<std::int64_t>(rng_below(key, draws++, left)));
    }
    std::vector<std::int64_t> want, got;
    std::int64_t total = 1;
    for (std::int64_t extent : shape) total *= extent;
    for (std::int64_t i = 0; i < total; ++i) {
      bool in = true;
      std::int64_t rest = i;
      for (std::size_t d = shape.size(); d-- > 0; rest /= shape[d]) {
        const std::int64_t at = rest % shape[d];
        in = in && at >= slab.offset[d] && at < slab.offset[d] + slab.extent[d];
      }
      if (in) want.push_back(i);
    }
    for_each_run(shape, slab, [&](std::int64_t first, std::int64_t count, std::int64_t local) {
      ASSERT_EQ(local, static_cast<std::int64_t>(got.size()));
      for (std::int64_t i = 0; i < count; ++i) got.push_back(first + i);
    });
    ASSERT_EQ(got, want);
  }
}

TEST(Rectangle, IntersectionAndPlace) {
  EXPECT_EQ(intersect({{0, 4}, {3, 4}}, {{2, 0}, {5, 5}}), (Slab{{2, 4}, {1, 1}}));
  EXPECT_FALSE(intersect({{0}, {3}}, {{3}, {1}}));
  EXPECT_TRUE(lies_inside({{2}, {3}}, {5}));
  EXPECT_FALSE(lies_inside({{3}, {3}}, {5}));
  EXPECT_FALSE(lies_inside({{-1}, {3}}, {5}));
  EXPECT_FALSE(lies_inside({{INT64_MAX}, {INT64_MAX}}, {5}));
  EXPECT_FALSE(lies_inside({{0}, {0}}, {5}));
  EXPECT_FALSE(lies_inside({{0, 0}, {1, 1}}, {5}));
}

// The 16-bit value nearest to `value`, ties to even, by looking at all of them.
std::uint16_t nearest_by_search(double value, float (*widen)(std::uint16_t)) {
  std::uint16_t best = 0;
  double distance = INFINITY;
  for (std::uint32_t bits = 0; bits < 0x8000; ++bits) {
    const double candidate = widen(static_cast<std::uint16_t>(bits));
    if (!std::isfinite(candidate)) break;
    const double d = std::fabs(candidate - std::fabs(value));
    if (d < distance || (d == distance && bits % 2 == 0)) {
      best = static_cast<std::uint16_t>(bits);
      distance = d;
    }
  }
  return static_cast<std::uint16_t>(best | (std::signbit(value) ? 0x8000 : 0));
}

TEST(Convert, DoubleToSixteenBitsRoundsOnce) {
  const std::uint64_t key = rng_key(2, "convert");
  for (std::uint64_t i = 0; i < 300; ++i) {
    double value = rng_normal(key, i) * std::pow(2.0, static_cast<double>(rng_below(key, i + 1000, 20)) - 12);
    if (i % 3 == 0) {  // just above a tie: rounding to float first would make it a tie
      const float on_grid = from_bf16(to_bf16(static_cast<float>(value)));
      value = on_grid * (1 + 0x1.0p-8 + (i % 2 ? 0x1.0p-40 : -0x1.0p-40));
    }
    std::uint16_t bf16 = 0, f16 = 0;
    convert_elements(&value, DType::F64, &bf16, DType::BF16, 1);
    convert_elements(&value, DType::F64, &f16, DType::F16, 1);
    EXPECT_EQ(bf16, nearest_by_search(value, from_bf16)) << value;
    EXPECT_EQ(f16, nearest_by_search(value, from_f16)) << value;
  }
}

TEST(Convert, SpecialValuesAndEverySixteenBitPattern) {
  const double specials[] = {0.0, -0.0, INFINITY, -INFINITY, 1e308, -1e308, 1e-320, -1e-320, NAN};
  const std::uint16_t want[] = {0, 0x8000, 0x7f80, 0xff80, 0x7f80, 0xff80, 0, 0x8000};
  std::uint16_t got[9];
  convert_elements(specials, DType::F64, got, DType::BF16, 9);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(got[i], want[i]) << specials[i];
  EXPECT_TRUE(std::isnan(from_bf16(got[8])));
  for (DType dtype : {DType::BF16, DType::F16})
    for (DType wide : {DType::F32, DType::F64})
      for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
        const auto in = static_cast<std::uint16_t>(bits);
        std::uint16_t back = 0;
        std::uint64_t room = 0;
        convert_elements(&in, dtype, &room, wide, 1);
        convert_elements(&room, wide, &back, dtype, 1);
        const double value = load_as_double(&in, dtype, 0);
        if (!std::isnan(value))
          ASSERT_EQ(back, in);
        else
          ASSERT_TRUE(std::isnan(load_as_double(&back, dtype, 0)));
      }
  const std::int32_t whole_number = 5;
  std::int32_t copy = 0;
  convert_elements(&whole_number, DType::I32, &copy, DType::I32, 1);
  EXPECT_EQ(copy, 5);
  float room = 0;
  error_of(ErrorKind::BadInput, [&] { convert_elements(&whole_number, DType::I32, &room, DType::F32, 1); });
}

TEST(Together, EveryRankGetsAllTextsOrTheSameError) {
  run_local(4, [](Communicator& world, int rank) {
    const std::vector<std::string> texts =
        together(world, "trying", [&] { return std::string(static_cast<std::size_t>(rank), 'x'); });
    ASSERT_EQ(texts.size(), 4u);
    for (std::size_t r = 0; r < 4; ++r) EXPECT_EQ(texts[r], std::string(r, 'x'));
    EXPECT_EQ(rank0_alone(world, "trying", [&] { return "from " + std::to_string(rank); }), "from 0");
    EXPECT_EQ(error_of(ErrorKind::Storage,
                       [&] {
                         together(world, "trying", [&]() -> std::string {
                           if (rank >= 2) fail(ErrorKind::Storage, "no room on {}", rank);
                           return "";
                         });
                       }),
              "rank 2: no room on 2 (while trying)");
    error_of(ErrorKind::NoFit, [&] {
      together(world, "trying", [&]() -> std::string {
        if (rank == 1) throw std::bad_alloc();
        return "";
      });
    });
    error_of(ErrorKind::Internal, [&] {
      rank0_alone(world, "trying", [&]() -> std::string { throw std::runtime_error("odd"); });
    });
  });
}

TEST(StepFolders, OneNamePerStep) {
  EXPECT_EQ(step_folder_name(1200), "step-000001200");
  EXPECT_EQ(step_of_folder_name("step-000001200"), 1200);
  EXPECT_EQ(step_of_folder_name("step-1234567890"), 1234567890);
  for (const char* bad : {"step-1200", "step-0000001200", "step-00000120x", "step-", "step-000001200.tmp-1",
                          "xstep-000001200", "step-99999999999999999999"})
    EXPECT_FALSE(step_of_folder_name(bad)) << bad;
}

}  // namespace
}  // namespace lacuna::test
