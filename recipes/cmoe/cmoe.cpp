#include "recipes/cmoe/cmoe.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "recipes/cmoe/compat.h"
#include "recipes/cmoe/evidence.h"
#include "recipes/cmoe/options.h"
#include "recipes/cmoe/report.h"
#include "recipes/cmoe/shared_budget.h"
#include "src/base/error.h"
#include "src/base/log.h"

namespace lacuna {

namespace {

constexpr int kSettlingRounds = 2;

constexpr const char* kIni =
    R"(; Carving: the neurons of a trained FFN become a shared set and experts, without training (--steps 0).
[cmoe]
; an FFN in 8 equal parts, 3 of them shared, 3 of the other 5 on for a token: a quarter of the FFN is off.
; 16 parts cost a larger router and lose less; --shared 2 --active 2 of 8 switches half of the FFN off.
experts = 8
shared = 3
active = 3
; loss: layers share more or fewer parts, --shared in the mean, where heapr says that they save most; equal: all alike
spread-shared = loss
; linear: a ridge regression from the FFN's input to what each expert contributes. lowrank adds a product of
; two norms an expert; rep is one neuron an expert; oracle, random and none are controls.
router = linear
; what is off is replaced by what it puts out in the mean while it is off
compensate = true
; an expert is on where its score is above its threshold, as many as --active in the mean over tokens: easy
; tokens take fewer. no: exactly --active experts for every token.
threshold = true
; score of the shared set; heapr takes a backward pass over the calibration tokens, rate, energy and flap none
shared-by = heapr
; what makes neurons an expert: the tokens on which they contribute, or on which they fire together
clusters = contribution
calibration-tokens = 16384
; tokens that nothing is fitted to, on which the choice of experts is measured
check-tokens = 2048
; the published algorithm instead: compat = true, trajectory = carved
compat = false
; what was measured in one file, to carve again without forward passes: statistics = calib.h5
; a table with all controls on texts of your own: report = true, texts = books.h5,wiki.h5

[train]
; enough for the calibration's windows
seq-len = 512
steps = 0
)";

class Cmoe : public Recipe {
 public:
  std::vector<FieldRef> fields() override { return fields_of(options_); }
  std::vector<std::string> problems() const override { return options_.problems(); }

  ModelConfig rewrite(const ModelConfig& parent) const override {
    LACUNA_CHECK(!parent.is_routed(), ErrorKind::Usage, "the parent's FFN has experts already");
    LACUNA_CHECK(!options_.compat || parent.activation == Activation::Silu, ErrorKind::Usage,
                 "--compat is for silu models, the parent's activation is {}", name_of(parent.activation));
    ModelConfig child = parent;
    child.routed = options_.routed(parent, shared_parts_);
    return child;
  }

  bool wants_calibration() const override { return true; }

  void calibrate(CalibrationRun& run) override {
    EvidenceCollector evidence(run, options_, options_.needs_gradients());
    if (options_.trajectory == "dense" || options_.needs_gradients() || options_.is_static())
      evidence.collect_dense();
    if (options_.spreads()) shared_parts_ = spread(run, evidence);
    if (options_.report) carve_static_controls(run, evidence);
    child_ = options_.trajectory == "carved" && !options_.is_static() ? carve_in_order(run, evidence)
                                                                      : carve_at_once(run, evidence);
    if (options_.thresholded()) settle_thresholds(run, evidence);
    gather_quality(run);
    models_.push_back({label(), child_});
    if (options_.report && !options_.is_static()) carve_router_controls(run, evidence);
  }

  SlabSource rewrite_weights(SlabSource parent) const override {
    LACUNA_ASSERT(child_);
    return carved_weights(parent, child_);
  }
  TensorSource rewrite_tensors(TensorSource parent) const override {
    LACUNA_ASSERT(child_);
    return carved_tensors(parent, child_);
  }

  std::map<std::string, std::string> facts() const override {
    return {{"recipe", "cmoe"}, {"recipe.form", label()}};
  }

  std::vector<std::string> report_texts() const override { return options_.texts; }
  std::int64_t report_windows() const override { return options_.windows; }

  std::vector<Variant> variants(const ModelConfig& parent, SlabSource weights) const override {
    std::vector<Variant> out = {{"dense", parent, weights}};
    for (const Named& named : models_)
      out.push_back({named.name, named.model->config, carved_weights(weights, named.model)});
    return out;
  }

  Json report(const std::vector<VariantScore>& scores) const override {
    Json out = carving_report(scores, options_, label(), quality_);
    if (!shared_parts_.empty()) out["shared_by_layer"] = shared_parts_;
    log_info("{}", carving_table(out));
    return out;
  }

 private:
  struct Named {
    std::string name;
    std::shared_ptr<CarvedModel> model;
  };
  using Carver = std::function<CarvedLayer(int layer, const LayerEvidence& evidence)>;

  std::string label() const {
    if (options_.is_static())
      return fmt::format("static {}{}", options_.static_score, options_.compensate ? " + means" : "");
    return fmt::format("routed {}", options_.compat ? "as published" : options_.router);
  }

  // Each layer by its owner, then to all ranks of its stage. Collective over a stage.
  static void share(CarvedModel& model, int layer, CarvedLayer carved, bool owner, ParallelContext& context) {
    std::vector<std::byte> bytes;
    if (owner) bytes = carved.to_bytes();
    share_with_stage(bytes, owner_of(layer, context.topology), context);
    model.layers[layer] = CarvedLayer::from_bytes(bytes);
  }

  struct Plan {
    std::string name;
    RoutedFfn routed;
    Carver carve;
  };

  // Several models from the same evidence, layer by layer. Collective over the world.
  static std::vector<Named> carve_all(CalibrationRun& run, const EvidenceCollector& evidence,
                                      const std::vector<Plan>& plans) {
    std::vector<Named> out;
    for (const Plan& plan : plans) {
      out.push_back({plan.name, std::make_shared<CarvedModel>()});
      out.back().model->config = run.parent;
      out.back().model->config.routed = plan.routed;
    }
    std::vector<std::map<int, CarvedLayer>> mine(plans.size());
    for (const int layer : evidence.mine()) {
      const LayerEvidence e = evidence.of(layer);
      for (std::size_t i = 0; i < plans.size(); ++i) mine[i][layer] = plans[i].carve(layer, e);
    }
    for (std::size_t i = 0; i < plans.size(); ++i)
      for (const int layer : evidence.stage_layers())
        share(*out[i].model, layer, mine[i][layer], evidence.owns(layer), run.context);
    return out;
  }

  CarvedLayer carve_layer(const RoutedFfn& routed, int layer, const LayerEvidence& e,
                          PhaseClock& clock) const {
    const RoutedLayer shape = routed_layer(routed, e.ffn.neurons(), layer);
    if (options_.is_static()) {
      NeuronScore score = NeuronScore::Rate;
      from_text(options_.static_score, score);
      return prune_layer(e, shape, score, options_.compensate);
    }
    if (options_.compat) return carve_as_published(e, shape, options_.top);
    std::vector<std::int32_t> order = clock.in("clusters", [&] { return carve_order(e, shape, options_); });
    return clock.in(
        "routers", [&] { return fit_experts(e, shape, std::move(order), options_.router_kind(), options_); });
  }

  // Shared parts of each layer: what a layer loses with so many is, by HEAPr, the sum over the neurons that
  // it does not share, which are switched off for the same share of tokens in all layers. Collective over the
  // world.
  std::vector<std::int64_t> spread(CalibrationRun& run, const EvidenceCollector& evidence) const {
    const auto layers = static_cast<std::size_t>(run.parent.layers);
    std::vector<std::int64_t> neurons;  // of so many parts
    for (std::int64_t parts = 0; parts <= options_.most_shared(run.parent); ++parts)
      neurons.push_back(options_.routed(run.parent, {parts}).shared[0]);
    std::vector<double> all(layers * neurons.size(), 0.0);
    for (const int layer : evidence.mine()) {
      const LayerEvidence e = evidence.of(layer);
      const std::vector<double> loss =
          shared_loss(neuron_scores(NeuronScore::Heapr, e.ffn, e.statistics, e.output_moment), neurons,
                      options_.guard ? std::ssize(e.super_neurons) : 0, options_.shared);
      std::copy(loss.begin(), loss.end(), all.begin() + layer * std::ssize(neurons));
    }
    run.context.world.all_reduce_sum(all.data(), all.size(), DType::F64);
    std::vector<std::vector<double>> loss;
    for (auto from = all.begin(); from != all.end(); from += std::ssize(neurons))
      loss.emplace_back(from, from + std::ssize(neurons));
    std::vector<std::int64_t> parts = spread_shared(loss, options_.shared * run.parent.layers);
    if (run.context.is_main()) log_info("shared parts of each layer: {}", fmt::join(parts, " "));
    return parts;
  }

  std::shared_ptr<CarvedModel> carve_at_once(CalibrationRun& run, const EvidenceCollector& evidence) const {
    const RoutedFfn routed = options_.routed(run.parent, shared_parts_);
    const auto carve = [&](int layer, const LayerEvidence& e) {
      return carve_layer(routed, layer, e, run.clock);
    };
    return carve_all(run, evidence, {{label(), routed, carve}})[0].model;
  }

  // The parent's order, and scores above any threshold.
  static CarvedLayer always_on(std::int64_t neurons, const RoutedFfn& routed) {
    CarvedLayer layer;
    for (std::int32_t i = 0; i < neurons; ++i) layer.order.push_back(i);
    layer.router.kind = routed.router;
    layer.router.rank = routed.rank;
    layer.router.bias = at::ones({routed.experts}, at::kDouble);
    return layer;
  }

  // Layer after layer, each on the inputs that those before it, carved, give it; the layers to come have all
  // their experts on.
  std::shared_ptr<CarvedModel> carve_in_order(CalibrationRun& run, EvidenceCollector& evidence) const {
    auto model = std::make_shared<CarvedModel>();
    model->config = run.parent;
    model->config.routed = options_.routed(run.parent);
    for (int layer = 0; layer < static_cast<int>(run.parent.layers); ++layer) {
      CarvedModel so_far = *model;
      RoutedFfn& routed = so_far.config.routed;
      const std::int64_t active = routed.active[0];
      routed.active.assign(static_cast<std::size_t>(run.parent.layers), routed.experts);
      std::fill_n(routed.active.begin(), layer, active);
      if (routed.threshold)
        for (int later = layer; later < static_cast<int>(run.parent.layers); ++later)
          so_far.layers[later] = always_on(run.parent.ffn, routed);
      evidence.collect_layer(layer, std::make_shared<CarvedModel>(so_far));
      if (!evidence.in_stage(layer)) continue;
      CarvedLayer carved;
      if (evidence.owns(layer))
        carved = carve_layer(model->config.routed, layer, evidence.of(layer), run.clock);
      share(*model, layer, std::move(carved), evidence.owns(layer), run.context);
    }
    return model;
  }

  // Thresholds were set on inputs of the parent (or of layers before). The carved layers' inputs are others,
  // so they are set again on the child's own, and once more since that moves the later layers' inputs.
  void settle_thresholds(CalibrationRun& run, EvidenceCollector& evidence) {
    if (!options_.report) evidence.release();  // nobody asks again
    for (int round = 0; round < kSettlingRounds; ++round) {
      std::map<int, at::Tensor> inputs = evidence.inputs_of(child_);
      auto settled = std::make_shared<CarvedModel>(*child_);
      for (const int layer : evidence.stage_layers()) {
        CarvedLayer carved = child_->layers.at(layer);
        if (evidence.owns(layer)) {
          const at::Tensor x = inputs.at(layer).to(at::kFloat);
          carved.router = on_device(carved.router, x.device());
          const at::Tensor scores = choosing_scores(carved.router, x, run.parent.activation);
          set_threshold(
              carved.router, scores,
              static_cast<double>(routed_layer(child_->config.routed, run.parent.ffn, layer).active));
        }
        share(*settled, layer, std::move(carved), evidence.owns(layer), run.context);
      }
      child_ = settled;
    }
  }

  // Static pruning by every score with as many active neurons in each layer.
  void carve_static_controls(CalibrationRun& run, const EvidenceCollector& evidence) {
    CmoeOptions pruned = options_;
    pruned.compat = false;
    std::vector<Plan> plans;
    for (const NeuronScore score : kNeuronScores)
      for (const bool compensate : {false, true}) {
        pruned.static_score = name_of(score);
        const RoutedFfn routed = pruned.routed(run.parent, shared_parts_);
        plans.push_back({fmt::format("static {}{}", name_of(score), compensate ? " + means" : ""), routed,
                         [=](int layer, const LayerEvidence& e) {
                           return prune_layer(e, routed_layer(routed, e.ffn.neurons(), layer), score,
                                              compensate);
                         }});
      }
    append(carve_all(run, evidence, plans));
  }

  // The child's experts under routers that need no fitting.
  void carve_router_controls(CalibrationRun& run, const EvidenceCollector& evidence) {
    CmoeOptions other = options_;
    other.threshold = false;
    other.compensate = options_.compensate && !options_.compat;
    std::vector<Plan> plans;
    for (const RouterKind kind : {RouterKind::Random, RouterKind::Oracle}) {
      if (kind == child_->config.routed.router) continue;
      RoutedFfn routed = child_->config.routed;
      routed.router = kind;
      routed.rank = 0;
      routed.threshold = false;
      plans.push_back({"routed " + name_of(kind), routed, [=, this](int layer, const LayerEvidence& e) {
                         return fit_experts(e, routed_layer(routed, e.ffn.neurons(), layer),
                                            child_->layers.at(layer).order, kind, other);
                       }});
    }
    append(carve_all(run, evidence, plans));
  }

  void append(std::vector<Named> more) {
    for (Named& named : more) models_.push_back(std::move(named));
  }

  // Every layer's quality on every rank.
  void gather_quality(CalibrationRun& run) {
    constexpr std::size_t kNumbers = sizeof(RoutingQuality) / sizeof(double);
    const auto layers = static_cast<std::size_t>(run.parent.layers);
    std::vector<double> all(layers * kNumbers, 0.0);
    for (const auto& [layer, carved] : child_->layers) {
      if (!is_owner(owner_of(layer, run.context.topology), run.context.place)) continue;
      std::memcpy(&all[static_cast<std::size_t>(layer) * kNumbers], &carved.quality, sizeof(RoutingQuality));
    }
    run.context.world.all_reduce_sum(all.data(), all.size(), DType::F64);
    quality_.resize(layers);
    for (std::size_t layer = 0; layer < layers; ++layer)
      std::memcpy(static_cast<void*>(&quality_[layer]), &all[layer * kNumbers], sizeof(RoutingQuality));
  }

  CmoeOptions options_;
  std::shared_ptr<CarvedModel> child_;
  std::vector<Named> models_;  // controls, then the child; only for a report
  std::vector<RoutingQuality> quality_;
  std::vector<std::int64_t> shared_parts_;  // of each layer, where they are spread
};

}  // namespace

RecipeEntry cmoe_recipe() {
  return {"cmoe", "experts out of a dense FFN and a router for them, from calibration alone (--steps 0)",
          "lacuna recipe cmoe -m MODEL --data tokens.h5 -o RUN --steps 0 --seq-len 512 --shared 2 --active 2",
          kIni, [] { return std::unique_ptr<Recipe>(std::make_unique<Cmoe>()); }};
}

}  // namespace lacuna
