// Linear layers, norm, rotary embedding, gated product, embedding and loss on CUDA tensors.
#include <algorithm>

#include "kernels/cuda/cross_entropy.h"
#include "kernels/cuda/embedding.h"
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/rms_norm.h"
#include "kernels/cuda/train_glu.h"
#include "kernels/cuda/train_rope.h"
#include "src/model/cuda/current.h"
#include "src/model/cuda/gemm.h"
#include "src/model/cuda/ops.h"

namespace lacuna::on_cuda {

// ---- matrix products

namespace {

enum class Transposed { None, A, B };

// out = a·b + add, with one of them transposed or none; an undefined `add` adds nothing, and it may be `out`.
void multiply(const at::Tensor& a, const at::Tensor& b, Transposed which, const at::Tensor& add,
              const at::Tensor& out) {
  const bool turn_a = which == Transposed::A, turn_b = which == Transposed::B;
  gemm({.rows = a.size(turn_a ? 1 : 0),
        .cols = b.size(turn_b ? 0 : 1),
        .depth = a.size(turn_a ? 0 : 1),
        .a = a.const_data_ptr(),
        .b = b.const_data_ptr(),
        .a_transposed = turn_a,
        .b_transposed = turn_b,
        .out = out.data_ptr(),
        .add = add.defined() ? add.const_data_ptr() : nullptr,
        .in = a.scalar_type(),
        .result = out.scalar_type()});
}

}  // namespace

void linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& y) {
  if (bias.defined()) y.copy_(bias.expand_as(y));
  linear_add(bias.defined() ? y : at::Tensor{}, x, weight, y);
}

void linear_add(const at::Tensor& residual, const at::Tensor& x, const at::Tensor& weight,
                const at::Tensor& y) {
  multiply(x, weight, Transposed::B, residual, y);
}

void linear_input_grad(const at::Tensor& dy, const at::Tensor& weight, const at::Tensor& dx, bool add) {
  multiply(dy, weight, Transposed::None, add ? dx : at::Tensor{}, dx);
}

void linear_weight_grad(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& grad, bool add) {
  multiply(dy, x, Transposed::A, add ? grad : at::Tensor{}, grad);
}

void bias_grad(const at::Tensor& dy, const at::Tensor& grad) {
  const DType type = dtype_of(dy);
  const at::Tensor scratch = workspace(cuda::column_sums_workspace(type, dy.size(0), dy.size(1)), dy);
  cuda::column_sums(type, dy.const_data_ptr(), dy.size(1), dy.size(0), dy.size(1), grad.data_ptr(),
                    scratch.data_ptr(), stream());
}

// ---- norm and rotary embedding

void rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, const at::Tensor& y,
              const at::Tensor& rstd) {
  cuda::rms_norm(dtype_of(x), x.const_data_ptr(), weight.const_data_ptr(), eps, y.data_ptr(), rstd.data_ptr(),
                 x.numel() / weight.numel(), weight.numel(), stream());
}

void rms_norm_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& rstd,
                       const at::Tensor& weight, const at::Tensor& carried, const at::Tensor& dx,
                       const at::Tensor& weight_grad, const at::Tensor& carried_copy) {
  const DType type = dtype_of(x);
  const std::int64_t n = weight.numel(), rows = x.numel() / n;
  const at::Tensor scratch = workspace(cuda::rms_norm_backward_workspace(type, rows, n), x);
  const at::Tensor sums = weight_grad.defined() ? weight_grad : at::empty({n}, rstd.options());
  cuda::RmsNormGrad grad;
  grad.dy = dy.const_data_ptr();
  grad.x = x.const_data_ptr();
  grad.rstd = rstd.const_data_ptr();
  grad.weight = weight.const_data_ptr();
  grad.carried = carried.defined() ? carried.const_data_ptr() : nullptr;
  grad.dx = dx.data_ptr();
  grad.carried_copy = carried_copy.defined() ? carried_copy.data_ptr() : nullptr;
  grad.weight_grad = sums.data_ptr();
  grad.workspace = scratch.data_ptr();
  cuda::rms_norm_backward(type, grad, rows, n, stream());
}

void rotate(const Rotation& rows, const at::Tensor& cos, const at::Tensor& sin, std::int64_t seq_len,
            bool back) {
  const std::int64_t head_dim = 2 * cos.size(1);
  const auto side = [&](const at::Tensor& x, const at::Tensor& from) {
    return cuda::RopeRows{x.data_ptr(), x.size(1) / head_dim, x.size(1),
                          from.defined() ? from.const_data_ptr() : nullptr};
  };
  const cuda::RopeRows query = side(rows.query, rows.query_from), key = side(rows.key, rows.key_from);
  const cuda::RopeAngles angles{cos.const_data_ptr(), sin.const_data_ptr(), seq_len, head_dim};
  const DType type = dtype_of(rows.query);
  if (back)
    cuda::rope_rotate_back(type, query, key, angles, rows.query.size(0), stream());
  else
    cuda::rope_rotate(type, query, key, angles, rows.query.size(0), stream());
}

// ---- gated product

namespace {

cuda::GluShape glu_shape(Activation activation, const at::Tensor& gate) {
  cuda::GluShape shape;
  shape.gating = activation == Activation::Silu   ? Gating::Silu
                 : activation == Activation::Relu ? Gating::Relu
                                                  : Gating::Drelu;
  shape.dtype = dtype_of(gate);
  shape.rows = gate.size(0);
  shape.cols = gate.size(1);
  return shape;
}

}  // namespace

void glu_forward(Activation activation, const at::Tensor& gate, const at::Tensor& up,
                 const at::Tensor& product, const at::Tensor& tally) {
  const cuda::GluShape shape = glu_shape(activation, gate);
  const at::Tensor scratch = workspace(cuda::glu_forward_workspace(shape), gate);
  const at::Tensor ignored = tally.defined() ? at::Tensor{} : workspace(sizeof(cuda::ProductSums), gate);
  void* sums = tally.defined() ? tally.data_ptr() : ignored.data_ptr();
  cuda::glu_forward(shape, gate.const_data_ptr(), up.const_data_ptr(), product.data_ptr(),
                    static_cast<cuda::ProductSums*>(sums), scratch.data_ptr(), stream());
}

void glu_backward(Activation activation, const at::Tensor& gate, const at::Tensor& up,
                  const at::Tensor& product, const at::Tensor& product_grad, double l1) {
  cuda::glu_backward(glu_shape(activation, gate), gate.data_ptr(), up.data_ptr(), product.const_data_ptr(),
                     product_grad.const_data_ptr(), l1, stream());
}

// ---- embedding

void embed(const at::Tensor& table, std::int64_t first, const at::Tensor& tokens, const at::Tensor& out) {
  cuda::embedding_rows(dtype_of(table), table.const_data_ptr(), first, table.size(0),
                       tokens.const_data_ptr<std::int32_t>(), tokens.numel(), table.size(1), out.data_ptr(),
                       stream());
}

RowIndex index_rows(std::span<const std::int32_t> tokens, std::int64_t first, std::int64_t rows,
                    at::Device device) {
  const cuda::TokenIndex index = cuda::index_tokens(tokens, first, rows);
  // Room for the worst case, so that what is allocated does not depend on the tokens.
  const auto most = static_cast<std::int64_t>(tokens.size());
  const at::Tensor memory = at::empty({3, most + 1}, at::TensorOptions().dtype(at::kInt).device(device));
  RowIndex out{memory[0], memory[1], memory[2], static_cast<std::int64_t>(index.rows.size())};
  upload(index.rows, out.rows);
  upload(index.offsets, out.offsets);
  upload(index.positions, out.positions);
  return out;
}

void embed_grad(const RowIndex& index, const at::Tensor& grad_rows, const at::Tensor& table_grad) {
  cuda::embedding_grad(
      dtype_of(grad_rows), grad_rows.const_data_ptr(), index.rows.const_data_ptr<std::int32_t>(),
      index.offsets.const_data_ptr<std::int32_t>(), index.positions.const_data_ptr<std::int32_t>(),
      index.count, grad_rows.size(1), table_grad.data_ptr(), stream());
}

// ---- cross-entropy

namespace {

cuda::LossChunk loss_chunk(const at::Tensor& logits, const at::Tensor& targets, std::int64_t first,
                           std::int64_t valid, double scale) {
  cuda::LossChunk chunk;
  chunk.dtype = dtype_of(logits);
  chunk.logits = logits.data_ptr();
  chunk.targets = targets.const_data_ptr<std::int32_t>();
  chunk.rows = logits.size(0);
  chunk.cols = logits.size(1);
  chunk.first = first;
  chunk.valid = valid;
  chunk.scale = scale;
  return chunk;
}

}  // namespace

void cross_entropy(const at::Tensor& logits, const at::Tensor& targets, std::int64_t valid, double scale,
                   const at::Tensor& loss) {
  const cuda::LossChunk chunk = loss_chunk(logits, targets, 0, valid, scale);
  const at::Tensor scratch = workspace(cuda::cross_entropy_workspace(chunk.dtype, chunk.rows), logits);
  cuda::cross_entropy(chunk, loss.data_ptr<double>(), scratch.data_ptr(), stream());
}

void logit_statistics(const at::Tensor& logits, const at::Tensor& targets, std::int64_t first,
                      std::int64_t valid, const at::Tensor& top, const at::Tensor& sums) {
  cuda::cross_entropy_statistics(loss_chunk(logits, targets, first, valid, 1), top.data_ptr(),
                                 sums.data_ptr(), stream());
}

void logit_rebase(const at::Tensor& logits, const at::Tensor& targets, std::int64_t first, std::int64_t valid,
                  const at::Tensor& top, const at::Tensor& top_of_all, const at::Tensor& sums) {
  cuda::cross_entropy_rebase(loss_chunk(logits, targets, first, valid, 1), top.const_data_ptr(),
                             top_of_all.const_data_ptr(), sums.data_ptr(), stream());
}

void logit_gradient(const at::Tensor& logits, const at::Tensor& targets, std::int64_t first,
                    std::int64_t valid, const at::Tensor& top, const at::Tensor& sums, double scale,
                    const at::Tensor& loss) {
  const cuda::LossChunk chunk = loss_chunk(logits, targets, first, valid, scale);
  const at::Tensor scratch = workspace(cuda::cross_entropy_workspace(chunk.dtype, chunk.rows), logits);
  cuda::cross_entropy_gradient(chunk, top.const_data_ptr(), sums.const_data_ptr(), loss.data_ptr<double>(),
                               scratch.data_ptr(), stream());
}

}  // namespace lacuna::on_cuda
