#include "kernels/accumulate.h"

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/run_rows.h"
#include "src/base/error.h"

namespace lacuna {

namespace {

constexpr int kBlockRows = 256;  // rows whose unpacked columns stay in the level-2 cache
constexpr std::int64_t kBlockCols = 64;
constexpr std::int64_t kFewTokens = 4;  // below: no unpacking, weights widen in registers

struct Task {
  const cpu::KernelTable& table;
  const MatrixView& w;
  Runs runs;
  ConstRows a;
  Rows y;
  std::int64_t begin, end;
  const std::byte* weights(std::int64_t row, std::int64_t column) const {
    return w.row(row) + static_cast<std::size_t>(column) * size_of(w.dtype);
  }
};

void few_tokens(const Task& task) {
  constexpr int kBatch = 64;
  cpu::each_batch<kBatch>(task.runs, kBatch, [&](const std::int32_t* rows, std::int64_t count) {
    const std::byte* pointers[kBatch];
    float factors[kBatch];
    for (std::int64_t i = 0; i < count; ++i) pointers[i] = task.weights(rows[i], task.begin);
    for (std::int64_t t = 0; t < task.a.count; ++t) {
      for (std::int64_t i = 0; i < count; ++i) factors[i] = task.a.row(t)[rows[i]];
      task.table.axpy_rows(task.w.dtype, pointers, factors, count, task.y.row(t) + task.begin,
                           task.end - task.begin);
    }
  });
}

void many_tokens(const Task& task, Scratch& scratch) {
  float* panel = scratch.floats(kBlockRows * kBlockCols);
  for (std::int64_t column = task.begin; column < task.end; column += kBlockCols) {
    const std::int64_t cols = std::min(kBlockCols, task.end - column);
    cpu::each_batch<kBlockRows>(task.runs, kBlockRows, [&](const std::int32_t* rows, std::int64_t count) {
      for (std::int64_t i = 0; i < count; ++i)
        task.table.unpack(task.w.dtype, task.weights(rows[i], column), panel + i * kBlockCols, cols);
      task.table.axpy_block(panel, kBlockCols, rows, count, task.a.data, task.a.stride, task.a.count,
                            task.y.data + column, task.y.stride, cols);
    });
  }
}

}  // namespace

void accumulate_rows(const MatrixView& w, Runs runs, ConstRows a, Rows y, std::int64_t begin,
                     std::int64_t end, Scratch& scratch, Isa isa) {
  LACUNA_ASSERT(cpu::is_weight_type(w.dtype) && w.stride >= w.cols);
  LACUNA_ASSERT(a.width == w.rows && y.width == w.cols && a.count == y.count);
  LACUNA_ASSERT(0 <= begin && begin <= end && end <= w.cols && cpu::runs_fit(runs, w.rows));
  for (std::int64_t t = 0; t < y.count; ++t) std::fill(y.row(t) + begin, y.row(t) + end, 0.0f);
  const Task task{cpu::table_of(isa), w, runs, a, y, begin, end};
  if (a.count < kFewTokens)
    few_tokens(task);
  else
    many_tokens(task, scratch);
  // A sum that underflowed to -0 becomes +0, as it would had a zero coefficient followed.
  for (std::int64_t t = 0; t < y.count; ++t)
    for (std::int64_t j = begin; j < end; ++j) y.row(t)[j] += 0.0f;
}

}  // namespace lacuna
