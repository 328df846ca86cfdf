// What a build without CUDA says.
#include "parallel/run/nccl/nccl.h"
#include "src/base/error.h"

namespace lacuna {

std::unique_ptr<Communicator> make_nccl_communicator(Communicator&, Device&, Progress*) {
  fail(ErrorKind::Usage, "built without CUDA: GPU ranks need a build with -DLACUNA_CUDA=ON");
}
const char* nccl_version() {
  return "";
}

}  // namespace lacuna
