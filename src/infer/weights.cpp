#include "src/infer/weights.h"

#include <algorithm>
#include <cstring>

#include "src/arch/parameters.h"
#include "src/base/error.h"

namespace lacuna {

namespace {

// out[c][r] = in[r][c], in tiles that stay in the cache.
template <class Element>
void transpose(const Element* in, std::int64_t rows, std::int64_t cols, Element* out) {
  constexpr std::int64_t kTile = 64;
  for (std::int64_t r0 = 0; r0 < rows; r0 += kTile)
    for (std::int64_t c0 = 0; c0 < cols; c0 += kTile)
      for (std::int64_t c = c0; c < std::min(c0 + kTile, cols); ++c)
        for (std::int64_t r = r0; r < std::min(r0 + kTile, rows); ++r) out[c * rows + r] = in[r * cols + c];
}

double bytes(const MatrixView& view) {
  return static_cast<double>(view.rows * view.cols) * static_cast<double>(size_of(view.dtype));
}

double row_bytes(const MatrixView& view) {
  return static_cast<double>(view.cols) * static_cast<double>(size_of(view.dtype));
}

}  // namespace

Weights::Weights(ModelSource source) : source_(std::move(source)) {
  const ModelConfig& config = source_.config();
  neuron_major_ = config.activation != Activation::Silu || source_.bundled();
  embedding_ = matrix("model.embed_tokens.weight");
  head_ = config.tied_embeddings ? embedding_ : matrix("lm_head.weight");
  final_norm_ = floats("model.norm.weight");
  for (std::int64_t layer = 0; layer < config.layers; ++layer) layers_.push_back(load_layer(layer));
}

MatrixView Weights::matrix(const std::string& name) const {
  const TensorView& tensor = source_.tensor(name);
  LACUNA_ASSERT(tensor.shape.size() == 2);
  return {static_cast<const std::byte*>(tensor.data), tensor.dtype, tensor.shape[0], tensor.shape[1],
          tensor.shape[1]};
}

std::vector<float> Weights::floats(const std::string& name) const {
  std::vector<float> out(static_cast<std::size_t>(source_.tensor(name).elements()));
  source_.copy(name, DType::F32, out.data());
  return out;
}

LayerWeights Weights::load_layer(std::int64_t layer) {
  const std::string block = "model.layers." + std::to_string(layer) + ".";
  const std::string attention = block + "self_attn.", ffn = block + "mlp.";
  const ModelConfig& config = source_.config();
  LayerWeights out;
  out.attention_norm = floats(block + "input_layernorm.weight");
  out.ffn_norm = floats(block + "post_attention_layernorm.weight");
  out.query = matrix(attention + "q_proj.weight");
  out.key = matrix(attention + "k_proj.weight");
  out.value = matrix(attention + "v_proj.weight");
  out.output = matrix(attention + "o_proj.weight");
  if (config.qkv_bias) {
    out.query_bias = floats(attention + "q_proj.bias");
    out.key_bias = floats(attention + "k_proj.bias");
    out.value_bias = floats(attention + "v_proj.bias");
  }
  if (config.qk_norm) {
    out.query_norm = floats(attention + "q_norm.weight");
    out.key_norm = floats(attention + "k_norm.weight");
  }
  out.gate = matrix(ffn + "gate_proj.weight");
  if (source_.bundled()) {
    const TensorView& bundle = source_.tensor(bundle_name(layer));
    const std::byte* data = static_cast<const std::byte*>(bundle.data);
    out.up = {data, bundle.dtype, config.ffn, config.hidden, 2 * config.hidden};
    out.down = out.up;
    out.down.data += static_cast<std::size_t>(config.hidden) * size_of(bundle.dtype);
  } else {
    out.up = matrix(ffn + "up_proj.weight");
    out.down = matrix(ffn + "down_proj.weight");
    if (neuron_major_) out.down = transposed(out.down);
  }
  if (config.is_routed()) out.router = load_router(layer);
  return out;
}

RouterWeights Weights::load_router(std::int64_t layer) const {
  const RoutedFfn& routed = config().routed;
  const std::string ffn = "model.layers." + std::to_string(layer) + ".mlp.";
  RouterWeights out;
  out.layer = layer;
  out.neurons = routed_layer(routed, config().ffn, layer);
  if (routed.has_weight()) out.weight = floats(ffn + "router.weight");
  if (routed.has_rows()) {
    out.gate = floats(ffn + "router.gate");
    out.up = floats(ffn + "router.up");
  }
  if (routed.has_bias()) out.bias = floats(ffn + "router.bias");
  if (routed.has_scores()) out.scale = floats(ffn + "router.scale");
  out.mean = floats(ffn + "experts.mean");
  return out;
}

MatrixView Weights::transposed(const MatrixView& in) {
  const std::size_t element = size_of(in.dtype);
  copies_.push_back(
      std::make_unique_for_overwrite<std::byte[]>(static_cast<std::size_t>(in.rows * in.cols) * element));
  std::byte* out = copies_.back().get();
  const auto run = [&](auto example) {
    using Element = decltype(example);
    transpose(reinterpret_cast<const Element*>(in.data), in.rows, in.cols, reinterpret_cast<Element*>(out));
  };
  if (element == 2)
    run(std::uint16_t{});
  else if (element == 4)
    run(std::uint32_t{});
  else
    run(std::uint64_t{});
  return {out, in.dtype, in.cols, in.rows, in.rows};
}

std::int64_t Weights::parameters() const {
  return parameter_count(config());
}

double Weights::bytes_per_token(double up_neurons, double down_neurons) const {
  double sum = bytes(head_) + row_bytes(embedding_);
  for (const LayerWeights& layer : layers_) {
    sum += bytes(layer.query) + bytes(layer.key) + bytes(layer.value) + bytes(layer.output);
    sum += config().is_routed() ? up_neurons * row_bytes(layer.gate) : bytes(layer.gate);
    const RouterWeights& router = layer.router;
    sum += static_cast<double>(router.weight.size() + router.gate.size() + router.up.size() +
                               router.mean.size()) *
           sizeof(float);
    sum += up_neurons * row_bytes(layer.up);
    sum += down_neurons * bytes(layer.down) / static_cast<double>(config().ffn);
  }
  return sum;
}

}  // namespace lacuna
