#include "recipes/cmoe/evidence.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "recipes/common/super_neurons.h"
#include "src/base/error.h"
#include "src/checkpoint/together.h"

namespace lacuna {

EvidenceCollector::EvidenceCollector(CalibrationRun& run, const CmoeOptions& options, bool needs_moment)
    : run_(run),
      options_(options),
      needs_moment_(needs_moment),
      fit_passes_(run.passes_for(options.calibration_tokens)),
      check_passes_(run.passes_for(options.check_tokens)),
      cuts_(cut_layers(static_cast<int>(run.parent.layers), run.context.topology.pp,
                       std::vector<int>(run.options.cuts.begin(), run.options.cuts.end()))) {
  const ParallelContext& context = run.context;
  const LayerRange range = cuts_[static_cast<std::size_t>(context.place.pp)];
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
  if (!owns(layer)) return;
  inputs_[layer] = inputs.to(run_.context.model_device);
  statistics_.erase(layer);
}

void EvidenceCollector::collect_dense() {
  if (!read_statistics()) {
    std::optional<CalibWriter> file;  // before the passes: what cannot be written is said at once
    if (!options_.statistics.empty()) file.emplace(run_.context.world, options_.statistics, label());
    CalibrationInputs seen;
    run_.show_inputs(0, fit_passes_ + check_passes_,
                     [&](int layer, const at::Tensor& rows) { seen.add(layer, rows); });
    for (const int layer : stage_layers_) take(layer, seen.gather(layer, *run_.context.dp));
    if (needs_moment_) collect_moments();
    if (file) write_statistics(*file);
  }
  find_super_neurons();
}

void EvidenceCollector::show_inputs(const std::shared_ptr<const CarvedModel>& model, std::int64_t passes,
                                    const LlamaStage::TokenObserver& observer) const {
  run_.show_inputs(model->config, carved_weights(run_.parent_weights, model),
                   carved_tensors(run_.resident(), model), 0, passes, observer);
}

void EvidenceCollector::collect_layer(int layer, const std::shared_ptr<const CarvedModel>& model) {
  CalibrationInputs seen;
  show_inputs(model, fit_passes_ + check_passes_, [&](int shown, const at::Tensor& rows) {
    if (shown == layer) seen.add(shown, rows);
  });
  if (!in_stage(layer)) return;
  take(layer, seen.gather(layer, *run_.context.dp));
}

std::map<int, at::Tensor> EvidenceCollector::inputs_of(
    const std::shared_ptr<const CarvedModel>& model) const {
  CalibrationInputs seen;
  show_inputs(model, fit_passes_, [&](int layer, const at::Tensor& rows) { seen.add(layer, rows); });
  std::map<int, at::Tensor> out;
  for (const int layer : stage_layers_) {
    const at::Tensor all = seen.gather(layer, *run_.context.dp);
    if (owns(layer)) out[layer] = all;
  }
  return out;
}

void EvidenceCollector::release() {
  inputs_.clear();
  moments_.clear();
  statistics_.clear();
}

// M = E[g gᵀ] of every layer of the stage, up to a factor: sums over this rank's tokens, then over ranks.
void EvidenceCollector::collect_moments() {
  run_.show_output_grads(0, fit_passes_, [&](int layer, const at::Tensor& grad) {
    const at::Tensor g = grad.to(at::kDouble);
    at::Tensor& sum = moments_[layer];
    sum = sum.defined() ? sum.addmm_(g.t(), g) : at::matmul(g.t(), g);
  });
  if (run_.context.tp->size() == 1 && run_.context.dp->size() == 1) return;
  for (const int layer : stage_layers_) {
    at::Tensor sum = moments_.at(layer).cpu().contiguous();
    for (Communicator* group : {run_.context.tp.get(), run_.context.dp.get()})
      group->all_reduce_sum(sum.data_ptr(), static_cast<std::size_t>(sum.numel()), DType::F64);
    moments_[layer] = sum.to(run_.context.model_device);
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
  return run_.clock.in("statistics", [&] { return assemble(layer); });
}

LayerEvidence EvidenceCollector::assemble(int layer) const {
  LayerEvidence out;
  const at::Tensor all = inputs_.at(layer).to(at::kFloat);
  const std::int64_t tokens = all.size(0) * fit_passes_ / (fit_passes_ + check_passes_);
  out.inputs = all.narrow(0, 0, tokens);
  out.check_inputs = all.narrow(0, tokens, all.size(0) - tokens);
  out.ffn = run_.ffn(layer);
  const auto known = statistics_.find(layer);
  if (known == statistics_.end())
    statistics_[layer] = neuron_statistics(out.ffn, out.inputs, std::min(options_.top, run_.parent.ffn));
  out.statistics = statistics_.at(layer);
  if (const auto moment = moments_.find(layer); moment != moments_.end()) out.output_moment = moment->second;
  if (const auto super = super_.find(layer); super != super_.end()) out.super_neurons = super->second;
  return out;
}

CalibLabel EvidenceCollector::label() const {
  const std::int64_t per_pass = run_.options.global_batch * run_.options.seq_len;
  return {run_.parent.layers, run_.parent.hidden, (fit_passes_ + check_passes_) * per_pass,
          check_passes_ * per_pass,
          fmt::format("windows of {}, seed {}, of {}", run_.options.seq_len, run_.options.seed,
                      run_.data_identity)};
}

int EvidenceCollector::rank_of_owner(int layer) const {
  const Topology& topology = run_.context.topology;
  const LayerOwner owner = owner_of(layer, topology);
  int stage = 0;
  while (layer >= cuts_[static_cast<std::size_t>(stage)].end) ++stage;
  return rank_of(topology, {stage, owner.tp, owner.dp});
}

// All layers from the file, or none: rank 0 says whether there is one.
bool EvidenceCollector::read_statistics() {
  if (options_.statistics.empty()) return false;
  const std::string& path = options_.statistics;
  const std::string there = rank0_alone(run_.context.world, "looking for " + path, [&] {
    LACUNA_CHECK(!std::filesystem::is_directory(path), ErrorKind::Usage,
                 "--statistics {} is a folder, wanted a file (calib.h5)", path);
    return std::string(std::filesystem::exists(path) ? "yes" : "");
  });
  if (there.empty()) return false;
  together(run_.context.world, "reading statistics", [&] {
    const CalibReader file(path, label());
    for (const int layer : mine_) {
      CalibLayer read = file.read(layer, calib_fingerprint(run_.parent_weights, run_.parent, layer));
      LACUNA_CHECK(read.output_moment.defined() || !needs_moment_, ErrorKind::BadInput,
                   "{}: has no output_moment, which heapr wants; give another --statistics", path);
      take(layer, read.inputs);
      if (read.output_moment.defined())
        moments_[layer] = read.output_moment.to(run_.context.model_device);
    }
    return std::string();
  });
  return true;
}

void EvidenceCollector::write_statistics(CalibWriter& file) const {
  for (int layer = 0; layer < static_cast<int>(run_.parent.layers); ++layer)
    file.add(layer, rank_of_owner(layer), [&] {
      const LayerEvidence all = of(layer);
      return CalibWriter::Measured{
          {calib_fingerprint(run_.parent_weights, run_.parent, layer), inputs_.at(layer).to(at::kFloat),
           all.output_moment},
          all.statistics};
    });
  file.finish();
}

}  // namespace lacuna
