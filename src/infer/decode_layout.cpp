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
  PlacedMatrix matrix(std::int64_t rows, std::int64_t cols) { return matrix(rows, cols, layout_.dtype); }
  PlacedMatrix matrix(std::int64_t rows, std::int64_t cols, DType dtype) {
    const std::int64_t stride = padded_stride(cols, dtype);
    return {take(rows * stride * static_cast<std::int64_t>(size_of(dtype))), rows, cols, stride, dtype};
  }
  // Two matrices of equal shape, row beside row.
  void pair(std::int64_t rows, std::int64_t cols, PlacedMatrix& first, PlacedMatrix& second) {
    const std::int64_t half = padded_stride(cols, layout_.dtype);
    first = {take(rows * 2 * half * element()), rows, cols, 2 * half, layout_.dtype};
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

PlacedRouter place_router(const ModelConfig& config, Placer& placer) {
  const RoutedFfn& routed = config.routed;
  const std::int64_t rows = (routed.has_weight() ? routed.experts : 0) + 2 * routed.experts * routed.rank;
  PlacedRouter out;
  if (rows > 0) out.rows = placer.matrix(rows, config.hidden, DType::F32);
  out.mean = placer.matrix(routed.experts, config.hidden, DType::F32);
  if (routed.has_bias()) out.bias = placer.floats(routed.experts);
  if (routed.has_scores()) out.scale = placer.floats(routed.experts);
  out.begin = placer.floats(routed.experts + 1);
  return out;
}

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
  if (config.is_routed()) out.router = place_router(config, placer);
  return out;
}

double bytes_of(const PlacedMatrix& matrix) {
  return static_cast<double>(matrix.rows) * static_cast<double>(matrix.cols) *
         static_cast<double>(size_of(matrix.dtype));
}

}  // namespace

std::int64_t padded_stride(std::int64_t cols, DType dtype) {
  return round_up(cols, 16 / static_cast<std::int64_t>(size_of(dtype)));
}

DecodeLayout decode_layout(const ModelConfig& config, DType dtype, bool neuron_major) {
  LACUNA_ASSERT(dtype == DType::F32 || dtype == DType::BF16);
  LACUNA_CHECK(!config.is_routed() || config.routed.router != RouterKind::Oracle, ErrorKind::Usage,
               "the oracle router reads every neuron before it chooses: --device cpu --path dense runs it");
  const std::int64_t largest = 512 / static_cast<std::int64_t>(size_of(dtype));
  LACUNA_CHECK(config.head_dim <= largest && config.head_dim % 2 == 0, ErrorKind::Usage,
               "--device cuda runs heads of even size up to {} in {}, and this model's are {}; use {}",
               largest, name_of(dtype), config.head_dim,
               config.head_dim <= 256 ? "--dtype bf16 or --device cpu" : "--device cpu");
  DecodeLayout out;
  out.config = config;
  out.dtype = dtype;
  out.neuron_major = neuron_major || config.is_routed();
  Placer placer(out);
  out.embedding = placer.matrix(config.vocab, config.hidden);
  out.head = config.tied_embeddings ? out.embedding : placer.matrix(config.vocab, config.hidden);
  out.final_norm = placer.floats(config.hidden);
  for (std::int64_t layer = 0; layer < config.layers; ++layer) out.layers.push_back(place_layer(out, placer));
  return out;
}

double DecodeLayout::bytes_per_token(double up_rows, double down_rows) const {
  const double row = static_cast<double>(config.hidden) * static_cast<double>(size_of(dtype));
  double sum = bytes_of(head) + row;
  for (const PlacedLayer& layer : layers) {
    sum += bytes_of(layer.qkv) + bytes_of(layer.output) + (up_rows + down_rows) * row;
    sum += config.is_routed() ? up_rows * row : bytes_of(layer.gate);
    sum += bytes_of(layer.router.rows) + bytes_of(layer.router.mean);
  }
  return sum;
}

double DecodeLayout::cache_bytes_per_position() const {
  return static_cast<double>(2 * config.layers * config.kv_width()) * static_cast<double>(size_of(dtype));
}

}  // namespace lacuna
