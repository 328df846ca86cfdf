// Small models with random weights, made in memory, and an independent forward of them in double.
#pragma once

#include <cmath>
#include <cstring>
#include <functional>

#include "src/arch/parameters.h"
#include "src/base/rng.h"
#include "src/format/model_source.h"

namespace lacuna::test {

inline ModelConfig small_config(Activation activation) {
  ModelConfig config;
  config.hidden = 48;
  config.ffn = 70;
  config.layers = 3;
  config.heads = 6;
  config.kv_heads = 2;
  config.head_dim = 10;
  config.vocab = 53;
  config.max_positions = 700;
  config.activation = activation;
  config.complete_and_check("small model");
  return config;
}

// The same with five experts, and other numbers of active ones and shared neurons in each layer.
inline ModelConfig routed_config(RouterKind kind, Activation activation = Activation::Silu) {
  ModelConfig config = small_config(activation);
  RoutedFfn& r = config.routed;
  r.experts = 5;
  r.active = {2, 3, 1};
  r.shared = {11, 0, 40};
  r.router = kind;
  r.rank = r.has_rows() ? 3 : 0;
  r.seed = 9;
  config.complete_and_check("routed model");
  return config;
}

// Changes a weight while the model is made: (parameter name, row, column, value) -> value, in the canonical
// shape of the parameter, also where it is stored in a bundle.
using Change =
    std::function<float(const std::string& name, std::int64_t row, std::int64_t column, float value)>;

class ModelMaker {
 public:
  ModelMaker(ModelConfig config, DType dtype, bool bundled) : dtype_(dtype), bundled_(bundled) {
    contents_.path = "random model";
    contents_.kind = "hf folder";
    contents_.config = std::move(config);
  }
  ModelSource make(const Change& change = {}) {
    const ModelConfig config = contents_.config;
    for (const Parameter& p : parameters(config)) {
      std::vector<float> values = random(p, change);
      if (bundled_ && p.role == Role::Up) {
        up_ = std::move(values);
      } else if (bundled_ && p.role == Role::Down) {
        add(bundle_name(p.layer), {config.ffn, 2, config.hidden}, bundle(values));
      } else {
        add(p.name, p.shape, values);
      }
    }
    if (config.tied_embeddings)
      contents_.tensors["lm_head.weight"] = contents_.tensors["model.embed_tokens.weight"];
    return ModelSource(std::move(contents_));
  }

 private:
  std::vector<float> random(const Parameter& p, const Change& change) const {
    std::vector<float> out;
    const std::uint64_t key = rng_key(11, p.name);
    const std::int64_t cols = p.shape.back();
    const double std = p.shape.size() == 2 ? 2 / std::sqrt(static_cast<double>(cols)) : 0.1;
    for (std::int64_t i = 0; i < p.elements(); ++i) {
      auto value = static_cast<float>(rng_normal(key, static_cast<std::uint64_t>(i)) * std + p.init_value);
      if (change) value = change(p.name, i / cols, i % cols, value);
      out.push_back(value);
    }
    return out;
  }
  std::vector<float> bundle(const std::vector<float>& down) const {
    const std::int64_t h = contents_.config.hidden, f = contents_.config.ffn;
    std::vector<float> out;
    for (std::int64_t i = 0; i < f; ++i) {
      out.insert(out.end(), up_.begin() + i * h, up_.begin() + (i + 1) * h);
      for (std::int64_t j = 0; j < h; ++j) out.push_back(down[static_cast<std::size_t>(j * f + i)]);
    }
    return out;
  }
  void add(const std::string& name, std::vector<std::int64_t> shape, const std::vector<float>& values) {
    contents_.copies.push_back(std::make_unique<std::byte[]>(values.size() * 8));
    std::byte* to = contents_.copies.back().get();
    contents_.tensors[name] = {dtype_, std::move(shape), to};
    for (float value : values) {
      const double wide = value;
      const std::uint16_t brain = to_bf16(value), half = to_f16(value);
      const void* from = dtype_ == DType::F64    ? static_cast<const void*>(&wide)
                         : dtype_ == DType::F32  ? static_cast<const void*>(&value)
                         : dtype_ == DType::BF16 ? static_cast<const void*>(&brain)
                                                 : static_cast<const void*>(&half);
      std::memcpy(to, from, size_of(dtype_));
      to += size_of(dtype_);
    }
  }
  DType dtype_;
  bool bundled_;
  ModelContents contents_;
  std::vector<float> up_;
};

struct Reference {
  std::vector<std::vector<double>> logits;  // [position][vocab]
  std::vector<std::vector<std::int64_t>> open,
      nonzero;  // [layer][position]: neurons with gate > 0, product != 0
};
// From the weights as stored, every sum in double.
Reference reference_forward(const ModelSource& source, const std::vector<std::int32_t>& ids);

}  // namespace lacuna::test
