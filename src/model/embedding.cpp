#include "src/model/embedding.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "src/model/element_types.h"

namespace lacuna {

namespace {

// The row of the local table that holds `token`, or -1.
std::int64_t local_row(const LocalParameter& table, std::int32_t token) {
  const std::int64_t row = token - table.local.slab.offset[0];
  return row >= 0 && row < table.local.slab.extent[0] ? row : -1;
}

}  // namespace

void embed(const LocalParameter& table, const TokenIds& tokens, const TokenShards& shards,
           const at::Tensor& out, const at::Tensor& all) {
  const at::Tensor& to = shards.size() == 1 ? out : all;
  if (to.is_cuda()) {
    on_cuda::embed(table.weight, table.local.slab.offset[0], tokens.device, to);
    shards.scatter_sum(to, out);
    return;
  }
  const std::int64_t n = table.weight.size(1);
  with_element_type(table.weight.scalar_type(), [&]<class T>(T) {
    T* row = to.data_ptr<T>();
    for (std::int32_t token : tokens.host) {
      const std::int64_t index = local_row(table, token);
      if (index < 0)
        std::fill(row, row + n, T{});
      else
        std::copy_n(table.weight.const_data_ptr<T>() + index * n, n, row);
      row += n;
    }
  });
  shards.scatter_sum(to, out);
}

void embed_grad(LocalParameter& table, const TokenIds& tokens, const on_cuda::RowIndex& by_row,
                const TokenShards& shards, const at::Tensor& grad, const at::Tensor& all) {
  const at::Tensor rows = shards.gather(grad, all);
  if (rows.is_cuda()) return on_cuda::embed_grad(by_row, rows, table.grad);
  const std::int64_t n = table.weight.size(1);
  with_element_type(rows.scalar_type(), [&]<class T>(T) {
    using A = Accumulate<T>;
    const T* row = rows.const_data_ptr<T>();
    for (std::int32_t token : tokens.host) {
      const std::int64_t index = local_row(table, token);
      if (index >= 0) {
        A* to = table.grad.data_ptr<A>() + index * n;
        for (std::int64_t i = 0; i < n; ++i) to[i] += static_cast<A>(row[i]);
      }
      row += n;
    }
  });
}

}  // namespace lacuna
