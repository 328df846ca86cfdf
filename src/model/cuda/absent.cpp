// Stands in for the CUDA operations in a build without CUDA.
#include "src/base/error.h"
#include "src/model/cuda/ops.h"

namespace lacuna::on_cuda {

namespace {

[[noreturn]] void absent() {
  fail(ErrorKind::Usage, "this build has no CUDA: say --device cpu, or build with -DLACUNA_CUDA=ON");
}

}  // namespace

using T = const at::Tensor&;

bool built() {
  return false;
}
int device_count() {
  return 0;
}
void* use_device(int) {
  absent();
}
void synchronise() {
  absent();
}
std::int64_t synchronisations() {
  return 0;
}
AllocatorBytes allocator_bytes(int) {
  absent();
}
void record_allocations() {
  absent();
}
std::vector<AllocationEvent> take_allocations() {
  absent();
}
void set_deterministic(bool) {
  absent();
}
void linear(T, T, T, T) {
  absent();
}
void linear_add(T, T, T, T) {
  absent();
}
void linear_input_grad(T, T, T, bool) {
  absent();
}
void linear_weight_grad(T, T, T, bool) {
  absent();
}
void bias_grad(T, T) {
  absent();
}
void rms_norm(T, T, double, T, T) {
  absent();
}
void rms_norm_backward(T, T, T, T, T, T, T, T) {
  absent();
}
void rotate(const Rotation&, T, T, std::int64_t, bool) {
  absent();
}
void glu_forward(Activation, T, T, T, T) {
  absent();
}
void glu_backward(Activation, T, T, T, T, double) {
  absent();
}
void embed(T, std::int64_t, T, T) {
  absent();
}
RowIndex index_rows(std::span<const std::int32_t>, std::int64_t, std::int64_t, at::Device) {
  absent();
}
void embed_grad(const RowIndex&, T, T) {
  absent();
}
void cross_entropy(T, T, std::int64_t, double, T) {
  absent();
}
void logit_statistics(T, T, std::int64_t, std::int64_t, T, T) {
  absent();
}
void logit_rebase(T, T, std::int64_t, std::int64_t, T, T, T) {
  absent();
}
void logit_gradient(T, T, std::int64_t, std::int64_t, T, T, double, T) {
  absent();
}
void attention_forward(const AttentionPlan&, T, T, T, T, T) {
  absent();
}
QueryKeyGrads attention_backward(const AttentionPlan&, T, T, T, T, T, T) {
  absent();
}
void upload(std::span<const std::int32_t>, T) {
  absent();
}

}  // namespace lacuna::on_cuda
