#include "src/infer/cpu_ffn_routed.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>

#include "kernels/accumulate.h"
#include "kernels/glu.h"
#include "kernels/linear.h"
#include "src/base/error.h"
#include "src/base/math.h"
#include "src/infer/gating.h"

namespace lacuna {

namespace {

// Rows [begin, end) of a matrix.
MatrixView rows_of(MatrixView view, std::int64_t begin, std::int64_t end) {
  view.data = view.row(begin);
  view.rows = end - begin;
  return view;
}

MatrixView columns_of(MatrixView view, std::int64_t begin, std::int64_t end) {
  view.data += static_cast<std::size_t>(begin) * size_of(view.dtype);
  view.cols = end - begin;
  return view;
}

ActiveRun run_of(std::int64_t begin, std::int64_t end) {
  return {static_cast<std::int32_t>(begin), static_cast<std::int32_t>(end - begin)};
}

Rows resized(std::vector<float>& storage, std::int64_t count, std::int64_t width) {
  const auto room = static_cast<std::size_t>(count * width);
  if (storage.size() < room) storage.resize(room);
  return {storage.data(), count, width, width};
}

}  // namespace

CpuRoutedFfn::CpuRoutedFfn(const ModelConfig& config, FfnPath path, ThreadPool& pool,
                           std::vector<Scratch>& scratch)
    : config_(config), path_(path), pool_(pool), scratch_(scratch), router_(config, pool, scratch) {
  LACUNA_CHECK(config.routed.router != RouterKind::Oracle || path == FfnPath::Dense, ErrorKind::Usage,
               "the oracle router reads every neuron before it chooses: --path dense runs it");
}

void CpuRoutedFfn::forward(const LayerWeights& weights, bool neuron_major, ConstRows x, std::int64_t position,
                           Rows out, FfnStatistics::Layer& statistics) {
  const RouterWeights& router = weights.router;
  const std::span<const float> gates = choose(weights, neuron_major, x, position);
  list_parts(router, gates, x.count);
  for (std::int64_t t = 0; t < x.count; ++t) std::fill_n(out.row(t), out.width, 0.0F);
  std::erase_if(parts_, [](const Part& part) { return part.tokens.empty() || part.begin == part.end; });
  std::int64_t computed = 0, zeros = 0, rows = 0;
  for (const Part& part : parts_) {
    computed += static_cast<std::int64_t>(part.tokens.size()) * (part.end - part.begin);
    rows += part.end - part.begin;
  }
  if (x.count == 1) {
    zeros = multiply_one(weights, rows, x);
    project_one(weights, neuron_major, out);
  } else {
    for (const Part& part : parts_) {
      zeros += multiply(weights, part, x);
      project_down(weights, neuron_major, part);
      add_output(part, out);
    }
  }
  add_means(router, gates, out);
  if (path_ == FfnPath::Dense) rows = config_.ffn;
  statistics.up_rows += std::min(rows, config_.ffn);
  statistics.down_rows += std::min(rows, config_.ffn);
  statistics.elements += config_.ffn * x.count;
  statistics.zeros += zeros + config_.ffn * x.count - computed;
}

// Gates [tokens, E].
std::span<const float> CpuRoutedFfn::choose(const LayerWeights& weights, bool neuron_major, ConstRows x,
                                            std::int64_t position) {
  const RouterWeights& router = weights.router;
  if (config_.routed.router != RouterKind::Oracle) return router_.gates(router, x, position);
  const std::int64_t experts = config_.routed.experts, hidden = config_.hidden;
  scores_.assign(static_cast<std::size_t>(x.count * experts), 0);
  Part part;
  part.tokens.resize(static_cast<std::size_t>(x.count));
  std::iota(part.tokens.begin(), part.tokens.end(), 0);
  for (std::int64_t e = 0; e < experts; ++e) {
    part.begin = router.neurons.begin[static_cast<std::size_t>(e)];
    part.end = part.begin + router.neurons.size(e);
    if (part.begin < part.end) {
      multiply(weights, part, x);
      project_down(weights, neuron_major, part);
    } else {
      output_.assign(static_cast<std::size_t>(x.count * hidden), 0);
    }
    for (std::int64_t t = 0; t < x.count; ++t) {
      double sum = 0;
      for (std::int64_t i = 0; i < hidden; ++i) {
        const double rest = static_cast<double>(output_[static_cast<std::size_t>(t * hidden + i)]) -
                            router.mean[static_cast<std::size_t>(e * hidden + i)];
        sum += rest * rest;
      }
      scores_[static_cast<std::size_t>(t * experts + e)] = static_cast<float>(std::sqrt(sum));
    }
  }
  return router_.gates_of_scores(router, scores_, x, position);
}

// All neurons at once for tokens that have every expert on with gate 1, the parts in order for the others.
void CpuRoutedFfn::list_parts(const RouterWeights& router, std::span<const float> gates,
                              std::int64_t tokens) {
  const std::int64_t experts = config_.routed.experts;
  parts_.assign(static_cast<std::size_t>(experts) + 2, {});
  Part &whole = parts_[0], &shared = parts_[1];
  whole.end = config_.ffn;
  shared.end = router.neurons.shared;
  for (std::int64_t t = 0; t < tokens; ++t) {
    const float* gate = gates.data() + t * experts;
    Part& first = std::all_of(gate, gate + experts, [](float g) { return g == 1; }) ? whole : shared;
    first.tokens.push_back(t);
    first.gates.push_back(1);
    for (std::int64_t e = 0; e < experts && &first == &shared; ++e) {
      if (gate[e] == 0 && path_ == FfnPath::Sparse) continue;
      Part& part = parts_[static_cast<std::size_t>(e) + 2];
      part.tokens.push_back(t);
      part.gates.push_back(gate[e]);
    }
  }
  for (std::int64_t e = 0; e < experts; ++e) {
    Part& part = parts_[static_cast<std::size_t>(e) + 2];
    part.begin = router.neurons.begin[static_cast<std::size_t>(e)];
    part.end = part.begin + router.neurons.size(e);
  }
}

// gate_ becomes the product [tokens of the part, its neurons]. Returns its exact zeros.
std::int64_t CpuRoutedFfn::multiply(const LayerWeights& weights, const Part& part, ConstRows x) {
  const auto tokens = static_cast<std::int64_t>(part.tokens.size());
  ConstRows input = x;
  if (tokens != x.count) {
    const Rows gathered = resized(x_, tokens, x.width);
    for (std::int64_t i = 0; i < tokens; ++i)
      std::copy_n(x.row(part.tokens[static_cast<std::size_t>(i)]), x.width, gathered.row(i));
    input = gathered;
  }
  const std::int64_t size = part.end - part.begin;
  const Rows gate = resized(gate_, tokens, size), up = resized(up_, tokens, size);
  const MatrixView gate_rows = rows_of(weights.gate, part.begin, part.end),
                   up_rows = rows_of(weights.up, part.begin, part.end);
  const Gating gating = gating_of(config_.activation);
  std::atomic<std::int64_t> zeros{0};
  pool_.split(size, 16, 4.0 * static_cast<double>(tokens * x.width),
              [&](std::int64_t begin, std::int64_t end, int worker) {
                const ActiveRun run[] = {run_of(begin, end)};
                Scratch& scratch = scratch_[static_cast<std::size_t>(worker)];
                linear(gate_rows, run, input, gate, scratch);
                linear(up_rows, run, input, up, scratch);
                zeros += glu(gating, run, gate, up, gate);
              });
  return zeros;
}

// output_ = [tokens of the part, hidden].
void CpuRoutedFfn::project_down(const LayerWeights& weights, bool neuron_major, const Part& part) {
  const auto tokens = static_cast<std::int64_t>(part.tokens.size());
  const std::int64_t size = part.end - part.begin, hidden = config_.hidden;
  const ConstRows product{gate_.data(), tokens, size, size};
  const Rows output = resized(output_, tokens, hidden);
  const double cost = 2.0 * static_cast<double>(tokens * size);
  const MatrixView down = neuron_major ? rows_of(weights.down, part.begin, part.end)
                                       : columns_of(weights.down, part.begin, part.end);
  const ActiveRun neurons[] = {run_of(0, size)};
  const std::int64_t grain = !neuron_major ? 16
                             : tokens > 1  ? 64
                                           : round_up(ceil_div(hidden, pool_.size()), 64);
  pool_.split(hidden, grain, cost, [&](std::int64_t begin, std::int64_t end, int worker) {
    Scratch& scratch = scratch_[static_cast<std::size_t>(worker)];
    const ActiveRun outputs[] = {run_of(begin, end)};
    if (neuron_major)
      accumulate_rows(down, neurons, product, output, begin, end, scratch);
    else
      linear(down, outputs, product, output, scratch);
  });
}

void CpuRoutedFfn::add_output(const Part& part, Rows out) {
  const std::int64_t hidden = config_.hidden;
  for (std::size_t i = 0; i < part.tokens.size(); ++i) {
    const float gate = part.gates[i];
    if (gate == 0) continue;
    const float* from = output_.data() + static_cast<std::int64_t>(i) * hidden;
    float* to = out.row(part.tokens[i]);
    for (std::int64_t j = 0; j < hidden; ++j) to[j] += gate * from[j];
  }
}

// One token: the neurons of all parts, one behind the other, are shared out at once.
std::int64_t CpuRoutedFfn::multiply_one(const LayerWeights& weights, std::int64_t neurons, ConstRows x) {
  const Rows gates = resized(gate_, 1, neurons), ups = resized(up_, 1, neurons);
  const Gating gating = gating_of(config_.activation);
  std::atomic<std::int64_t> zeros{0};
  pool_.split(
      neurons, 16, 4.0 * static_cast<double>(x.width), [&](std::int64_t begin, std::int64_t end, int worker) {
        Scratch& scratch = scratch_[static_cast<std::size_t>(worker)];
        std::int64_t at = 0;
        for (const Part& part : parts_) {
          const std::int64_t size = part.end - part.begin;
          const std::int64_t from = std::max(begin - at, std::int64_t{0}), to = std::min(end - at, size);
          const Rows gate{gates.data + at, 1, size, size}, up{ups.data + at, 1, size, size};
          at += size;
          if (from >= to) continue;
          const ActiveRun run[] = {run_of(from, to)};
          linear(rows_of(weights.gate, part.begin, part.end), run, x, gate, scratch);
          linear(rows_of(weights.up, part.begin, part.end), run, x, up, scratch);
          zeros += glu(gating, run, gate, up, gate);
        }
      });
  return zeros;
}

void CpuRoutedFfn::project_one(const LayerWeights& weights, bool neuron_major, Rows out) {
  const std::int64_t hidden = config_.hidden;
  const Rows output = resized(output_, 1, hidden);
  double neurons = 0;
  for (const Part& part : parts_) neurons += static_cast<double>(part.end - part.begin);
  const std::int64_t grain = neuron_major ? round_up(ceil_div(hidden, pool_.size()), 64) : 16;
  pool_.split(hidden, grain, 2 * neurons, [&](std::int64_t begin, std::int64_t end, int worker) {
    Scratch& scratch = scratch_[static_cast<std::size_t>(worker)];
    const ActiveRun outputs[] = {run_of(begin, end)};
    const float* product = gate_.data();
    for (const Part& part : parts_) {
      const std::int64_t size = part.end - part.begin;
      const ActiveRun all[] = {run_of(0, size)};
      const ConstRows own{product, 1, size, size};
      product += size;
      if (part.gates[0] == 0) continue;
      if (neuron_major)
        accumulate_rows(rows_of(weights.down, part.begin, part.end), all, own, output, begin, end, scratch);
      else
        linear(columns_of(weights.down, part.begin, part.end), outputs, own, output, scratch);
      for (std::int64_t j = begin; j < end; ++j) out.data[j] += part.gates[0] * output.data[j];
    }
  });
}

void CpuRoutedFfn::add_means(const RouterWeights& router, std::span<const float> gates, Rows out) {
  const std::int64_t experts = config_.routed.experts, hidden = config_.hidden;
  for (std::int64_t t = 0; t < out.count; ++t)
    for (std::int64_t e = 0; e < experts; ++e) {
      if (gates[static_cast<std::size_t>(t * experts + e)] != 0) continue;
      const float* mean = router.mean.data() + e * hidden;
      for (std::int64_t j = 0; j < hidden; ++j) out.row(t)[j] += mean[j];
    }
}

}  // namespace lacuna
