#include "src/infer/cuda/cuda_backend.h"

#include <algorithm>
#include <cstring>

#include "kernels/cuda/decode_linear.h"
#include "src/base/error.h"

namespace lacuna {

namespace {

cuda::DecodeLaunch launch_on(cuda::Stream stream) {
  int device = 0, processors = 0, major = 0;
  LACUNA_CUDA(cudaGetDevice(&device));
  LACUNA_CUDA(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
  LACUNA_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  return {processors, major >= 9, stream};
}

}  // namespace

CudaBackend::CudaBackend(DeviceWeights weights, FfnPath path, std::int64_t context)
    : weights_(std::move(weights)),
      cache_(weights_.layout(), context),
      how_(launch_on(stream_)),
      token_step_(weights_, cache_, path, how_),
      pinned_(sizeof(Pinned)),
      host_tokens_(static_cast<std::size_t>(max_step()) * sizeof(std::int32_t)),
      tokens_(static_cast<std::size_t>(max_step()) * sizeof(std::int32_t), "the tokens of a step"),
      few_(static_cast<std::size_t>(kFew * cuda::partial_stride(weights_.config().hidden)) * sizeof(float),
           "the last hidden states") {
  statistics_.layers.resize(static_cast<std::size_t>(weights_.config().layers));
  LACUNA_CUDA(cudaDeviceSynchronize());  // memory is zeroed on another stream
}

CudaBackend::~CudaBackend() {
  cudaStreamSynchronize(stream_);
  if (graph_ != nullptr) cudaGraphExecDestroy(graph_);
}

void CudaBackend::forget_graph() {
  if (graph_ != nullptr) LACUNA_CUDA(cudaGraphExecDestroy(graph_));
  graph_ = nullptr;
}

void CudaBackend::record() {
  token_step_.place();
  LACUNA_CUDA(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
  token_step_.issue(&pinned_.as<Pinned>()->state, &pinned_.as<Pinned>()->best);
  cudaGraph_t graph = nullptr;
  LACUNA_CUDA(cudaStreamEndCapture(stream_, &graph));
  const cudaError_t status = cudaGraphInstantiate(&graph_, graph, 0);
  cudaGraphDestroy(graph);
  cuda::check(status, "cudaGraphInstantiate");
}

void CudaBackend::replay(std::int32_t token, std::int64_t position) {
  if (graph_ == nullptr) record();
  pinned_.as<Pinned>()->state = {token, static_cast<std::int32_t>(position)};
  LACUNA_CUDA(cudaGraphLaunch(graph_, stream_));
}

void CudaBackend::step(std::span<const std::int32_t> tokens, std::int64_t position) {
  const auto count = static_cast<std::int64_t>(tokens.size());
  LACUNA_ASSERT(count > 0 && count <= max_step());
  stream_.wait();  // pinned memory of the step before
  if (cache_.reserve(position + count, stream_)) forget_graph();
  if (count > kFew) {
    if (!prefill_) {
      prefill_ = std::make_unique<Prefill>(weights_, token_step_, max_step(), how_);
      LACUNA_CUDA(cudaDeviceSynchronize());
    }
    std::memcpy(host_tokens_.as<std::int32_t>(), tokens.data(), tokens.size_bytes());
    pinned_.as<Pinned>()->state = {0, static_cast<std::int32_t>(position)};
    LACUNA_CUDA(cudaMemcpyAsync(tokens_.data(), host_tokens_.as<std::int32_t>(), tokens.size_bytes(),
                                cudaMemcpyHostToDevice, stream_));
    LACUNA_CUDA(cudaMemcpyAsync(const_cast<std::int32_t*>(token_step_.position()),
                                &pinned_.as<Pinned>()->state.position, sizeof(std::int32_t),
                                cudaMemcpyHostToDevice, stream_));
    prefill_->run(tokens_.as<std::int32_t>(), count);
  } else {
    const std::int64_t stride = cuda::partial_stride(weights_.config().hidden);
    for (std::int64_t t = 0; t < count; ++t) {
      if (t > 0) stream_.wait();
      replay(tokens[static_cast<std::size_t>(t)], position + t);
      if (count > 1)
        LACUNA_CUDA(cudaMemcpyAsync(few_.as<float>() + t * stride, token_step_.hidden(),
                                    static_cast<std::size_t>(weights_.config().hidden) * sizeof(float),
                                    cudaMemcpyDeviceToDevice, stream_));
    }
  }
  last_count_ = count;
  statistics_.tokens += count;
  statistics_.steps += count > kFew ? 1 : count;
  for (FfnStatistics::Layer& layer : statistics_.layers) layer.elements += count * weights_.config().ffn;
}

float* CudaBackend::logits_room(std::int64_t count) {
  const std::size_t bytes = static_cast<std::size_t>(count * weights_.config().vocab) * sizeof(float);
  if (logits_.bytes() < bytes) {
    logits_ = DeviceMemory(bytes, "logits");
    LACUNA_CUDA(cudaDeviceSynchronize());
  }
  if (host_logits_.bytes() < bytes) host_logits_ = PinnedMemory(bytes);
  return logits_.as<float>();
}

ConstRows CudaBackend::logits(std::int64_t begin, std::int64_t count) {
  LACUNA_ASSERT(begin >= 0 && count > 0 && begin + count <= last_count_);
  const std::int64_t vocab = weights_.config().vocab;
  float* from = logits_room(count);
  if (last_count_ > kFew) {
    prefill_->head(begin, count, from);
  } else if (begin + count == last_count_ && count == 1) {
    from = token_step_.logits();
  } else {
    const std::int64_t stride = cuda::partial_stride(weights_.config().hidden);
    for (std::int64_t t = 0; t < count; ++t)
      token_step_.head(few_.as<float>() + (begin + t) * stride, from + t * vocab, nullptr);
  }
  auto* to = host_logits_.as<float>();
  LACUNA_CUDA(cudaMemcpyAsync(to, from, static_cast<std::size_t>(count * vocab) * sizeof(float),
                              cudaMemcpyDeviceToHost, stream_));
  stream_.wait();
  return {to, count, vocab, vocab};
}

std::int32_t CudaBackend::likeliest(std::int64_t index) {
  if (last_count_ > kFew || index != last_count_ - 1) return Backend::likeliest(index);
  stream_.wait();
  const std::uint64_t best = pinned_.as<Pinned>()->best;
  // Not finite: the sampler's errors say what is wrong with the logits.
  return cuda::best_is_finite(best) ? cuda::row_of_best(best) : Backend::likeliest(index);
}

const FfnStatistics& CudaBackend::statistics() const {
  std::vector<cuda::DecodeCounts> counts(statistics_.layers.size());
  stream_.wait();
  LACUNA_CUDA(cudaMemcpy(counts.data(), token_step_.counts(), counts.size() * sizeof counts[0],
                         cudaMemcpyDeviceToHost));
  for (std::size_t layer = 0; layer < counts.size(); ++layer) {
    statistics_.layers[layer].up_rows = static_cast<std::int64_t>(counts[layer].up_rows);
    statistics_.layers[layer].down_rows = static_cast<std::int64_t>(counts[layer].down_rows);
    statistics_.layers[layer].zeros = static_cast<std::int64_t>(counts[layer].zeros);
  }
  return statistics_;
}

void CudaBackend::clear_statistics() {
  const std::size_t layers = statistics_.layers.size();
  statistics_ = {};
  statistics_.layers.resize(layers);
  LACUNA_CUDA(cudaMemsetAsync(token_step_.counts(), 0, layers * sizeof(cuda::DecodeCounts), stream_));
}

}  // namespace lacuna
