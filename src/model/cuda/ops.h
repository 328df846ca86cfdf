// The operations of a transformer block on CUDA tensors, each the twin of the function of the same name in
// src/model. They queue work on the current CUDA stream and return; nothing is allocated that the caching
// allocator does not hand back from the step before. In a build without CUDA every one of them is an
// Error(Usage).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "src/arch/model_config.h"

namespace lacuna::on_cuda {

// Whether this build has CUDA, and how many devices the driver shows (0 without).
bool built();
int device_count();
// Makes `index` the current device of this thread and a stream of its own the current stream, on which every
// operation of this thread is then queued; returns the stream (cudaStream_t).
void* use_device(int index);
// Waits until everything queued on the current stream is done. Counted: the trainer's test reads how often.
void synchronise();
std::int64_t synchronisations();
// Device memory that the caching allocator holds from the driver, and has handed out, in bytes; the most so
// far.
struct AllocatorBytes {
  std::int64_t reserved = 0, allocated = 0, peak_allocated = 0, driver_calls = 0;
};
AllocatorBytes allocator_bytes(int device);
// What the current stream of this thread asks of the allocator from record_allocations() to
// take_allocations().
enum class AllocatorCall : std::uint8_t { Allocate, Free, FromDriver };
struct AllocationEvent {
  AllocatorCall call = AllocatorCall::Allocate;
  std::int64_t bytes = 0;
  bool operator==(const AllocationEvent&) const = default;
};
void record_allocations();
std::vector<AllocationEvent> take_allocations();
// Attention and its like by deterministic algorithms only, at some cost (docs/numerics.md).
void set_deterministic(bool on);

// ---- matrix products; see src/model/linear.h
void linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& y);
void linear_add(const at::Tensor& residual, const at::Tensor& x, const at::Tensor& weight,
                const at::Tensor& y);
void linear_input_grad(const at::Tensor& dy, const at::Tensor& weight, const at::Tensor& dx, bool add);
// add: to what grad holds; otherwise its values are not read.
void linear_weight_grad(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& grad, bool add);
void bias_grad(const at::Tensor& dy, const at::Tensor& grad);

// ---- norm and rotary embedding; see src/model/norm.h and rope.h
void rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, const at::Tensor& y,
              const at::Tensor& rstd);
void rms_norm_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& rstd,
                       const at::Tensor& weight, const at::Tensor& carried, const at::Tensor& dx,
                       const at::Tensor& weight_grad, const at::Tensor& carried_copy);
struct Rotation {
  const at::Tensor& query;
  const at::Tensor& key;
  at::Tensor query_from, key_from;  // undefined: in place
};
void rotate(const Rotation& rows, const at::Tensor& cos, const at::Tensor& sin, std::int64_t seq_len,
            bool back);

// ---- gated product; see src/model/ffn_glu.h. `tally`: 16 bytes, zeros and sum of |product| are added;
// undefined: nothing is counted.
void glu_forward(Activation activation, const at::Tensor& gate, const at::Tensor& up,
                 const at::Tensor& product, const at::Tensor& tally);
void glu_backward(Activation activation, const at::Tensor& gate, const at::Tensor& up,
                  const at::Tensor& product, const at::Tensor& product_grad, double l1);

// ---- embedding; tokens int32 [tokens] on the device, `first` the first vocabulary row of the table
void embed(const at::Tensor& table, std::int64_t first, const at::Tensor& tokens, const at::Tensor& out);
// Tokens by the row that they add to, made on the host: unique rows of the local table, ascending; offsets
// into positions; positions ascending within a row. int32 on the device; `rows` counts what is valid.
struct RowIndex {
  at::Tensor rows, offsets, positions;
  std::int64_t count = 0;
};
RowIndex index_rows(std::span<const std::int32_t> tokens, std::int64_t first, std::int64_t rows,
                    at::Device device);
void embed_grad(const RowIndex& index, const at::Tensor& grad_rows, const at::Tensor& table_grad);

// ---- cross-entropy over a chunk of logits [rows, columns]; targets int32 [rows] on the device. One rank:
// all in one. Several: the rank's own maximum and sums, the maximum over the ranks by the caller, rebase, the
// sum over the ranks by the caller, gradient. `top` [rows], `sums` [rows, 2] (sum of exponentials, target
// logit minus top) in the accumulation type; `loss` one double, added to.
void cross_entropy(const at::Tensor& logits, const at::Tensor& targets, std::int64_t valid, double scale,
                   const at::Tensor& loss);
void logit_statistics(const at::Tensor& logits, const at::Tensor& targets, std::int64_t first,
                      std::int64_t valid, const at::Tensor& top, const at::Tensor& sums);
void logit_rebase(const at::Tensor& logits, const at::Tensor& targets, std::int64_t first, std::int64_t valid,
                  const at::Tensor& top, const at::Tensor& top_of_all, const at::Tensor& sums);
void logit_gradient(const at::Tensor& logits, const at::Tensor& targets, std::int64_t first,
                    std::int64_t valid, const at::Tensor& top, const at::Tensor& sums, double scale,
                    const at::Tensor& loss);

// ---- attention; see src/model/attention.h
struct AttentionPlan {
  std::int64_t sequences = 1, seq_len = 1, kv_heads = 1, group = 1, head_dim = 2, window = 0;
};
// bf16: cuDNN, or flash attention where cuDNN does not fit or determinism is asked for; else our own exact
// kernel.
void attention_forward(const AttentionPlan& plan, const at::Tensor& query, const at::Tensor& key,
                       const at::Tensor& value, const at::Tensor& context, const at::Tensor& lse);
// The gradient of value replaces it. Those of query and key are returned where the library left them, or have
// replaced them: then the result is undefined.
struct QueryKeyGrads {
  at::Tensor query, key;  // [tokens, heads·d]
};
QueryKeyGrads attention_backward(const AttentionPlan& plan, const at::Tensor& query, const at::Tensor& key,
                                 const at::Tensor& value, const at::Tensor& context, const at::Tensor& lse,
                                 const at::Tensor& context_grad);

// ---- copies between host and device that do not wait: values go through pinned memory.
void upload(std::span<const std::int32_t> values, const at::Tensor& to);

}  // namespace lacuna::on_cuda
