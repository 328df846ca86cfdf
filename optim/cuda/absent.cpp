// Stands in for the fused update in a build without CUDA.
#include "optim/cuda/fused_update.h"
#include "src/base/error.h"

namespace lacuna {

struct FusedUpdate::State {};

FusedUpdate::FusedUpdate(const std::vector<UpdatePart>&, DType) {
  fail(ErrorKind::Usage, "this build has no CUDA: say --device cpu, or build with -DLACUNA_CUDA=ON");
}
FusedUpdate::~FusedUpdate() = default;
void FusedUpdate::fetch_squares() {}
std::vector<double> FusedUpdate::squares() const {
  return {};
}
void FusedUpdate::step(double, double, std::int64_t, const AdamWOptions&) {}

}  // namespace lacuna
