#include "src/infer/random_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "src/arch/parameters.h"
#include "src/base/error.h"
#include "src/infer/engine.h"

namespace lacuna {

namespace {

bool ends_with(const std::string& name, std::string_view end) {
  return name.size() >= end.size() && name.compare(name.size() - end.size(), end.size(), end) == 0;
}

// The first `count` of a random order of `from` become +1 in `signs`.
void choose(std::vector<std::int64_t> from, std::int64_t count, std::uint64_t key,
            std::vector<float>& signs) {
  for (std::int64_t i = 0; i < count; ++i) {
    const auto left = static_cast<std::uint64_t>(from.size()) - static_cast<std::uint64_t>(i);
    const std::size_t at = static_cast<std::size_t>(i) + rng_below(key, static_cast<std::uint64_t>(i), left);
    std::swap(from[static_cast<std::size_t>(i)], from[at]);
    signs[static_cast<std::size_t>(from[static_cast<std::size_t>(i)])] = 1;
  }
}

std::vector<std::int64_t> positive(const std::vector<float>& signs) {
  std::vector<std::int64_t> out;
  for (std::size_t i = 0; i < signs.size(); ++i)
    if (signs[i] > 0) out.push_back(static_cast<std::int64_t>(i));
  return out;
}

}  // namespace

NeuronSigns neuron_signs(const ModelConfig& config, std::int64_t layer, double zeros) {
  LACUNA_CHECK(zeros >= 0 && zeros <= 1, ErrorKind::Usage, "--zeros {} is not a share between 0 and 1",
               zeros);
  const auto neurons = static_cast<std::size_t>(config.ffn);
  const auto of = [&](double share) { return std::llround(share * static_cast<double>(config.ffn)); };
  const std::uint64_t key = rng_key(kRandomModelSeed, "open neurons of layer " + std::to_string(layer));
  NeuronSigns out{std::vector<float>(neurons, -1), std::vector<float>(neurons, -1)};
  std::vector<std::int64_t> all(neurons);
  std::iota(all.begin(), all.end(), 0);
  const double share = config.activation == Activation::Drelu ? std::sqrt(1 - zeros) : 1 - zeros;
  choose(all, of(share), key, out.gate);
  choose(positive(out.gate), of(1 - zeros), key + 1, out.up);
  for (std::size_t i = 0; i < neurons; ++i)  // where the gate is shut, up is positive as often
    if (out.gate[i] < 0 && rng_uniform(key + 2, i) < share) out.up[i] = 1;
  return out;
}

RandomScale random_scale(const ModelConfig& config, const std::string& name) {
  const double width = static_cast<double>(config.hidden), root = std::sqrt(width);
  RandomScale out;
  if (ends_with(name, "norm.weight")) return out;
  out.std = 1 / root;
  if (ends_with(name, "embed_tokens.weight")) {
    out.std = 1;
    out.constant = 4 * root;  // norm 4 times that of the rest
  } else if (ends_with(name, "gate_proj.weight") || ends_with(name, "up_proj.weight")) {
    out.decisive = 8 / root;  // some 7 against a standard deviation of at most 0.6
  } else if (ends_with(name, "o_proj.weight")) {
    out.std = 0.1 / std::sqrt(static_cast<double>(config.query_width()));
    out.no_row_zero = true;
  } else if (ends_with(name, "down_proj.weight")) {
    out.std = 0.002 / std::sqrt(static_cast<double>(config.ffn));
    out.no_row_zero = true;
  } else if (ends_with(name, ".bias")) {
    out.std = 0.1;
  }
  return out;
}

namespace {

// Elements of a stored tensor, F32 or BF16.
class Elements {
 public:
  Elements(std::byte* data, DType dtype) : data_(data), dtype_(dtype) {}
  void set(std::int64_t index, float value) const {
    const std::uint16_t brain = to_bf16(value);
    const std::size_t size = size_of(dtype_);
    std::memcpy(data_ + static_cast<std::size_t>(index) * size,
                dtype_ == DType::BF16 ? static_cast<const void*>(&brain) : &value, size);
  }

 private:
  std::byte* data_;
  DType dtype_;
};

class HostRandomModel final : public RandomModel {
 public:
  HostRandomModel(const ModelConfig& config, DType dtype, const std::string& path, int threads,
                  std::int64_t context)
      : config_(config), dtype_(dtype), bundled_(config.activation != Activation::Silu) {
    ModelContents contents;
    contents.path = "random weights";
    contents.kind = "random weights";
    contents.config = config;
    for (const Parameter& p : parameters(config)) add(contents, p);
    if (config.tied_embeddings)
      contents.tensors["lm_head.weight"] = contents.tensors["model.embed_tokens.weight"];
    set_zeros(0);
    engine_ =
        std::make_unique<Engine>(ModelSource(std::move(contents)), EngineOptions{threads, path, context});
  }
  Backend& backend() override { return engine_->backend(); }
  std::int64_t context() const override { return engine_->context(); }
  double bytes_per_token(double up_rows, double down_rows) const override {
    return engine_->weights().bytes_per_token(up_rows, down_rows);
  }
  void set_zeros(double zeros) override {
    for (std::size_t layer = 0; layer < gate_.size(); ++layer) {
      const NeuronSigns signs = neuron_signs(config_, static_cast<std::int64_t>(layer), zeros);
      const auto size = static_cast<float>(random_scale(config_, "gate_proj.weight").decisive);
      const std::int64_t up_stride = (bundled_ ? 2 : 1) * config_.hidden;
      for (std::int64_t i = 0; i < config_.ffn; ++i) {
        gate_[layer].set(i * config_.hidden, signs.gate[static_cast<std::size_t>(i)] * size);
        up_[layer].set(i * up_stride, signs.up[static_cast<std::size_t>(i)] * size);
      }
    }
  }

 private:
  std::byte* store(ModelContents& contents, const std::string& name, std::vector<std::int64_t> shape) {
    std::int64_t elements = 1;
    for (std::int64_t extent : shape) elements *= extent;
    contents.copies.push_back(
        std::make_unique<std::byte[]>(static_cast<std::size_t>(elements) * size_of(dtype_)));
    contents.tensors[name] = {dtype_, std::move(shape), contents.copies.back().get()};
    return contents.copies.back().get();
  }
  // Where element (row, col) of the parameter goes: rows apart by `stride`, transposed or not, from `first`.
  void add(ModelContents& contents, const Parameter& p) {
    const std::int64_t cols = p.shape.back(), rows = p.elements() / cols;
    const bool up = p.role == Role::Up, down = p.role == Role::Down;
    std::int64_t row_step = cols, col_step = 1, first = 0;
    std::byte* data = nullptr;
    if (bundled_ && (up || down)) {
      const std::string name = bundle_name(p.layer);
      data = up ? store(contents, name, {config_.ffn, 2, config_.hidden})
                : static_cast<std::byte*>(const_cast<void*>(contents.tensors.at(name).data));
      row_step = up ? 2 * config_.hidden : 1;
      col_step = up ? 1 : 2 * config_.hidden;
      first = up ? 0 : config_.hidden;
    } else {
      data = store(contents, p.name, p.shape);
    }
    const Elements elements(data, dtype_);
    if (p.role == Role::Gate) gate_.push_back(elements);
    if (up) up_.push_back(elements);
    const RandomScale scale = random_scale(config_, p.name);
    const std::uint64_t key = rng_key(kRandomModelSeed, p.name);
    const float half = half_width(scale.std);
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < cols; ++c) {
        float value = scale.std == 0 ? 1 : random_value(key, static_cast<std::uint64_t>(r * cols + c), half);
        if (c == 0 && scale.constant != 0) value = static_cast<float>(scale.constant);
        if (r == 0 && scale.no_row_zero) value = 0;
        elements.set(first + r * row_step + c * col_step, value);
      }
  }

  ModelConfig config_;
  DType dtype_;
  bool bundled_;
  std::vector<Elements> gate_, up_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace

std::unique_ptr<RandomModel> make_random_model(const ModelConfig& config, DType dtype,
                                               const std::string& path, int threads, std::int64_t context) {
  return std::make_unique<HostRandomModel>(config, dtype, path, threads, context);
}

}  // namespace lacuna
