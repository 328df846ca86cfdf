#include "src/infer/cpu_ffn.h"

#include <atomic>

#include "kernels/accumulate.h"
#include "kernels/glu.h"
#include "kernels/linear.h"
#include "src/base/error.h"
#include "src/base/math.h"
#include "src/infer/gating.h"

namespace lacuna {

CpuFfn::CpuFfn(const ModelConfig& config, FfnPath path, ThreadPool& pool, std::vector<Scratch>& scratch)
    : config_(config), path_(path), pool_(pool), scratch_(scratch), whole_(ActiveRuns::whole(config.ffn)) {
  if (config.is_routed())
    routed_.emplace(config, path, pool, scratch);
  else
    LACUNA_ASSERT(path == FfnPath::Dense || config.activation != Activation::Silu);
}

void CpuFfn::forward(const LayerWeights& weights, bool neuron_major, ConstRows x, std::int64_t position,
                     Rows out, FfnStatistics::Layer& statistics) {
  if (routed_) return routed_->forward(weights, neuron_major, x, position, out, statistics);
  const std::size_t room = static_cast<std::size_t>(x.count * config_.ffn);
  if (gate_.size() < room) gate_.resize(room);
  if (up_.size() < room) up_.resize(room);
  const Rows gate{gate_.data(), x.count, config_.ffn, config_.ffn};
  const Rows up{up_.data(), x.count, config_.ffn, config_.ffn};
  project(weights.gate, whole_, x, gate);
  const ActiveRuns* rows = &whole_;
  if (path_ == FfnPath::Sparse) {
    active_by_gate(gate, whole_.runs(), open_);
    rows = &open_;
  }
  project(weights.up, *rows, x, up);
  statistics.up_rows += rows->count();
  statistics.zeros += multiply(*rows, gate, up) + (config_.ffn - rows->count()) * x.count;
  statistics.elements += config_.ffn * x.count;
  if (path_ == FfnPath::Sparse) {
    active_by_product(gate, rows->runs(), nonzero_);
    rows = &nonzero_;
  }
  statistics.down_rows += rows->count();
  project_down(weights.down, neuron_major, *rows, gate, out);
}

void CpuFfn::project(const MatrixView& matrix, const ActiveRuns& rows, ConstRows x, Rows out) {
  const double cost = 2.0 * static_cast<double>(x.count * matrix.cols);
  pool_.split(rows.count(), 16, cost, [&](std::int64_t begin, std::int64_t end, int worker) {
    linear(matrix, rows.slice(begin, end).runs(), x, out, scratch_[static_cast<std::size_t>(worker)]);
  });
}

// gate becomes the product. Returns its exact zeros among `rows`.
std::int64_t CpuFfn::multiply(const ActiveRuns& rows, Rows gate, ConstRows up) {
  std::atomic<std::int64_t> zeros{0};
  const Gating gating = gating_of(config_.activation);
  pool_.split(gate.count, 1, 10.0 * static_cast<double>(rows.count()),
              [&](std::int64_t begin, std::int64_t end, int) {
                const auto part = [&](auto all) {
                  all.data += begin * all.stride;
                  all.count = end - begin;
                  return all;
                };
                zeros += glu(gating, rows.runs(), part(ConstRows(gate)), part(up), part(gate));
              });
  return zeros;
}

void CpuFfn::project_down(const MatrixView& down, bool neuron_major, const ActiveRuns& rows,
                          ConstRows product, Rows out) {
  const double cost = 2.0 * static_cast<double>(product.count * rows.count());
  if (!neuron_major) {
    const ActiveRuns outputs = ActiveRuns::whole(down.rows);
    pool_.split(down.rows, 16, cost, [&](std::int64_t begin, std::int64_t end, int worker) {
      linear(down, outputs.slice(begin, end).runs(), product, out,
             scratch_[static_cast<std::size_t>(worker)]);
    });
    return;
  }
  // One token: as wide as can be, since a thread walks its part of every active row.
  const std::int64_t grain = product.count > 1 ? 64 : round_up(ceil_div(down.cols, pool_.size()), 64);
  pool_.split(down.cols, grain, cost, [&](std::int64_t begin, std::int64_t end, int worker) {
    accumulate_rows(down, rows.runs(), product, out, begin, end, scratch_[static_cast<std::size_t>(worker)]);
  });
}

}  // namespace lacuna
