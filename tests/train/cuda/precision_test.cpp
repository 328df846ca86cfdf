// bf16 on a GPU against fp32 on the CPU over 20 steps: no farther away than twice what bf16 costs under
// libtorch's own autograd (an independent forward of plain operations, src/model/reference_model.h).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "optim/sharded_state.h"
#include "parallel/run/local_communicator.h"
#include "src/model/autograd_stage.h"
#include "tests/train/support/small_run.h"

namespace lacuna::test {
namespace {

constexpr int kSteps = 20;

ModelConfig test_model() {
  ModelConfig config = small_model();
  config.hidden = 64;
  config.ffn = 160;
  config.layers = 4;
  config.head_dim = 16;
  return config;
}

TrainOptions test_options() {
  TrainOptions options = small_options(1, 1, 1);
  options.seq_len = 32;
  options.dtype = "fp32";
  options.lr = 1e-3;
  return options;
}

std::vector<double> autograd_losses(const TrainOptions& options, const ModelConfig& config) {
  LlamaStageOptions place;
  place.config = config;
  place.shape = {options.micro_batch, options.seq_len, 1, DType::BF16};
  place.cuts = {{0, static_cast<int>(config.layers)}};
  place.my_stages = {0};
  AutogradStage stage(place);
  stage.parameters().initialise(options.seed);
  const auto alone = single_rank();
  ShardedOptimizer optimizer(stage.parameters().all(), {alone.get(), alone.get(), alone.get()},
                             {options.beta1, options.beta2, options.eps, options.weight_decay}, DType::BF16);
  optimizer.adopt_weights();
  at::Tensor memory = at::zeros({static_cast<std::int64_t>(stage.piece_bytes(0, 0))}, at::kByte);
  std::byte* piece = static_cast<std::byte*>(memory.data_ptr());
  const MadeUpBatches batches(options, config.vocab, 0);
  std::vector<double> losses;
  for (int step = 0; step < kSteps; ++step) {
    StepBatch batch = batches.train(step);
    const int micros = batch.micros;
    const auto scored =
        std::count_if(batch.targets.begin(), batch.targets.end(), [](auto t) { return t >= 0; });
    batch.loss_scale = 1.0 / static_cast<double>(scored);
    stage.begin_step(std::move(batch));
    double loss = 0;
    for (int micro = 0; micro < micros; ++micro) {
      stage.forward(0, micro, nullptr, nullptr, {&piece, 1});
      stage.input_grad(0, micro, nullptr, nullptr, {&piece, 1});
      stage.weight_grad(0, micro, {&piece, 1});
      loss += stage.micro_loss(micro) / static_cast<double>(scored);
    }
    optimizer.reduce(0);
    if (config.tied_embeddings) optimizer.add_tied();
    double squares = 0;
    for (double part : optimizer.squared_norms()) squares += part;
    optimizer.step(options.lr, std::min(1.0, options.clip / (std::sqrt(squares) + 1e-6)), step + 1);
    stage.parameters().zero_grads();
    losses.push_back(loss);
  }
  return losses;
}

double farthest(const std::vector<double>& a, const std::vector<double>& b) {
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] / b[i] - 1));
  return most;
}

TEST(PrecisionOnGpu, Bf16StaysAsCloseToFp32AsAutogradsBf16) {
  TrainOptions options = test_options();
  const std::vector<double> fp32 = run_layout(options, kSteps, test_model()).loss;
  const double allowed = farthest(autograd_losses(options, test_model()), fp32);
  options.device = "cuda";
  options.dtype = "bf16";
  const std::vector<double> gpu = run_layout(options, kSteps, test_model()).loss;
  RecordProperty("autograd", std::to_string(allowed));
  RecordProperty("gpu", std::to_string(farthest(gpu, fp32)));
  EXPECT_LE(std::abs(gpu[0] / fp32[0] - 1), 1e-3);
  EXPECT_LE(farthest(gpu, fp32), 2 * allowed) << "autograd's bf16: " << allowed;
  EXPECT_GT(allowed, 1e-6) << "the control is not in bf16?";
}

}  // namespace
}  // namespace lacuna::test
