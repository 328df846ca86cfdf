#include "kernels/cuda/decode_linear.h"

#include "kernels/cuda/decode_random.h"
#include "kernels/cuda/decode_rows.h"
#include "tests/kernels/cuda/decode_data.h"

namespace lacuna::cuda::test {
namespace {

constexpr float kEps = 1e-5f;

struct Case {
  std::int64_t rows, cols;
  int blocks;
};
constexpr Case kCases[] = {{1, 8, 132},      {53, 48, 132},  {70, 71, 3},
                           {2113, 300, 132}, {133, 4096, 8}, {40, 14336, 132}};

TEST(DecodeLinear, IsWithinItsBoundForEveryShapePrologueAndEpilogue) {
  for (DType dtype : kWeightTypes)
    for (const Case& at : kCases)
      for (int variant = 0; variant < 4; ++variant) {
        const bool with_norm = variant & 1, adds = variant & 2;
        const TestMatrix w(dtype, "weight", at.rows, at.cols, variant);
        const Values x = normals(DType::F32, "x", at.cols), gain = normals(DType::F32, "gain", at.cols),
                     bias = normals(DType::F32, "bias", at.rows),
                     before = normals(DType::F32, "before", at.rows);
        const DeviceArray device_x(DType::F32, padded(x)), device_gain(DType::F32, padded(gain)),
            device_bias(DType::F32, bias);
        DeviceArray y(DType::F32, at.rows);
        if (adds) y.set(before);
        DecodeLinear call;
        call.weight = w.view;
        call.x = device_x.as<float>();
        if (with_norm) call.norm = {device_gain.as<float>(), kEps};
        if (!adds) call.bias = device_bias.as<float>();
        call.y = y.as<float>();
        call.add = adds;
        decode_linear(call, launch_of(at.blocks, variant == 1));
        finish();
        const Values input = with_norm ? normed(x, gain, kEps) : x;
        const Values got = y.get();
        for (std::int64_t r = 0; r < at.rows; ++r) {
          const auto i = static_cast<std::size_t>(r);
          const Dot want = dot(w.row(r), input);
          const double other = adds ? before[i] : bias[i];
          const double bound = want.bound + 2 * kUnit * (std::abs(want.value) + std::abs(other));
          ASSERT_LE(std::abs(got[i] - want.value - other), bound)
              << label(dtype, at.rows, at.cols) << " row " << r;
        }
        EXPECT_TRUE(y.intact());
      }
}

TEST(DecodeLinear, FindsTheBestRowTheLowestAmongEquals) {
  for (DType dtype : kWeightTypes) {
    TestMatrix w(dtype, "weight", 3000, 64);
    const Values x = normals(DType::F32, "x", 64);
    for (std::int64_t c = 0; c < 64; ++c)  // rows 1234 and 2999 are x itself, larger than all others
      for (std::int64_t r : {1234, 2999})
        w.values[static_cast<std::size_t>(r * 64 + c)] = rounded(dtype, x[static_cast<std::size_t>(c)]);
    w.upload();
    const DeviceArray device_x(DType::F32, x);
    DeviceArray y(DType::F32, 3000);
    const auto best_of = [&] {
      const DeviceList<std::uint64_t> best({0});
      DecodeLinear call;
      call.weight = w.view;
      call.x = device_x.as<float>();
      call.y = y.as<float>();
      call.best = best.data();
      decode_linear(call, launch_of(132, false));
      finish();
      return best.get()[0];
    };
    EXPECT_EQ(row_of_best(best_of()), 1234);
    EXPECT_TRUE(best_is_finite(best_of()));
    for (double& v : w.values) v = -std::abs(v);  // all negative sums for a positive x
    const Values ones(64, 1.0);
    const_cast<DeviceArray&>(device_x).set(ones);
    w.upload();
    const std::uint64_t negative = best_of();
    const Values got = y.get();
    EXPECT_EQ(row_of_best(negative), std::max_element(got.begin(), got.end()) - got.begin());
    EXPECT_TRUE(best_is_finite(negative));
    w.values[64 * 7] = std::nan("");
    w.upload();
    EXPECT_FALSE(best_is_finite(best_of()));
  }
}

TEST(DecodeRows, EmbedsNormsGatesAndReads) {
  for (DType dtype : kWeightTypes) {
    const TestMatrix table(dtype, "table", 40, 70);
    const DeviceList<std::int32_t> tokens({39, 0, 17});
    const DeviceList<std::uint64_t> best({77});
    DeviceArray hidden(DType::F32, 3 * 72);
    decode_embed(table.view, tokens.data(), 3, hidden.as<float>(), 72, best.data(), launch_of(132, false));
    finish();
    EXPECT_EQ(best.get()[0], 0u);
    const Values got = hidden.get();
    for (std::size_t t = 0; t < 3; ++t)
      for (std::size_t c = 0; c < 70; ++c) ASSERT_EQ(got[t * 72 + c], table.row(tokens.get()[t])[c]);
    EXPECT_TRUE(std::isnan(got[70]));

    const Values x = normals(DType::F32, "x", 3 * 72), gain = normals(DType::F32, "gain", 70);
    const DeviceArray device_x(DType::F32, x), device_gain(DType::F32, gain);
    DeviceArray y(dtype, 3 * 72);
    prefill_norm(device_x.as<float>(), 72, {device_gain.as<float>(), kEps}, {y.data(), dtype, 3, 70, 72},
                 launch_of(132, false));
    finish();
    const Values normal = y.get();
    for (std::size_t t = 0; t < 3; ++t) {
      const Values want = normed({x.begin() + static_cast<std::ptrdiff_t>(t * 72),
                                  x.begin() + static_cast<std::ptrdiff_t>(t * 72 + 70)},
                                 gain, kEps);
      for (std::size_t c = 0; c < 70;
           ++c)  // sums of 70 squares in chains of one and a tree, then four roundings
        ASSERT_LE(std::abs(normal[t * 72 + c] - want[c]),
                  (20 * kUnit + stored_unit(dtype)) * std::abs(want[c]));
    }

    const Values gate = normals(DType::F32, "gate", 3 * 72), up = normals(DType::F32, "up", 3 * 72);
    const DeviceArray device_gate(DType::F32, gate), device_up(DType::F32, up);
    for (Gating gating : {Gating::Silu, Gating::Relu, Gating::Drelu}) {
      DeviceArray product(dtype, 3 * 72);
      const DeviceList<DecodeCounts> counts({{1, 2, 3}});
      prefill_gated(gating, device_gate.as<float>(), device_up.as<float>(), 72, {},
                    {product.data(), dtype, 3, 70, 72}, counts.data(), launch_of(132, false));
      finish();
      const Values results = product.get();
      unsigned long long zeros = 3;
      for (std::size_t t = 0; t < 3; ++t)
        for (std::size_t c = 0; c < 70; ++c) {
          const double want = glu_ref(gating, gate[t * 72 + c], up[t * 72 + c]);
          zeros += want == 0;
          ASSERT_LE(std::abs(results[t * 72 + c] - want), (16 * kUnit + stored_unit(dtype)) * std::abs(want));
        }
      EXPECT_EQ(counts.get()[0].zeros, zeros);
      EXPECT_EQ(counts.get()[0].up_rows, 71u);
      EXPECT_EQ(counts.get()[0].down_rows, 72u);
    }
  }
}

TEST(DecodeRandom, FillsWithTheValuesOfTheDefinition) {
  for (DType dtype : kWeightTypes)
    for (bool transposed : {false, true}) {
      const TestMatrix w(dtype, "weight", 33, 70);
      decode_fill(w.view, 12345, 0.25f, transposed, nullptr);
      decode_fill_column(w.view, 3, nullptr, 2.5f, nullptr);
      finish();
      const Values got = w.array.get();
      for (std::int64_t r = 0; r < 33; ++r)
        for (std::int64_t c = 0; c < 70; ++c) {
          const auto index = static_cast<std::uint64_t>(transposed ? c * 33 + r : r * 70 + c);
          const float steps = static_cast<float>(rng_bits(12345, index) >> 40);
          const double want = c == 3 ? 2.5 : rounded(dtype, (steps * 0x1p-23f - 1.0f) * 0.25f);
          ASSERT_EQ(got[static_cast<std::size_t>(r * w.stride + c)], want);
        }
      EXPECT_TRUE(w.array.intact());
    }
}

}  // namespace
}  // namespace lacuna::cuda::test
