// rmsnorm, glu and softmax against double, at every instruction set.
#include "kernels/glu.h"
#include "kernels/norm.h"
#include "kernels/softmax.h"
#include "kernels/unpack.h"
#include "src/base/error.h"
#include "tests/kernels/kernel_data.h"

namespace lacuna {
namespace {

using namespace test;

const std::int64_t kWidths[] = {1, 2, 15, 16, 17, 31, 97, 384, 1153};

TEST(RmsNorm, AgreesWithDouble) {
  for (std::int64_t width : kWidths) {
    const std::int64_t rows = 3;
    const std::vector<float> x = random_floats("x", rows * width), weight = random_floats("w", width);
    std::vector<double> want(static_cast<std::size_t>(rows * width));
    rmsnorm_ref(widened(x).data(), rows, width, widened(weight).data(), 1e-5, want.data());
    Guarded first(rows, width);
    rmsnorm(rows_of(x, rows, width), weight.data(), 1e-5, first.rows, Isa::Scalar);
    EXPECT_TRUE(first.intact());
    // Half the relative error of the sum of squares, then mean, eps, root, quotient, two products.
    const double bound = (0.5 * (std::ceil(static_cast<double>(width) / 16) + 4) + 6) * kUnit;
    for (std::int64_t t = 0; t < rows; ++t)
      for (std::int64_t i = 0; i < width; ++i) {
        const double value = want[static_cast<std::size_t>(t * width + i)];
        ASSERT_NEAR(first.rows.row(t)[i], value, bound * std::abs(value)) << width;
      }
    for (Isa isa : supported_isas()) {
      Guarded y(rows, width);
      rmsnorm(rows_of(x, rows, width), weight.data(), 1e-5, y.rows, isa);
      EXPECT_TRUE(y == first) << name_of(isa) << " " << width;
    }
  }
}

TEST(RmsNorm, WorksInPlaceAndOnNothing) {
  const std::vector<float> weight = random_floats("w", 33);
  std::vector<float> x = random_floats("x", 66);
  Guarded apart(2, 33);
  rmsnorm(rows_of(x, 2, 33), weight.data(), 1e-6, apart.rows);
  rmsnorm(rows_of(x, 2, 33), weight.data(), 1e-6, {x.data(), 2, 33, 33});
  for (int t = 0; t < 2; ++t)
    EXPECT_EQ(0, std::memcmp(x.data() + t * 33, apart.rows.row(t), 33 * sizeof(float)));
  rmsnorm({nullptr, 0, 0, 0}, nullptr, 1e-6, {nullptr, 0, 0, 0});
  EXPECT_THROW(rmsnorm(rows_of(x, 2, 32), weight.data(), 1e-6, apart.rows), Error);
}

TEST(Glu, AgreesWithDouble) {
  for (Gating gating : {Gating::Silu, Gating::Relu, Gating::Drelu})
    for (std::int64_t width : kWidths) {
      std::vector<float> gate = random_floats("g", 2 * width), up = random_floats("u", 2 * width);
      for (std::size_t i = 0; i < gate.size(); i += 5) gate[i] *= 60;  // the far tails too
      for (const std::vector<ActiveRun>& runs : {whole(width), ragged(width)}) {
        Guarded first(2, width);
        const std::int64_t zeros =
            glu(gating, runs, rows_of(gate, 2, width), rows_of(up, 2, width), first.rows, Isa::Scalar);
        EXPECT_TRUE(first.intact());
        std::int64_t counted = 0;
        for (std::int64_t t = 0; t < 2; ++t)
          for (const ActiveRun& run : runs)
            for (std::int64_t i = run.start; i < run.start + run.length; ++i) {
              const auto at = static_cast<std::size_t>(t * width + i);
              const double want = glu_ref(gating, gate[at], up[at]);
              // exp within 3u, sum, quotient, product; beyond 87 the denominator stays at e^87.
              ASSERT_NEAR(first.rows.row(t)[i], want,
                          7 * kUnit * std::abs(want) + 1.7e-38 * std::abs(gate[at] * up[at]))
                  << gate[at] << " " << up[at];
              counted += first.rows.row(t)[i] == 0;
            }
        EXPECT_EQ(zeros, counted);
        for (Isa isa : supported_isas()) {
          Guarded y(2, width);
          EXPECT_EQ(zeros, glu(gating, runs, rows_of(gate, 2, width), rows_of(up, 2, width), y.rows, isa));
          EXPECT_TRUE(y == first) << name_of(isa);
        }
      }
    }
}

TEST(Glu, ZerosAndNaN) {
  const float nan = std::nanf("");
  const std::vector<float> gate = {-1, 0, -0.0f, nan, 2, 2, 2, -1}, up = {5, 5, 5, 5, -3, nan, 0, -7};
  for (Isa isa : supported_isas()) {
    Guarded relu(1, 8), drelu(1, 8);
    EXPECT_EQ(5, glu(Gating::Relu, whole(8), rows_of(gate, 1, 8), rows_of(up, 1, 8), relu.rows, isa));
    EXPECT_EQ(6, glu(Gating::Drelu, whole(8), rows_of(gate, 1, 8), rows_of(up, 1, 8), drelu.rows, isa));
    EXPECT_EQ(-6, relu.rows.data[4]);
    EXPECT_EQ(0, drelu.rows.data[4]);
    for (int i : {3, 5}) EXPECT_TRUE(std::isnan(relu.rows.data[i]) && std::isnan(drelu.rows.data[i])) << i;
  }
}

TEST(UnpackRow, WidensEveryTypeExactlyAndRoundsF64) {
  for (DType dtype : {DType::F32, DType::BF16, DType::F16, DType::F64})
    for (std::int64_t width : kWidths) {
      const Weights w(dtype, 3, width, 2, "w");
      for (Isa isa : supported_isas()) {
        Guarded y(1, width);
        unpack_row(w.view, 2, y.rows.data, isa);
        EXPECT_TRUE(y.intact());
        for (std::int64_t i = 0; i < width; ++i) ASSERT_EQ(y.rows.data[i], static_cast<float>(w.at(2, i)));
      }
    }
  const Weights w(DType::F32, 3, 4, 0, "w");
  float out[4];
  EXPECT_THROW(unpack_row(w.view, 3, out), Error);
}

TEST(Softmax, AgreesWithDouble) {
  for (std::int64_t width : kWidths)
    for (float spread : {1.0f, 40.0f}) {
      std::vector<float> scores = random_floats("s", width);
      for (float& score : scores) score *= spread;
      const float scale = 0.125f;
      std::vector<double> want = widened(scores);
      double range = 0;
      for (double a : want) range = std::max(range, *std::max_element(want.begin(), want.end()) - a);
      softmax_ref(want.data(), width, scale);
      std::vector<float> first = scores;
      softmax(first.data(), width, scale, Isa::Scalar);
      // Difference and scaling move the exponent by 2u of its size, exp 3u, the sum and the quotient the
      // rest.
      const double bound =
          (2 * (2 * scale * range + 3) + std::ceil(static_cast<double>(width) / 16) + 4 + 2) * kUnit;
      for (std::int64_t i = 0; i < width; ++i)
        ASSERT_NEAR(first[static_cast<std::size_t>(i)], want[static_cast<std::size_t>(i)],
                    bound * want[static_cast<std::size_t>(i)] + 2e-38);
      for (Isa isa : supported_isas()) {
        std::vector<float> y = scores;
        y.push_back(kSentinel);
        softmax(y.data(), width, scale, isa);
        EXPECT_EQ(0, std::memcmp(y.data(), first.data(), first.size() * sizeof(float))) << name_of(isa);
        EXPECT_EQ(kSentinel, y.back());
      }
    }
  softmax(nullptr, 0, 1.0f);
}

}  // namespace
}  // namespace lacuna
