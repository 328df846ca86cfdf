#include "recipes/cmoe/evidence.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "recipes/cmoe/calib_file.h"
#include "recipes/common/super_neurons.h"
#include "src/base/error.h"

namespace lacuna {

EvidenceCollector::EvidenceCollector(CalibrationRun& run, const CmoeOptions& options, bool needs_moment)
    : run_(run),
      options_(options),
      needs_moment_(needs_moment),
      fit_passes_(run.passes_for(options.calibration_tokens)),
      check_passes_(run.passes_for(options.check_tokens)) {
  const ParallelContext& context = run.context;
  const std::vector<LayerRange> cuts =
      cut_layers(static_cast<int>(run.parent.layers), context.topology.pp,
                 std::vector<int>(run.options.cuts.begin(), run.options.cuts.end()));
  const LayerRange range = cuts[static_cast<std::size_t>(context.place.pp)];
  for (int layer = range.begin; layer < range.end; ++layer) {
    stage_layers_.push_back(layer);
    if (is_owner(owner_of(layer, context.topology), context.place)) mine_.push_back(layer);
  }
}

bool EvidenceCollector::owns(int layer) const {
  return std::find(mine_.begin(), mine_.end(), layer) != mine_.end();
}

bool EvidenceCollector::in_stage(int layer) const {
  return std::find(stage_layers_.begin(), stage_layers_.end(), layer) != stage_layers_.end();
}

void EvidenceCollector::take(int layer, const at::Tensor& inputs) {
  if (owns(layer)) inputs_[layer] = inputs;
}

void EvidenceCollector::collect_dense() {
  if (!read_statistics()) {
    CalibrationInputs seen;
    run_.show_inputs(run_.parent, run_.parent_weights, 0, fit_passes_ + check_passes_,
                     [&](int layer, const at::Tensor& rows) { seen.add(layer, rows); });
    for (const int layer : stage_layers_) take(layer, seen.gather(layer, *run_.context.dp));
    if (needs_moment_) collect_moments();
    write_statistics();
  }
  find_super_neurons();
}

void EvidenceCollector::collect_layer(int layer, const ModelConfig& config, const SlabSource& weights) {
  CalibrationInputs seen;
  run_.show_inputs(config, weights, 0, fit_passes_ + check_passes_, [&](int shown, const at::Tensor& rows) {
    if (shown == layer) seen.add(shown, rows);
  });
  if (!in_stage(layer)) return;
  take(layer, seen.gather(layer, *run_.context.dp));
}

std::map<int, at::Tensor> EvidenceCollector::inputs_of(const ModelConfig& config,
                                                       const SlabSource& weights) const {
  CalibrationInputs seen;
  run_.show_inputs(config, weights, 0, fit_passes_,
                   [&](int layer, const at::Tensor& rows) { seen.add(layer, rows); });
  std::map<int, at::Tensor> out;
  for (const int layer : stage_layers_) {
    const at::Tensor all = seen.gather(layer, *run_.context.dp);
    if (owns(layer)) out[layer] = all;
  }
  return out;
}

// M = E[g gᵀ] of every layer of the stage, up to a factor: sums over this rank's tokens, then over ranks.
void EvidenceCollector::collect_moments() {
  run_.show_output_grads(0, fit_passes_, [&](int layer, const at::Tensor& grad) {
    const at::Tensor g = grad.to(at::kDouble);
    at::Tensor& sum = moments_[layer];
    sum = sum.defined() ? sum.addmm_(g.t(), g) : at::matmul(g.t(), g);
  });
  for (const int layer : stage_layers_) {
    at::Tensor sum = moments_.at(layer).cpu().contiguous();
    for (Communicator* group : {run_.context.tp.get(), run_.context.dp.get()})
      group->all_reduce_sum(sum.data_ptr(), static_cast<std::size_t>(sum.numel()), DType::F64);
    moments_[layer] = sum;
  }
}

void EvidenceCollector::find_super_neurons() {
  const auto layers = static_cast<std::size_t>(run_.parent.layers);
  const auto neurons = static_cast<std::size_t>(run_.parent.ffn);
  std::vector<double> all(layers * neurons, 0.0);
  for (const int layer : mine_) {
    const at::Tensor peak = of(layer).statistics.peak.cpu().contiguous();
    std::copy_n(peak.const_data_ptr<double>(), neurons,
                all.begin() + static_cast<std::ptrdiff_t>(neurons) * layer);
  }
  run_.context.world.all_reduce_sum(all.data(), all.size(), DType::F64);
  std::vector<std::vector<double>> peaks;
  for (std::size_t layer = 0; layer < layers; ++layer)
    peaks.emplace_back(all.begin() + static_cast<std::ptrdiff_t>(layer * neurons),
                       all.begin() + static_cast<std::ptrdiff_t>((layer + 1) * neurons));
  const std::vector<std::vector<std::int32_t>> found = super_neurons(peaks);
  for (std::size_t layer = 0; layer < layers; ++layer) super_[static_cast<int>(layer)] = found[layer];
}

LayerEvidence EvidenceCollector::of(int layer) const {
  LayerEvidence out;
  const at::Tensor all = inputs_.at(layer);
  const std::int64_t tokens = all.size(0) * fit_passes_ / (fit_passes_ + check_passes_);
  out.inputs = all.narrow(0, 0, tokens);
  out.check_inputs = all.narrow(0, tokens, all.size(0) - tokens);
  out.ffn = read_ffn(run_.parent_weights, run_.parent, layer, all.device());
  out.statistics = neuron_statistics(out.ffn, out.inputs, std::min(options_.top, run_.parent.ffn));
  if (const auto moment = moments_.find(layer); moment != moments_.end()) out.output_moment = moment->second;
  if (const auto super = super_.find(layer); super != super_.end()) out.super_neurons = super->second;
  return out;
}

std::string EvidenceCollector::file_of(int layer) const {
  return fmt::format("{}/calib-{:04}.h5", options_.statistics, layer);
}

namespace {

CalibLayer label(const CalibrationRun& run, const FfnWeights& ffn, int layer, std::int64_t fit_passes,
                 std::int64_t check_passes) {
  const std::int64_t per_pass = run.options.global_batch * run.options.seq_len;
  CalibLayer out;
  out.layer = layer;
  out.check_tokens = check_passes * per_pass;
  out.weights = fingerprint_of(ffn);
  out.data = fmt::format("{} tokens in windows of {}, seed {}, of {}", (fit_passes + check_passes) * per_pass,
                         run.options.seq_len, run.options.seed, run.data_identity);
  return out;
}

}  // namespace

// All layers from files, or none: rank 0 says whether there are any.
bool EvidenceCollector::read_statistics() {
  if (options_.statistics.empty()) return false;
  std::uint8_t there = std::filesystem::exists(file_of(0)) ? 1 : 0;
  run_.context.world.broadcast(0, std::as_writable_bytes(std::span(&there, 1)));
  if (!there) return false;
  for (const int layer : mine_) {
    const FfnWeights ffn = read_ffn(run_.parent_weights, run_.parent, layer);
    CalibLayer read = read_calib(file_of(layer), label(run_, ffn, layer, fit_passes_, check_passes_));
    LACUNA_CHECK(read.output_moment.defined() || !needs_moment_, ErrorKind::BadInput,
                 "{}: has no output_moment, which heapr wants; give another --statistics", file_of(layer));
    inputs_[layer] = read.inputs;
    if (read.output_moment.defined()) moments_[layer] = read.output_moment;
  }
  return true;
}

void EvidenceCollector::write_statistics() const {
  if (options_.statistics.empty()) return;
  std::error_code ignored;
  std::filesystem::create_directories(options_.statistics, ignored);
  for (const int layer : mine_) {
    const LayerEvidence all = of(layer);
    CalibLayer out = label(run_, all.ffn, layer, fit_passes_, check_passes_);
    out.inputs = inputs_.at(layer);
    out.output_moment = all.output_moment;
    write_calib(file_of(layer), out, all.statistics);
  }
}

}  // namespace lacuna
