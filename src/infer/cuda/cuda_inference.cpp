#include "src/infer/cuda/cuda_inference.h"

#include <algorithm>
#include <vector>

#include "kernels/cuda/decode_rows.h"
#include "src/base/error.h"
#include "src/infer/cuda/cuda_backend.h"

namespace lacuna {

std::string why_no_gpu() {
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status != cudaSuccess) {
    cudaGetLastError();
    return std::string("no GPU answers: ") + cudaGetErrorString(status);
  }
  return devices > 0 ? "" : "no GPU in this machine";
}

std::string gpu_name() {
  int device = 0;
  LACUNA_CUDA(cudaGetDevice(&device));
  cudaDeviceProp properties;
  LACUNA_CUDA(cudaGetDeviceProperties(&properties, device));
  return properties.name;
}

namespace {

DType dtype_on_gpu(const std::string& name, DType stored) {
  if (name == "auto") return stored == DType::BF16 ? DType::BF16 : DType::F32;
  LACUNA_CHECK(name == "bf16" || name == "fp32", ErrorKind::Usage,
               "--dtype '{}' is unknown (auto, bf16, fp32)", name);
  return name == "bf16" ? DType::BF16 : DType::F32;
}

}  // namespace

BackendMaker gpu_backend(const GpuOptions& options) {
  const std::string why = why_no_gpu();
  LACUNA_CHECK(why.empty(), ErrorKind::Usage, "--device cuda: {}", why);
  return [options](const Weights& weights, FfnPath path, std::int64_t context) -> std::unique_ptr<Backend> {
    const DType on_gpu =
        dtype_on_gpu(options.dtype, weights.source().stored_dtype("model.embed_tokens.weight"));
    return std::make_unique<CudaBackend>(upload_weights(weights, on_gpu), path, context);
  };
}

// Not less: of memory that was used and freed, 4 GiB have been read 16 % slower than 16 GiB
// (docs/performance.md).
std::size_t gpu_stream_bytes() {
  std::size_t available = 0, all = 0;
  LACUNA_CUDA(cudaMemGetInfo(&available, &all));
  return std::min(std::size_t{16} << 30, available / 2 / 16 * 16);
}

double gpu_read_stream(std::size_t bytes, int rounds) {
  const DeviceMemory memory(bytes, "the read stream"), sink(4, "the read stream");
  int device = 0, processors = 0;
  LACUNA_CUDA(cudaGetDevice(&device));
  LACUNA_CUDA(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
  LACUNA_CUDA(cudaMemset(memory.data(), 0x3c, bytes));
  const OwnedStream stream;
  cudaEvent_t start = nullptr, end = nullptr;
  LACUNA_CUDA(cudaEventCreate(&start));
  LACUNA_CUDA(cudaEventCreate(&end));
  LACUNA_CUDA(cudaDeviceSynchronize());
  std::vector<double> speeds;
  for (int round = -1; round < rounds; ++round) {  // the first warms up
    LACUNA_CUDA(cudaEventRecord(start, stream));
    cuda::read_stream(memory.data(), bytes, sink.as<float>(), {processors, false, stream});
    LACUNA_CUDA(cudaEventRecord(end, stream));
    stream.wait();
    float ms = 0;
    LACUNA_CUDA(cudaEventElapsedTime(&ms, start, end));
    if (round >= 0) speeds.push_back(static_cast<double>(bytes) / (ms * 1e-3));
  }
  cudaEventDestroy(start);
  cudaEventDestroy(end);
  std::nth_element(speeds.begin(), speeds.begin() + rounds / 2, speeds.end());
  return speeds[static_cast<std::size_t>(rounds / 2)];
}

}  // namespace lacuna
