// Stands in for this folder in a build without CUDA.
#include "src/base/error.h"
#include "src/infer/cuda/cuda_inference.h"

namespace lacuna {

namespace {

[[noreturn]] void absent() {
  fail(ErrorKind::Usage, "{}", why_no_gpu());
}

}  // namespace

std::string why_no_gpu() {
  return "built without CUDA (configure with -DLACUNA_CUDA=ON)";
}
std::string gpu_name() {
  absent();
}
BackendMaker gpu_backend(const GpuOptions&) {
  absent();
}
std::unique_ptr<RandomModel> make_random_gpu_model(const ModelConfig&, const GpuOptions&, const std::string&,
                                                   std::int64_t) {
  absent();
}
std::size_t gpu_stream_bytes() {
  absent();
}
double gpu_read_stream(std::size_t, int) {
  absent();
}

}  // namespace lacuna
