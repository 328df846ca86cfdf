#include "src/model/attention.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "src/model/cuda/ops.h"
#include "src/model/element_types.h"

namespace lacuna {

namespace {

constexpr std::int64_t kTileTokens = 64;

// Copies rows of `cols` elements between memories with their own row distance, converting.
template <class From, class To>
void copy_rows(const From* from, std::int64_t from_stride, To* to, std::int64_t to_stride, std::int64_t rows,
               std::int64_t cols) {
  for (std::int64_t row = 0; row < rows; ++row, from += from_stride, to += to_stride)
    for (std::int64_t i = 0; i < cols; ++i) to[i] = static_cast<To>(from[i]);
}

at::Tensor first_rows(const at::Tensor& buffer, std::int64_t rows, std::int64_t cols) {
  return buffer.narrow(0, 0, rows * cols).view({rows, cols});
}

on_cuda::AttentionPlan plan_of(const AttentionShape& s) {
  return {s.sequences, s.seq_len, s.kv_heads, s.group, s.head_dim, s.window};
}

void product(const at::Tensor& a, const at::Tensor& b, at::Tensor out) {
  at::mm_out(out, a, b);
}

}  // namespace

// The work on one (sequence, key/value head): `T` is the compute type.
template <class T>
struct Attention::Run {
  using A = Accumulate<T>;

  Attention& self;
  const AttentionShape& shape = self.shape_;
  std::int64_t sequence, head;
  std::int64_t group = shape.group, d = shape.head_dim;
  std::int64_t query_stride = shape.heads() * d, kv_stride = shape.kv_heads * d;
  A scale = A{1} / std::sqrt(static_cast<A>(shape.head_dim));

  // The queries [begin, end) and the keys [first, end) that any of them sees.
  struct Tile {
    std::int64_t begin, end, first;
    std::int64_t queries() const { return end - begin; }
    std::int64_t keys() const { return end - first; }
  };
  Tile tile_at(std::int64_t begin) const {
    return {begin, std::min(begin + kTileTokens, shape.seq_len), first_key(begin)};
  }
  std::int64_t first_key(std::int64_t query) const {
    return shape.window > 0 ? std::max<std::int64_t>(0, query - shape.window + 1) : 0;
  }

  std::int64_t token(std::int64_t position) const { return sequence * shape.seq_len + position; }
  T* query_at(const at::Tensor& t, std::int64_t position) const {
    return t.data_ptr<T>() + token(position) * query_stride + head * group * d;
  }
  T* kv_at(const at::Tensor& t) const { return t.data_ptr<T>() + token(0) * kv_stride + head * d; }
  A* lse_at(const at::Tensor& t, std::int64_t position) const {
    return t.data_ptr<A>() + token(position) * shape.heads() + head * group;
  }

  void load_inputs(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
    copy_rows(query_at(query, 0), query_stride, self.query_.data_ptr<A>(), group * d, shape.seq_len,
              group * d);
    copy_rows(kv_at(key), kv_stride, self.key_.data_ptr<A>(), d, shape.seq_len, d);
    copy_rows(kv_at(value), kv_stride, self.value_.data_ptr<A>(), d, shape.seq_len, d);
  }
  at::Tensor queries(const at::Tensor& packed, const Tile& tile) const {
    return packed.narrow(0, tile.begin * group, tile.queries() * group);
  }
  at::Tensor keys(const at::Tensor& packed, const Tile& tile) const {
    return packed.narrow(0, tile.first, tile.keys());
  }

  // Row by row: body(row, query position, index of the first visible key in the tile, one past the last).
  template <class Body>
  void each_row(const Tile& tile, Body&& body) const {
    for (std::int64_t row = 0; row < tile.queries() * group; ++row) {
      const std::int64_t position = tile.begin + row / group;
      body(row, position, first_key(position) - tile.first, position + 1 - tile.first);
    }
  }

  // Zeros where a query does not see a key.
  void clear_hidden(A* weights, const Tile& tile) const {
    const std::int64_t n = tile.keys();
    each_row(tile, [&](std::int64_t row, std::int64_t, std::int64_t low, std::int64_t high) {
      std::fill(weights + row * n, weights + row * n + low, A{0});
      std::fill(weights + row * n + high, weights + (row + 1) * n, A{0});
    });
  }

  // exp(logit·scale − shift(row)) where visible, zero elsewhere. Hidden logits are cleared first too: any
  // exponential of them that overflows or underflows would be slow.
  template <class Shift>
  void exponentials(const at::Tensor& weights, const Tile& tile, Shift&& shift) const {
    const std::int64_t n = tile.keys();
    A* data = weights.data_ptr<A>();
    clear_hidden(data, tile);
    each_row(tile, [&](std::int64_t row, std::int64_t position, std::int64_t low, std::int64_t high) {
      A* w = data + row * n;
      const A by = shift(row, position, w + low, high - low);
      for (std::int64_t i = low; i < high; ++i) w[i] = w[i] * scale - by;
    });
    weights.exp_();
    clear_hidden(data, tile);
  }

  void forward_tile(const Tile& tile, const at::Tensor& context, const at::Tensor& lse) {
    const std::int64_t rows = tile.queries() * group, n = tile.keys();
    const at::Tensor weights = first_rows(self.weights_, rows, n);
    product(queries(self.query_, tile), keys(self.key_, tile).t(), weights);
    A* top = self.rows_.data_ptr<A>();
    exponentials(weights, tile, [&](std::int64_t row, std::int64_t, const A* w, std::int64_t visible) {
      return top[row] = lane_max(w, visible) * scale;
    });
    const at::Tensor output = first_rows(self.weights_grad_, rows, d);
    product(weights, keys(self.value_, tile), output);
    const A* w = weights.data_ptr<A>();
    const A* out = output.data_ptr<A>();
    each_row(tile, [&](std::int64_t row, std::int64_t position, std::int64_t, std::int64_t) {
      const A* e = w + row * n;
      const A sum = lane_sum<A>(n, [e](std::int64_t i) { return e[i]; });
      lse_at(lse, position)[row % group] = top[row] + std::log(sum);
      T* to = query_at(context, position) + row % group * d;
      for (std::int64_t i = 0; i < d; ++i) to[i] = static_cast<T>(out[row * d + i] / sum);
    });
  }

  // rows_ holds the inner product of output and its gradient for each query row of the tile.
  void load_output_grad(const Tile& tile, const at::Tensor& context, const at::Tensor& context_grad) {
    A* packed = self.output_grad_.data_ptr<A>();
    A* inner = self.rows_.data_ptr<A>();
    each_row(tile, [&](std::int64_t row, std::int64_t position, std::int64_t, std::int64_t) {
      const T* o = query_at(context, position) + row % group * d;
      const T* g = query_at(context_grad, position) + row % group * d;
      copy_rows(g, d, packed + row * d, d, 1, d);
      inner[row] =
          lane_sum<A>(d, [=](std::int64_t i) { return static_cast<A>(o[i]) * static_cast<A>(g[i]); });
    });
  }

  void backward_tile(const Tile& tile, const at::Tensor& query, const at::Tensor& context,
                     const at::Tensor& lse, const at::Tensor& context_grad) {
    const std::int64_t rows = tile.queries() * group, n = tile.keys();
    const at::Tensor weights = first_rows(self.weights_, rows, n);
    const at::Tensor weights_grad = first_rows(self.weights_grad_, rows, n);
    const at::Tensor q = queries(self.query_, tile), output_grad = self.output_grad_.narrow(0, 0, rows);
    product(q, keys(self.key_, tile).t(), weights);
    exponentials(weights, tile, [&](std::int64_t row, std::int64_t position, const A*, std::int64_t) {
      return lse_at(lse, position)[row % group];
    });
    load_output_grad(tile, context, context_grad);
    product(output_grad, keys(self.value_, tile).t(), weights_grad);
    keys(self.value_grad_, tile).addmm_(weights.t(), output_grad);
    const A* w = weights.data_ptr<A>();
    A* g = weights_grad.data_ptr<A>();
    const A* inner = self.rows_.data_ptr<A>();
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t i = row * n; i < (row + 1) * n; ++i) g[i] = w[i] * (g[i] - inner[row]) * scale;
    keys(self.key_grad_, tile).addmm_(weights_grad.t(), q);
    const at::Tensor query_grad = first_rows(self.weights_, rows, d);
    product(weights_grad, keys(self.key_, tile), query_grad);
    copy_rows(query_grad.const_data_ptr<A>(), group * d, query_at(query, tile.begin), query_stride,
              tile.queries(), group * d);
  }

  void store_kv_grads(const at::Tensor& key, const at::Tensor& value) const {
    copy_rows(self.key_grad_.const_data_ptr<A>(), d, kv_at(key), kv_stride, shape.seq_len, d);
    copy_rows(self.value_grad_.const_data_ptr<A>(), d, kv_at(value), kv_stride, shape.seq_len, d);
  }
};

Attention::Attention(const AttentionShape& shape, at::ScalarType compute, at::Device device) : shape_(shape) {
  if (device.is_cuda()) return;  // its kernels keep no workspace
  const at::TensorOptions type = at::TensorOptions().dtype(accumulate_type(compute));
  const std::int64_t tile_rows = std::min(kTileTokens, shape.seq_len) * shape.group;
  const std::int64_t tile = tile_rows * std::max(shape.seq_len, shape.head_dim);
  query_ = at::empty({shape.seq_len * shape.group, shape.head_dim}, type);
  output_grad_ = at::empty({tile_rows, shape.head_dim}, type);
  for (at::Tensor* kv : {&key_, &value_, &key_grad_, &value_grad_})
    *kv = at::empty({shape.seq_len, shape.head_dim}, type);
  weights_ = at::empty({tile}, type);
  weights_grad_ = at::empty({tile}, type);
  rows_ = at::empty({tile_rows}, type);
}

void Attention::forward(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                        const at::Tensor& context, const at::Tensor& lse) {
  if (query.is_cuda()) return on_cuda::attention_forward(plan_of(shape_), query, key, value, context, lse);
  with_element_type(query.scalar_type(), [&]<class T>(T) {
    for (std::int64_t sequence = 0; sequence < shape_.sequences; ++sequence)
      for (std::int64_t head = 0; head < shape_.kv_heads; ++head) {
        Run<T> run{.self = *this, .sequence = sequence, .head = head};
        run.load_inputs(query, key, value);
        for (std::int64_t begin = 0; begin < shape_.seq_len; begin += kTileTokens)
          run.forward_tile(run.tile_at(begin), context, lse);
      }
  });
}

void Attention::backward(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                         const at::Tensor& context, const at::Tensor& lse, const at::Tensor& context_grad,
                         const RopeTable& rope) {
  if (query.is_cuda()) {
    const auto grads =
        on_cuda::attention_backward(plan_of(shape_), query, key, value, context, lse, context_grad);
    return rope.rotate_back(query, key, grads.query, grads.key);
  }
  with_element_type(query.scalar_type(), [&]<class T>(T) {
    for (std::int64_t sequence = 0; sequence < shape_.sequences; ++sequence)
      for (std::int64_t head = 0; head < shape_.kv_heads; ++head) {
        Run<T> run{.self = *this, .sequence = sequence, .head = head};
        run.load_inputs(query, key, value);
        key_grad_.zero_();
        value_grad_.zero_();
        for (std::int64_t begin = 0; begin < shape_.seq_len; begin += kTileTokens)
          run.backward_tile(run.tile_at(begin), query, context, lse, context_grad);
        run.store_kv_grads(key, value);
      }
  });
  rope.rotate_back(query, key);
}

}  // namespace lacuna
