#include "optim/cuda/fused_update.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>

#include <cstring>

#include "kernels/cuda/adamw.h"
#include "kernels/cuda/norms.h"
#include "kernels/cuda/segments.h"
#include "src/base/error.h"

namespace lacuna {

namespace {

cudaStream_t stream() {
  return at::cuda::getCurrentCUDAStream().stream();
}

// A table of the host in device memory.
template <class Row>
at::Tensor on_device(const std::vector<Row>& rows, at::Device device) {
  const auto bytes = static_cast<std::int64_t>(rows.size() * sizeof(Row));
  const at::Tensor host = at::empty({std::max<std::int64_t>(bytes, 1)}, at::kByte);
  if (bytes > 0) std::memcpy(host.data_ptr(), rows.data(), static_cast<std::size_t>(bytes));
  return host.to(device);
}

}  // namespace

struct FusedUpdate::State {
  DType compute, accumulation;
  std::int64_t parts = 0;
  at::Tensor updates, gradients, chunks, gradient_chunks;  // tables
  std::int64_t chunk_count = 0, gradient_chunk_count = 0;
  at::Tensor squares, host_squares, workspace;
  at::Tensor control, host_control;  // one UpdateControl

  cuda::Chunks update_chunks() const {
    return {static_cast<const cuda::Chunk*>(chunks.const_data_ptr()), chunk_count};
  }
  cuda::Chunks norm_chunks() const {
    return {static_cast<const cuda::Chunk*>(gradient_chunks.const_data_ptr()), gradient_chunk_count};
  }
};

FusedUpdate::FusedUpdate(const std::vector<UpdatePart>& parts, DType compute)
    : state_(std::make_unique<State>()) {
  State& s = *state_;
  LACUNA_ASSERT(!parts.empty());
  const at::Device device = parts.front().master.device();
  s.compute = compute;
  s.accumulation = compute == DType::F64 ? DType::F64 : DType::F32;
  s.parts = static_cast<std::int64_t>(parts.size());
  std::vector<cuda::AdamWSegment> updates;
  std::vector<cuda::Segment> gradients;
  std::vector<std::int64_t> counts, counted;
  for (const UpdatePart& p : parts) {
    const std::int64_t n = p.master.numel();
    counts.push_back(n);
    counted.push_back(p.counted ? n : 0);
    updates.push_back({p.master.data_ptr(), p.grad.data_ptr(), p.exp_avg.data_ptr(), p.exp_avg_sq.data_ptr(),
                       p.weight.data_ptr(), n, p.weight_decay});
    gradients.push_back({nullptr, p.grad.data_ptr(), counted.back()});
  }
  const std::vector<cuda::Chunk> chunks = cuda::cut_into_chunks(counts),
                                 norm = cuda::cut_into_chunks(counted);
  s.updates = on_device(updates, device);
  s.gradients = on_device(gradients, device);
  s.chunks = on_device(chunks, device);
  s.gradient_chunks = on_device(norm, device);
  s.chunk_count = static_cast<std::int64_t>(chunks.size());
  s.gradient_chunk_count = static_cast<std::int64_t>(norm.size());
  const at::TensorOptions numbers = at::TensorOptions().dtype(at::kDouble);
  s.squares = at::zeros({s.parts}, numbers.device(device));
  s.host_squares = at::zeros({s.parts}, numbers.pinned_memory(true));
  const auto scratch = static_cast<std::int64_t>(cuda::sum_squares_workspace(s.gradient_chunk_count));
  s.workspace = at::empty({std::max<std::int64_t>(scratch, 1)}, numbers.dtype(at::kByte).device(device));
  const auto control = static_cast<std::int64_t>(sizeof(cuda::UpdateControl));
  s.control = at::zeros({control}, numbers.dtype(at::kByte).device(device));
  s.host_control = at::zeros({control}, numbers.dtype(at::kByte).pinned_memory(true));
}

FusedUpdate::~FusedUpdate() = default;

void FusedUpdate::fetch_squares() {
  State& s = *state_;
  cuda::sum_squares(s.accumulation, static_cast<const cuda::Segment*>(s.gradients.const_data_ptr()), s.parts,
                    s.norm_chunks(), s.squares.data_ptr<double>(), s.workspace.data_ptr(), stream());
  s.host_squares.copy_(s.squares, true);
}

std::vector<double> FusedUpdate::squares() const {
  const double* from = state_->host_squares.const_data_ptr<double>();
  return {from, from + state_->parts};
}

void FusedUpdate::step(double lr, double grad_scale, std::int64_t step, const AdamWOptions& options) {
  State& s = *state_;
  const cuda::UpdateControl control{0, grad_scale, 1};
  // The device has read the last step's values: the host has waited for it since.
  std::memcpy(s.host_control.data_ptr(), &control, sizeof control);
  s.control.copy_(s.host_control, true);
  cuda::adamw(s.compute, static_cast<const cuda::AdamWSegment*>(s.updates.const_data_ptr()),
              s.update_chunks(), {lr, options.beta1, options.beta2, options.eps, step},
              static_cast<const cuda::UpdateControl*>(s.control.const_data_ptr()), stream());
}

}  // namespace lacuna
