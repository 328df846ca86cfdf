// Collecting what layers are carved from, under any layout: forward (and for heapr backward) passes show
// every FFN's inputs to all ranks; each layer's owner gets all tokens of it and computes its statistics.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "recipes/cmoe/calib_writer.h"
#include "recipes/cmoe/carve_layer.h"
#include "recipes/common/calibration_inputs.h"
#include "recipes/common/calibration_run.h"

namespace lacuna {

class EvidenceCollector {
 public:
  // needs_moment: somebody asks for heapr. Both outlive the collector.
  EvidenceCollector(CalibrationRun& run, const CmoeOptions& options, bool needs_moment);

  // Layers whose owner this rank is, ascending.
  const std::vector<int>& mine() const { return mine_; }
  bool owns(int layer) const;
  const std::vector<int>& stage_layers() const { return stage_layers_; }
  bool in_stage(int layer) const;

  // Inputs of all layers from the parent, or from the statistics file; then super neurons over all layers.
  // Collective over the world.
  void collect_dense();
  // Inputs of one layer from a carved model. Collective; only the layer's stage gets them.
  void collect_layer(int layer, const std::shared_ptr<const CarvedModel>& model);

  // Inputs of this rank's layers in a carved model, tokens to fit on alone, as the model computed them.
  // Collective over the world.
  std::map<int, at::Tensor> inputs_of(const std::shared_ptr<const CarvedModel>& model) const;

  // Lets go of what was collected: `of` has nothing left.
  void release();

  // For layers that this rank owns and that were collected. The statistics are computed once a layer.
  LayerEvidence of(int layer) const;

 private:
  void show_inputs(const std::shared_ptr<const CarvedModel>& model, std::int64_t passes,
                   const LlamaStage::TokenObserver& observer) const;
  LayerEvidence assemble(int layer) const;
  void collect_moments();
  void take(int layer, const at::Tensor& inputs);
  void find_super_neurons();
  CalibLabel label() const;
  int rank_of_owner(int layer) const;
  bool read_statistics();
  void write_statistics(CalibWriter& file) const;

  CalibrationRun& run_;
  const CmoeOptions& options_;
  bool needs_moment_;
  std::int64_t fit_passes_, check_passes_;
  std::vector<LayerRange> cuts_;  // of all stages
  std::vector<int> stage_layers_, mine_;
  // On the model's device.
  std::map<int, at::Tensor> inputs_;   // fit and check tokens, [tokens, hidden], as the model computed them
  std::map<int, at::Tensor> moments_;  // of all layers of the stage
  mutable std::map<int, NeuronStatistics> statistics_;
  std::map<int, std::vector<std::int32_t>> super_;
};

}  // namespace lacuna
