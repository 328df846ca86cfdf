// Everything that carving can be told: section [cmoe].
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "recipes/common/neuron_scores.h"
#include "src/arch/model_config.h"

namespace lacuna {

struct CmoeOptions {
  std::int64_t experts = 8, shared = 3, active = 3, align = 1;
  bool compat = false;
  std::string spread_shared = "loss";
  std::string router = "linear", static_score;
  bool compensate = true;
  std::string trajectory = "dense", clusters = "contribution";
  std::string metric = "output";
  NeuronScore shared_by = NeuronScore::Heapr;
  std::int64_t top = 10, calibration_tokens = 16384, check_tokens = 2048;
  double coactivation_share = 0.1, ridge = 0.01, balance = 0;
  int iterations = 12, starts = 1, refits = 2;
  std::int64_t rank = 32;
  bool threshold = true, guard = true;
  std::uint64_t router_seed = 1;
  std::string statistics;
  bool report = false;
  std::vector<std::string> texts;
  std::int64_t windows = 64;

  template <class Visitor>
  void visit(Visitor&& field) {
    field("cmoe.experts", experts, "equal parts of an FFN, shared ones included");
    field("cmoe.shared", shared, "parts that are always on");
    field("cmoe.spread-shared", spread_shared,
          "equal: every layer has --shared parts; loss: as many in all, in the layers where heapr says that "
          "they "
          "save most (fitted routers on the dense trajectory)");
    field("cmoe.active", active, "routed experts that are on for a token");
    field("cmoe.align", align, "neurons of an expert are a multiple of this, except the last one's");
    field("cmoe.compat", compat, "the published algorithm as its code has it, with no means added");
    field("cmoe.router", router, "linear | lowrank | rep | oracle | random | none");
    field("cmoe.rank", rank, "of the lowrank router, rows an expert");
    field("cmoe.threshold", threshold,
          "fitted scores above a threshold are on, --active experts in the mean; else the --active largest");
    field("cmoe.balance", balance,
          "biases shift until no expert is busier than this times the mean; 0 = off");
    field("cmoe.router-seed", router_seed, "of the random router");
    field("cmoe.static", static_score, "no router: keep as many neurons by rate | energy | flap | heapr");
    field("cmoe.compensate", compensate, "add mean outputs of what is off");
    field("cmoe.shared-by", shared_by, "score of the shared set: rate | energy | flap | heapr");
    field("cmoe.top", top, "K_a: a neuron's rate counts the tokens where it is among so many largest");
    field("cmoe.guard", guard, "super neurons are always shared");
    field("cmoe.clusters", clusters, "contribution | coactivation: what makes neurons an expert");
    field("cmoe.coactivation-share", coactivation_share, "of a token's neurons count as firing together");
    field("cmoe.iterations", iterations, "of a clustering, at most");
    field("cmoe.starts", starts, "clusterings of which the best stays");
    field("cmoe.metric", metric,
          "what the router estimates: output | loss: an expert's contribution to the output, or, as heapr "
          "weighs it, to the loss");
    field("cmoe.ridge", ridge, "of the router's regression, in units of the input's mean variance");
    field("cmoe.refits", refits, "rounds of fitting means to the router and the router to the means");
    field("cmoe.trajectory", trajectory,
          "dense: all layers see the parent's inputs; carved: layers in order, each sees those before it "
          "carved");
    field("cmoe.calibration-tokens", calibration_tokens, "of the training data, rounded up to whole batches");
    field("cmoe.check-tokens", check_tokens, "more tokens, on which the choice of experts is only measured");
    field("cmoe.statistics", statistics,
          "calib.h5 with the inputs of every FFN: read when it exists, else written");
    field("cmoe.report", report, "score the child, the controls and the parent on --texts before training");
    field("cmoe.texts", texts, "token files to score, from their beginning");
    field("cmoe.windows", windows, "of --seq-len tokens that are scored of each text, at most");
  }

  std::vector<std::string> problems() const;
  RouterKind router_kind() const;
  // Whether the router estimates what experts contribute: linear, lowrank, rep.
  bool has_scores() const;
  // A threshold needs scores, and a choice: neither all experts nor none.
  bool thresholded() const;
  // Whether layers share what --spread-shared loss gives them: a fitted router, all layers carved at once.
  bool spreads() const;
  // Whether the gradients that heapr needs must be measured.
  bool needs_gradients() const;
  bool is_static() const { return !static_score.empty(); }
  // The routed FFN of the child of this parent; Error(Usage) when the numbers do not fit it. shared_parts: of
  // each layer, of all layers (one entry), or --shared for all (none).
  RoutedFfn routed(const ModelConfig& parent, const std::vector<std::int64_t>& shared_parts = {}) const;
  // The most parts that a layer can share and still have --experts less --shared experts.
  std::int64_t most_shared(const ModelConfig& parent) const;
  // Neurons that are on for a token in a layer that shares so many parts.
  std::int64_t active_neurons(const ModelConfig& parent, std::int64_t shared_parts) const;

 private:
  // Neurons of each routed expert of such a layer.
  std::vector<std::int64_t> expert_sizes(const ModelConfig& parent, std::int64_t shared_parts) const;
};

}  // namespace lacuna
