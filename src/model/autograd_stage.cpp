#include "src/model/autograd_stage.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cstring>
#include <map>
#include <utility>

#include "src/base/error.h"
#include "src/base/math.h"
#include "src/model/ffn_glu.h"
#include "src/model/stash_view.h"

namespace lacuna {

namespace {

std::vector<StagePlace> places_of(const LlamaStageOptions& options) {
  std::vector<StagePlace> out;
  for (int stage : options.my_stages) {
    const LayerRange layers = options.cuts.at(static_cast<std::size_t>(stage));
    const int last = static_cast<int>(options.cuts.size()) - 1;
    out.push_back({stage, layers.begin, layers.end, stage == 0, stage == last});
  }
  return out;
}

ModuleResult llama_module(const ModelConfig& config, const Penalty& l1, const ModuleCall& call) {
  ModuleResult out;
  const at::Tensor x =
      call.first ? reference_embedding(call.weight, call.tokens, call.sequences) : call.input;
  const auto add_penalty = [&](int, const at::Tensor& product) {
    const at::Tensor size = product.abs();
    const at::Tensor price = l1.knee > 0 ? (size / l1.knee).log1p() * l1.knee : size;
    const at::Tensor term = price.sum() * l1.weight;
    out.penalty = out.penalty.defined() ? out.penalty + term : term;
  };
  out.output =
      reference_blocks(config, call.weight, call.layers, x, l1.weight != 0 ? add_penalty : ProductSink{});
  if (call.last)
    out.output = reference_loss(reference_logits(config, call.head_weight, out.output), call.targets);
  return out;
}

}  // namespace

struct AutogradStage::State {
  State(LlamaStageOptions o, Module m)
      : options(std::move(o)),
        module(std::move(m)),
        store(options.config, places_of(options), 0, 1, options.shape.compute) {
    LACUNA_CHECK(options.shape.tp == 1, ErrorKind::Usage,
                 "autograd stages know no tensor parallelism, got tp {}", options.shape.tp);
    if (module) return;
    module = [this](const ModuleCall& call) {
      const double terms =
          static_cast<double>(batch.global_tokens) * static_cast<double>(options.config.layers);
      return llama_module(options.config, {batch.l1 / terms, batch.l1_knee}, call);
    };
  }

  // A weight as a leaf of this pass's graph; the same leaf for the same name.
  at::Tensor leaf(int stage, const std::string& name, bool head_side) {
    for (LocalParameter& p : store.all()) {
      if (p.stage != stage || p.spec.name != name || p.tied_copy != head_side) continue;
      at::Tensor& tensor = leaves[&p];
      if (!tensor.defined()) tensor = p.weight.detach().requires_grad_(true);
      return tensor;
    }
    if (head_side) return leaf(stage, name, false);
    fail(ErrorKind::Internal, "stage {} holds no parameter '{}'", stage, name);
  }

  at::Tensor activation(const std::byte* memory) const {
    const MicroShape& s = options.shape;
    return view_memory(const_cast<std::byte*>(memory), s.tokens(), options.config.hidden, s.compute, at::kCPU)
        .view({s.sequences, s.seq_len, options.config.hidden});
  }

  ModuleResult run(int stage, int micro, const at::Tensor& input) {
    const std::size_t n = static_cast<std::size_t>(options.shape.tokens());
    ModuleCall call;
    call.layers = options.cuts.at(static_cast<std::size_t>(stage));
    call.first = stage == 0;
    call.last = stage + 1 == static_cast<int>(options.cuts.size());
    call.input = input;
    call.tokens = std::span(batch.tokens).subspan(static_cast<std::size_t>(micro) * n, n);
    call.targets = std::span(batch.targets).subspan(static_cast<std::size_t>(micro) * n, n);
    call.sequences = options.shape.sequences;
    call.weight = [this, stage](const std::string& name) { return leaf(stage, name, false); };
    call.head_weight = [this, stage](const std::string& name) { return leaf(stage, name, true); };
    return module(call);
  }

  void add_gradients() {
    for (auto& [parameter, tensor] : leaves)
      if (tensor.grad().defined()) parameter->grad.add_(tensor.grad().to(parameter->grad.scalar_type()));
    leaves.clear();
  }

  LlamaStageOptions options;
  Module module;
  ParameterStore store;
  StepBatch batch;
  std::vector<double> losses;
  std::map<LocalParameter*, at::Tensor> leaves;
};

AutogradStage::AutogradStage(LlamaStageOptions options, Module module)
    : state_(std::make_unique<State>(std::move(options), std::move(module))) {}
AutogradStage::~AutogradStage() = default;

ParameterStore& AutogradStage::parameters() {
  return state_->store;
}
double AutogradStage::micro_loss(int micro) const {
  return state_->losses.at(static_cast<std::size_t>(micro));
}

void AutogradStage::begin_step(StepBatch batch) {
  state_->batch = std::move(batch);
  state_->losses.assign(static_cast<std::size_t>(state_->batch.micros), 0.0);
}

void AutogradStage::forward(int stage, int micro, const std::byte* input, std::byte* output,
                            StashPieces stash) {
  const at::AutoGradMode no_graph(false);
  State& s = *state_;
  at::Tensor x;
  if (stage > 0) {
    std::memcpy(stash[0], input, boundary_bytes());
    x = s.activation(stash[0]);
  }
  const ModuleResult result = s.run(stage, micro, x);
  s.leaves.clear();
  if (output)
    s.activation(output).copy_(result.output);
  else
    s.losses.at(static_cast<std::size_t>(micro)) = result.output.item<double>();
}

void AutogradStage::input_grad(int stage, int micro, const std::byte* output_grad, std::byte* input_grad,
                               StashPieces stash) {
  const at::AutoGradMode graph(true);
  State& s = *state_;
  const at::Tensor x = stage > 0 ? s.activation(stash[0]).clone().requires_grad_(true) : at::Tensor{};
  const ModuleResult result = s.run(stage, micro, x);
  at::Tensor objective =
      output_grad ? (result.output * s.activation(output_grad)).sum() : result.output * s.batch.loss_scale;
  if (result.penalty.defined()) objective = objective + result.penalty;
  objective.backward();
  const at::AutoGradMode no_graph(false);
  s.add_gradients();
  if (input_grad) s.activation(input_grad).copy_(x.grad());
}

void AutogradStage::weight_grad(int, int, StashPieces) {}
void AutogradStage::reduce(int) {}

std::size_t AutogradStage::boundary_bytes() const {
  return lacuna::boundary_bytes(state_->options.config, state_->options.shape);
}

std::size_t AutogradStage::piece_bytes(int, int piece) const {
  return piece == 0 ? static_cast<std::size_t>(round_up(static_cast<std::int64_t>(boundary_bytes()), 64)) : 0;
}

}  // namespace lacuna
