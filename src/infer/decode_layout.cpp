#include "src/infer/decode_layout.h"

#include "src/base/error.h"
#include "src/base/math.h"

namespace lacuna {

namespace {

constexpr std::int64_t kAlign = 256;  // of every matrix and vector

class Placer {
 public:
  explicit Placer(DecodeLayout& layout) : layout_(layout) {}

  std::int64_t floats(std::int64_t count) { return take(round_up(count, 4) * 4); }
  PlacedMatrix matrix(std::int64_t rows, std::int64_t cols) {
    const std::int64_t stride = padded_stride(cols, layout_.dtype);
    return {take(rows * stride * element()), rows, cols, stride};
  }
  // Two matrices of equal shape, row beside row.
  void pair(std::int64_t rows, std::int64_t cols, PlacedMatrix& first, PlacedMatrix& second) {
    const std::int64_t half = padded_stride(cols, layout_.dtype);
    first = {take(rows * 2 * half * element()), rows, cols, 2 * half};
    second = first;
    second.offset += half * element();
  }

 private:
  std::int64_t element() const { return static_cast<std::int64_t>(size_of(layout_.dtype)); }
  std::int64_t take(std::int64_t bytes) {
    const std::int64_t at = layout_.bytes;
    layout_.bytes = round_up(at + bytes, kAlign);
    return at;
  }
  DecodeLayout& layout_;
};

PlacedLayer place_layer(const DecodeLayout& layout, Placer& placer) {
  const ModelConfig& config = layout.config;
  const std::int64_t qkv = config.query_width() + 2 * config.kv_width();
  PlacedLayer out;
  out.attention_norm = placer.floats(config.hidden);
  out.ffn_norm = placer.floats(config.hidden);
  if (config.qk_norm) {
    out.query_norm = placer.floats(config.head_dim);
    out.key_norm = placer.floats(config.head_dim);
  }
  if (config.qkv_bias) out.qkv_bias = placer.floats(qkv);
  out.qkv = placer.matrix(qkv, config.hidden);
  out.output = placer.matrix(config.hidden, config.query_width());
  out.gate = placer.matrix(config.ffn, config.hidden);
  if (layout.neuron_major) {
    placer.pair(config.ffn, config.hidden, out.up, out.down);
  } else {
    out.up = placer.matrix(config.ffn, config.hidden);
    out.down = placer.matrix(config.hidden, config.ffn);
  }
  return out;
}

double elements(const PlacedMatrix& matrix) {
  return static_cast<double>(matrix.rows) * static_cast<double>(matrix.cols);
}

}  // namespace

std::int64_t padded_stride(std::int64_t cols, DType dtype) {
  return round_up(cols, 16 / static_cast<std::int64_t>(size_of(dtype)));
}

DecodeLayout decode_layout(const ModelConfig& config, DType dtype, bool neuron_major) {
  LACUNA_ASSERT(dtype == DType::F32 || dtype == DType::BF16);
  LACUNA_CHECK(!config.is_routed(), ErrorKind::Usage,
               "--device cuda runs silu, relu and drelu FFNs, not routed ones; use --device cpu");
  const std::int64_t largest = 512 / static_cast<std::int64_t>(size_of(dtype));
  LACUNA_CHECK(config.head_dim <= largest && config.head_dim % 2 == 0, ErrorKind::Usage,
               "--device cuda runs heads of even size up to {} in {}, and this model's are {}; use {}",
               largest, name_of(dtype), config.head_dim,
               config.head_dim <= 256 ? "--dtype bf16 or --device cpu" : "--device cpu");
  DecodeLayout out;
  out.config = config;
  out.dtype = dtype;
  out.neuron_major = neuron_major;
  Placer placer(out);
  out.embedding = placer.matrix(config.vocab, config.hidden);
  out.head = config.tied_embeddings ? out.embedding : placer.matrix(config.vocab, config.hidden);
  out.final_norm = placer.floats(config.hidden);
  for (std::int64_t layer = 0; layer < config.layers; ++layer) out.layers.push_back(place_layer(out, placer));
  return out;
}

double DecodeLayout::bytes_per_token(double up_rows, double down_rows) const {
  double sum = elements(head) + static_cast<double>(config.hidden);
  for (const PlacedLayer& layer : layers)
    sum += elements(layer.qkv) + elements(layer.output) + elements(layer.gate) +
           (up_rows + down_rows) * static_cast<double>(config.hidden);
  return sum * static_cast<double>(size_of(dtype));
}

double DecodeLayout::cache_bytes_per_position() const {
  return static_cast<double>(2 * config.layers * config.kv_width()) * static_cast<double>(size_of(dtype));
}

}  // namespace lacuna
