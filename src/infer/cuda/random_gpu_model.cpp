// Models of random weights, made on the GPU: the values that src/infer/random_model.h defines.
#include "kernels/cuda/decode_random.h"
#include "src/arch/parameters.h"
#include "src/base/error.h"
#include "src/infer/cuda/cuda_backend.h"
#include "src/infer/cuda/cuda_inference.h"

namespace lacuna {

namespace {

class GpuRandomModel final : public RandomModel {
 public:
  GpuRandomModel(const ModelConfig& config, DType dtype, FfnPath path, std::int64_t context)
      : context_(context),
        backend_(DeviceWeights(decode_layout(config, dtype, config.activation != Activation::Silu)), path,
                 context) {
    for (const Parameter& p : parameters(config)) fill(p);
    if (config.is_routed()) place_experts();
    set_zeros(0);
  }
  Backend& backend() override { return backend_; }
  std::int64_t context() const override { return context_; }
  double bytes_per_token(double up_rows, double down_rows) const override {
    return layout().bytes_per_token(up_rows, down_rows);
  }
  void set_zeros(double zeros) override {
    const ModelConfig& config = layout().config;
    const DeviceMemory signs(static_cast<std::size_t>(config.ffn) * sizeof(float), "signs of neurons");
    const auto size = static_cast<float>(random_scale(config, "gate_proj.weight").decisive);
    for (std::int64_t layer = 0; layer < config.layers; ++layer) {
      const NeuronSigns drawn = neuron_signs(config, layer, zeros);
      const PlacedLayer& placed = layout().layers[static_cast<std::size_t>(layer)];
      const auto put = [&](const std::vector<float>& values, const PlacedMatrix& matrix) {
        LACUNA_CUDA(
            cudaMemcpy(signs.data(), values.data(), values.size() * sizeof(float), cudaMemcpyHostToDevice));
        cuda::decode_fill_column(weights().matrix(matrix), 0, signs.as<float>(), size, nullptr);
        LACUNA_CUDA(cudaDeviceSynchronize());
      };
      put(drawn.gate, placed.gate);
      put(drawn.up, placed.up);
    }
  }

 private:
  DeviceWeights& weights() { return backend_.weights(); }
  const DecodeLayout& layout() const { return const_cast<CudaBackend&>(backend_).weights().layout(); }

  // The matrix that holds parameter `p` on the device.
  cuda::DecodeMatrix matrix_of(const Parameter& p) {
    const DecodeLayout& all = layout();
    const ModelConfig& config = all.config;
    if (p.role == Role::Embedding) return weights().matrix(all.embedding);
    if (p.role == Role::Head) return weights().matrix(all.head);
    const PlacedLayer& layer = all.layers[static_cast<std::size_t>(p.layer)];
    switch (p.role) {
      case Role::Query:
        return weights().matrix(layer.qkv, 0, config.query_width());
      case Role::Key:
        return weights().matrix(layer.qkv, config.query_width(), config.kv_width());
      case Role::Value:
        return weights().matrix(layer.qkv, config.query_width() + config.kv_width(), config.kv_width());
      case Role::Output:
        return weights().matrix(layer.output);
      case Role::Gate:
        return weights().matrix(layer.gate);
      case Role::Up:
        return weights().matrix(layer.up);
      case Role::Down:
        return weights().matrix(layer.down);
      default:
        fail(ErrorKind::Usage, "random weights on a GPU: {} is no matrix of a decode layout", p.name);
    }
  }

  void fill_ones(std::int64_t offset, std::int64_t count) {
    const std::vector<float> ones(static_cast<std::size_t>(count), 1.0f);
    LACUNA_CUDA(cudaMemcpy(weights().floats(offset), ones.data(), ones.size() * sizeof(float),
                           cudaMemcpyHostToDevice));
  }

  // Of a router's tensors, all in fp32 on the device: the values of a model that is stored in the layout's
  // type.
  void fill_router(const Parameter& p, const cuda::DecodeMatrix& to) {
    const float half = half_width(random_scale(layout().config, p.name).std);
    const std::uint64_t key = rng_key(kRandomModelSeed, p.name);
    std::vector<float> values(static_cast<std::size_t>(p.elements()));
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = random_value(key, i, half);
      if (layout().dtype == DType::BF16) values[i] = from_bf16(to_bf16(values[i]));
    }
    const auto row = static_cast<std::size_t>(to.cols) * sizeof(float);
    LACUNA_CUDA(cudaMemcpy2D(const_cast<void*>(to.data), static_cast<std::size_t>(to.stride) * sizeof(float),
                             values.data(), row, row, static_cast<std::size_t>(to.rows),
                             cudaMemcpyHostToDevice));
  }

  // True: `p` was a tensor of a router.
  bool filled_router(const Parameter& p) {
    if (p.layer < 0 || p.layer >= layout().config.layers) return false;
    const RoutedFfn& routed = layout().config.routed;
    const PlacedRouter& placed = layout().layers[static_cast<std::size_t>(p.layer)].router;
    const std::int64_t experts = routed.experts, weight = routed.has_weight() ? experts : 0;
    const auto vector_at = [&](std::int64_t offset) {
      return cuda::DecodeMatrix{weights().floats(offset), DType::F32, 1, experts, experts};
    };
    if (p.role == Role::RouterWeight)
      fill_router(p, weights().matrix(placed.rows, 0, experts));
    else if (p.role == Role::RouterGate)
      fill_router(p, weights().matrix(placed.rows, weight, experts * routed.rank));
    else if (p.role == Role::RouterUp)
      fill_router(p, weights().matrix(placed.rows, weight + experts * routed.rank, experts * routed.rank));
    else if (p.role == Role::RouterBias)
      fill_router(p, vector_at(placed.bias));
    else if (p.role == Role::RouterScale)
      fill_router(p, vector_at(placed.scale));
    else if (p.role == Role::ExpertMean)
      fill_router(p, weights().matrix(placed.mean));
    else
      return false;
    return true;
  }

  void place_experts() {
    const ModelConfig& config = layout().config;
    for (std::int64_t layer = 0; layer < config.layers; ++layer) {
      const RoutedLayer neurons = routed_layer(config.routed, config.ffn, layer);
      const std::vector<std::int32_t> begin(neurons.begin.begin(), neurons.begin.end());
      const PlacedRouter& placed = layout().layers[static_cast<std::size_t>(layer)].router;
      LACUNA_CUDA(cudaMemcpy(weights().integers(placed.begin), begin.data(),
                             begin.size() * sizeof(std::int32_t), cudaMemcpyHostToDevice));
    }
  }

  void fill(const Parameter& p) {
    if (filled_router(p)) return;
    if (p.role == Role::FinalNorm) return fill_ones(layout().final_norm, layout().config.hidden);
    if (p.role == Role::AttentionNorm || p.role == Role::FfnNorm) {
      const PlacedLayer& layer = layout().layers[static_cast<std::size_t>(p.layer)];
      return fill_ones(p.role == Role::FfnNorm ? layer.ffn_norm : layer.attention_norm,
                       layout().config.hidden);
    }
    const RandomScale scale = random_scale(layout().config, p.name);
    const cuda::DecodeMatrix matrix = matrix_of(p);
    const bool transposed = p.role == Role::Down && layout().neuron_major;
    cuda::decode_fill(matrix, rng_key(kRandomModelSeed, p.name), half_width(scale.std), transposed, nullptr);
    if (scale.constant != 0)
      cuda::decode_fill_column(matrix, 0, nullptr, static_cast<float>(scale.constant), nullptr);
    if (!scale.no_row_zero) return;
    if (transposed)
      cuda::decode_fill_column(matrix, 0, nullptr, 0, nullptr);
    else
      LACUNA_CUDA(cudaMemsetAsync(const_cast<void*>(matrix.data), 0,
                                  static_cast<std::size_t>(matrix.stride) * size_of(matrix.dtype), nullptr));
  }

  std::int64_t context_;
  CudaBackend backend_;
};

}  // namespace

std::unique_ptr<RandomModel> make_random_gpu_model(const ModelConfig& config, const GpuOptions& options,
                                                   const std::string& path, std::int64_t context) {
  const std::string why = why_no_gpu();
  LACUNA_CHECK(why.empty(), ErrorKind::Usage, "--device cuda: {}", why);
  const FfnPath ffn = path == "sparse" ? FfnPath::Sparse : FfnPath::Dense;
  const DType dtype = options.dtype == "fp32" ? DType::F32 : DType::BF16;
  auto out = std::make_unique<GpuRandomModel>(config, dtype, ffn, context);
  LACUNA_CUDA(cudaDeviceSynchronize());
  return out;
}

}  // namespace lacuna
