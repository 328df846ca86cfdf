// What a build without CUDA says.
#include "parallel/run/cuda/cuda_device.h"
#include "parallel/run/cuda/gpus.h"
#include "src/base/error.h"

namespace lacuna {
namespace {

[[noreturn]] void no_cuda() {
  fail(ErrorKind::Usage, "built without CUDA: --device cuda needs a build with -DLACUNA_CUDA=ON");
}

}  // namespace

std::vector<GpuInfo> gpus_by_pci() {
  return {};
}
void use_gpu(int) {
  no_cuda();
}
std::size_t free_gpu_bytes() {
  no_cuda();
}
std::unique_ptr<Device> make_cuda_device(void*) {
  no_cuda();
}
void* stream_of(Device&, Queue) {
  no_cuda();
}
std::unique_ptr<Communicator> make_cuda_communicator(Communicator&, Device&, Progress*) {
  no_cuda();
}
std::unique_ptr<SharedWindow> open_cuda_window(Communicator&, Device&, std::size_t) {
  no_cuda();
}

}  // namespace lacuna
