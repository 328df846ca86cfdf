// The models that `bench --arch` measures: exactly the asked share of neurons takes part, for every token.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "src/base/error.h"
#include "src/infer/measure.h"
#include "src/infer/random_model.h"
#include "tests/infer/random_model.h"

namespace lacuna {
namespace {

using namespace test;

TEST(RandomModel, SignsAreExactInNumberAndDrawnPerLayer) {
  for (Activation activation : {Activation::Relu, Activation::Drelu}) {
    const ModelConfig config = small_config(activation);
    for (double zeros : {0.0, 0.5, 0.9, 1.0}) {
      const NeuronSigns signs = neuron_signs(config, 1, zeros);
      std::int64_t open = 0, active = 0;
      for (std::size_t i = 0; i < signs.gate.size(); ++i) {
        open += signs.gate[i] > 0;
        active += signs.gate[i] > 0 && (activation == Activation::Relu || signs.up[i] > 0);
      }
      EXPECT_EQ(active, std::llround((1 - zeros) * 70));
      EXPECT_EQ(open, std::llround((activation == Activation::Relu ? 1 - zeros : std::sqrt(1 - zeros)) * 70));
    }
    EXPECT_NE(neuron_signs(config, 1, 0.5).gate, neuron_signs(config, 2, 0.5).gate);
  }
  EXPECT_THROW(neuron_signs(small_config(Activation::Relu), 0, 1.1), Error);
}

TEST(RandomModel, EveryTokenReadsExactlyTheAskedRows) {
  for (Activation activation : {Activation::Relu, Activation::Drelu})
    for (DType dtype : {DType::F32, DType::BF16}) {
      const ModelConfig config = small_config(activation);
      const std::unique_ptr<RandomModel> model = make_random_model(config, dtype, "sparse", 1, 200);
      for (double zeros : {0.9, 0.5}) {
        model->set_zeros(zeros);
        std::vector<std::int32_t> ids(53);
        std::iota(ids.begin(), ids.end(), 0);  // the whole vocabulary
        for (std::size_t t = 0; t < ids.size(); ++t) {
          model->backend().clear_statistics();
          model->backend().step({&ids[t], 1}, static_cast<std::int64_t>(t));
          for (const FfnStatistics::Layer& layer : model->backend().statistics().layers) {
            const double open = activation == Activation::Relu ? 1 - zeros : std::sqrt(1 - zeros);
            ASSERT_EQ(layer.up_rows, std::llround(open * 70));
            ASSERT_EQ(layer.down_rows, std::llround((1 - zeros) * 70));
            ASSERT_EQ(layer.zeros, 70 - layer.down_rows);
          }
        }
      }
      const double bytes = model->bytes_per_token(7, 7);
      EXPECT_EQ(bytes - model->bytes_per_token(7, 6), 3 * 48 * static_cast<double>(size_of(dtype)));
    }
}

TEST(RandomModel, MeasuresWithinItsContextOnly) {
  const ModelConfig config = small_config(Activation::Silu);
  const std::unique_ptr<RandomModel> model = make_random_model(config, DType::BF16, "dense", 1, 20);
  const std::vector<std::int32_t> prompt(12, 3);
  const MeasuredModel measured{model->backend(), model->context(),
                               [&](double up, double down) { return model->bytes_per_token(up, down); }};
  const DecodeSpeed speed = measure_decode(measured, prompt, 8);
  EXPECT_GT(speed.tokens_per_s, 0);
  EXPECT_EQ(speed.up_rows, 70);
  EXPECT_EQ(speed.down_rows, 70);
  EXPECT_THROW(measure_decode(measured, prompt, 9), Error);
}

}  // namespace
}  // namespace lacuna
