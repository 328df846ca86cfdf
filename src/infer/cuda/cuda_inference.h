// Inference on a GPU as verbs see it; needs no CUDA header. In a build without CUDA there is no GPU, and the
// other functions fail with Error(Usage).
#pragma once

#include <memory>
#include <string>

#include "src/infer/engine.h"
#include "src/infer/random_model.h"

namespace lacuna {

// Empty when a GPU can be used, else why not.
std::string why_no_gpu();
std::string gpu_name();

struct GpuOptions {
  // Of the matrices: "bf16", "fp32", or "auto": bf16 stays bf16, all else becomes fp32 (fp64 is rounded to
  // it).
  std::string dtype = "auto";
};

// Backends on this thread's GPU.
BackendMaker gpu_backend(const GpuOptions& options);
// With "auto" in bf16.
std::unique_ptr<RandomModel> make_random_gpu_model(const ModelConfig& config, const GpuOptions& options,
                                                   const std::string& path, std::int64_t context);

// What a read stream should walk through: 16 GiB, or half of what is free.
std::size_t gpu_stream_bytes();
// Bytes per second of a plain read of `bytes` of GPU memory, the median of `rounds`.
double gpu_read_stream(std::size_t bytes, int rounds);

}  // namespace lacuna
