#include "recipes/drelu/drelu.h"

#include <fmt/format.h>

#include "recipes/drelu/sign_statistics.h"
#include "src/base/error.h"

namespace lacuna {

namespace {

constexpr const char* kIni = R"(; dReLU: relu(gate)·relu(up), then training with all weights.
; The child starts from the parent's weights; --steps of extra training win the loss back.
[drelu]
; canonical: each neuron's up projection gets the sign whose half carries more output first (free, exact for
; the parent; smaller shock, one or two points fewer zeros). plain: weights as they are.
start = canonical
; training sequences that the canonical start looks at
calibration = 64

[optim]
; conversion wants a re-warmed, high rate: about the parent's peak
lr = 0.001
lr-schedule = cosine
warmup-steps = 20
; more zeros for a little loss: weight of mean over layers and tokens of sum |product|
l1 = 0
l1-warmup-steps = 0
; e.g. 0.02: spare products well above this. More zeros for the same loss than the plain sum, at a larger l1
l1-knee = 0
; 1: learn from the probabilities of --parent (or of --model) alone, not from the next tokens. The way to go when
; there is little text: any text of that kind serves, that of generate --samples too
distil = 0
)";

const std::string kUp = ".mlp.up_proj.weight", kDown = ".mlp.down_proj.weight";

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

int layer_of(const std::string& name) {
  return std::stoi(name.substr(std::string("model.layers.").size()));
}

template <class T>
void negate_rows_or_columns(T* data, const Slab& slab, std::size_t dim, const std::vector<bool>& flips,
                            std::int64_t first_neuron) {
  for (std::int64_t r = 0; r < slab.extent[0]; ++r)
    for (std::int64_t c = 0; c < slab.extent[1]; ++c) {
      const std::int64_t neuron = slab.offset[dim] + (dim == 0 ? r : c) - first_neuron;
      if (flips.at(static_cast<std::size_t>(neuron))) data[r * slab.extent[1] + c] *= T(-1);
    }
}

class Drelu : public Recipe {
 public:
  std::vector<FieldRef> fields() override { return fields_of(*this); }

  template <class Visitor>
  void visit(Visitor&& field) {
    field("drelu.start", start_,
          "canonical | plain: choose each neuron's sign on calibration data first, or not");
    field("drelu.calibration", calibration_, "training sequences that the canonical start looks at");
  }

  std::vector<std::string> problems() const override {
    std::vector<std::string> out;
    if (start_ != "plain" && start_ != "canonical")
      out.push_back(fmt::format("--start is '{}', wanted plain or canonical", start_));
    if (start_ == "canonical" && calibration_ < 1)
      out.push_back(fmt::format("--calibration is {}, the canonical start wants at least 1", calibration_));
    return out;
  }

  ModelConfig rewrite(const ModelConfig& parent) const override {
    ModelConfig child = parent;
    child.activation = Activation::Drelu;
    return child;
  }

  bool wants_calibration() const override { return start_ == "canonical"; }

  void calibrate(CalibrationRun& run) override {
    const std::int64_t passes = run.passes_for(calibration_ * run.options.seq_len);
    run.show_products(
        0, passes, [&](int layer, const at::Tensor& gate, const at::Tensor& up, const at::Tensor& product) {
          statistics_.add(layer, gate, up, product);
        });
    statistics_.merge(*run.context.dp);
    first_neuron_ = run.parent.ffn / run.context.topology.tp * run.context.place.tp;
    for (int layer : statistics_.layers()) flips_[layer] = statistics_.flips(layer);
  }

  SlabSource rewrite_weights(SlabSource parent) const override {
    if (flips_.empty()) return parent;
    return [this, parent](const std::string& name, const Slab& slab, DType dtype, void* dst) {
      parent(name, slab, dtype, dst);
      const bool up = ends_with(name, kUp), down = ends_with(name, kDown);
      if (!up && !down) return;
      const std::vector<bool>& flips = flips_.at(layer_of(name));
      const std::size_t dim = up ? 0 : 1;
      if (dtype == DType::F64)
        negate_rows_or_columns(static_cast<double*>(dst), slab, dim, flips, first_neuron_);
      else
        negate_rows_or_columns(static_cast<float*>(dst), slab, dim, flips, first_neuron_);
    };
  }

  std::map<std::string, std::string> facts() const override {
    return {{"recipe", "drelu"}, {"recipe.start", start_}};
  }

 private:
  std::string start_ = "canonical";
  std::int64_t calibration_ = 64;
  SignStatistics statistics_;
  std::map<int, std::vector<bool>> flips_;  // by layer, for this rank's neurons
  std::int64_t first_neuron_ = 0;           // global index of this rank's first neuron
};

}  // namespace

RecipeEntry drelu_recipe() {
  return {"drelu", "relu(gate)·relu(up): exact zeros in nine of ten FFN products, after some more training",
          "lacuna recipe drelu -m MODEL --data tokens.h5 -o RUN --steps 500 --lr 1e-3 --global-batch 16",
          kIni, [] { return std::unique_ptr<Recipe>(std::make_unique<Drelu>()); }};
}

}  // namespace lacuna
