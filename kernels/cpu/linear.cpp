#include "kernels/linear.h"

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/run_rows.h"
#include "src/base/error.h"

namespace lacuna {

namespace {

constexpr int kPanelRows = 16;                        // rows that are multiplied with all tokens at once
constexpr std::int64_t kPanelFloats = 24 * 1024 / 4;  // their unpacked floats stay in half a level-1 cache
constexpr std::int64_t kFewTokens = 4;                // below: no unpacking, weights widen in registers

void few_tokens(const cpu::KernelTable& table, const MatrixView& w, Runs runs, ConstRows x, Rows y) {
  constexpr int kBatch = 64;
  cpu::each_batch<kBatch>(runs, kBatch, [&](const std::int32_t* rows, std::int64_t count) {
    const std::byte* pointers[kBatch];
    float out[kBatch];
    for (std::int64_t i = 0; i < count; ++i) pointers[i] = w.row(rows[i]);
    for (std::int64_t t = 0; t < x.count; ++t) {
      table.dot_rows(w.dtype, pointers, count, x.row(t), w.cols, out);
      float* to = y.row(t);
      for (std::int64_t i = 0; i < count; ++i) to[rows[i]] = out[i];
    }
  });
}

void many_tokens(const cpu::KernelTable& table, const MatrixView& w, Runs runs, ConstRows x, Rows y,
                 Scratch& scratch) {
  const std::int64_t padded = (w.cols + 15) / 16 * 16;
  const std::int64_t batch =
      std::clamp<std::int64_t>(kPanelFloats / std::max<std::int64_t>(padded, 1) / 4 * 4, 4, kPanelRows);
  const bool unpacked = w.dtype != DType::F32;
  float* panel = scratch.floats(static_cast<std::size_t>((unpacked ? batch * padded : 0) + batch * x.count));
  float* gathered = panel + (unpacked ? batch * padded : 0);
  cpu::each_batch<kPanelRows>(runs, batch, [&](const std::int32_t* rows, std::int64_t count) {
    const std::byte* pointers[kPanelRows];
    for (std::int64_t i = 0; i < count; ++i) {
      pointers[i] = w.row(rows[i]);
      if (!unpacked) continue;
      float* row = panel + i * padded;
      table.unpack(w.dtype, pointers[i], row, w.cols);
      pointers[i] = reinterpret_cast<const std::byte*>(row);
    }
    if (rows[count - 1] - rows[0] == count - 1) {
      table.dot_block(pointers, count, x.data, x.stride, x.count, w.cols, y.data + rows[0], y.stride);
      return;
    }
    table.dot_block(pointers, count, x.data, x.stride, x.count, w.cols, gathered, count);
    for (std::int64_t t = 0; t < x.count; ++t)
      for (std::int64_t i = 0; i < count; ++i) y.row(t)[rows[i]] = gathered[t * count + i];
  });
}

}  // namespace

void linear(const MatrixView& w, Runs runs, ConstRows x, Rows y, Scratch& scratch, Isa isa) {
  LACUNA_ASSERT(cpu::is_weight_type(w.dtype) && w.stride >= w.cols);
  LACUNA_ASSERT(x.width == w.cols && y.width == w.rows && x.count == y.count);
  LACUNA_ASSERT(cpu::runs_fit(runs, w.rows));
  const cpu::KernelTable& table = cpu::table_of(isa);
  if (x.count < kFewTokens)
    few_tokens(table, w, runs, x, y);
  else
    many_tokens(table, w, runs, x, y, scratch);
}

}  // namespace lacuna
