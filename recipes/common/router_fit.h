// Routers for given experts, from calibration tokens alone and in closed form. A fitted score estimates the
// expert's contribution (expert_outputs.h) from the FFN's input; the form of the scores is that of
// src/arch/routed_ffn.h.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <utility>
#include <vector>

#include "recipes/common/expert_outputs.h"
#include "recipes/common/neuron_statistics.h"
#include "src/arch/routed_ffn.h"

namespace lacuna {

// F64; undefined where the kind has no such tensor.
struct Router {
  RouterKind kind = RouterKind::None;
  at::Tensor weight;    // [experts, hidden]
  at::Tensor gate, up;  // [experts · rank, hidden]
  at::Tensor bias;      // [experts], added to scores only when experts are chosen
  std::int64_t rank = 0;
};

Router on_device(Router router, at::Device device);

// Score plus bias of every expert [tokens, experts] F64; kinds with weights only.
at::Tensor choosing_scores(const Router& router, const at::Tensor& inputs, Activation activation);

// Ridge regression of several targets on inputs with an intercept, through the inputs' moments: factored
// once, however many targets come.
class RidgeRegression {
 public:
  // inputs [tokens, hidden] F32, those of the statistics; `ridge` in units of the input's mean variance.
  RidgeRegression(const NeuronStatistics& statistics, const at::Tensor& inputs, double ridge);
  const at::Tensor& inputs() const { return inputs_; }
  // targets [tokens, n] F64: weights [n, hidden] and intercepts [n].
  std::pair<at::Tensor, at::Tensor> fit(const at::Tensor& targets) const;
  // targets minus their fit
  at::Tensor residual(const at::Tensor& targets) const;

 private:
  at::Tensor inputs_, mean_, factor_;
};

// Contributions [tokens, experts] regressed on the input. The intercept becomes the bias.
Router fit_linear(const RidgeRegression& regression, const at::Tensor& contributions);

// Adds to the linear form ‖A_e x‖·‖B_e x‖: A_e = Uᵀ G̃, B_e = Vᵀ Ũ, U and V the leading eigenvectors of
// G̃ E[xxᵀ] G̃ᵀ and of its like for up, rows scaled by √E[σ(g·x)²] (gate) and each by √‖d‖; its weight is
// least squares beside the linear form. `experts`: weights of the experts' neurons in their order.
Router fit_low_rank(const RidgeRegression& regression, const NeuronStatistics& statistics,
                    const at::Tensor& contributions, const FfnWeights& ffn,
                    const std::vector<std::int64_t>& begin, std::int64_t rank);

// One neuron an expert: the one whose |h| follows the expert's contribution best, with its gain and
// intercept.
Router fit_neuron(const ExpertOutputs& outputs, const at::Tensor& contributions, const FfnWeights& ffn,
                  const std::vector<std::int64_t>& begin);

// Shifts the biases so that `active` experts a token are on in the mean where score plus bias > 0.
void set_threshold(Router& router, const at::Tensor& scores, double active);

// Shifts the biases until no expert is chosen more than `most` times as often as the mean one (≥ 1), as far
// as it goes within a fixed number of rounds; the least shift in the direction of each expert's load.
void balance(Router& router, const at::Tensor& scores, std::int64_t active, double most);

}  // namespace lacuna
