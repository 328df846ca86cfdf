// A small model as a folder and as a training checkpoint, for conversions there and back.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "parallel/run/local_communicator.h"
#include "src/base/convert_elements.h"
#include "src/checkpoint/checkpoint.h"
#include "src/convert/checkpoint_source.h"
#include "src/infer/engine.h"
#include "tests/format/fixtures.h"

namespace lacuna::test {

// Tensor values as test::element gives them, scaled like initial weights, in `dtype`.
inline std::vector<std::byte> toy_values(const Parameter& parameter, DType dtype) {
  std::vector<float> values(static_cast<std::size_t>(parameter.elements()));
  const bool norm = parameter.shape.size() == 1;
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = (norm ? 1.0f : 0.0f) + 0.3f * element(parameter.name, static_cast<std::int64_t>(i));
  std::vector<std::byte> out(values.size() * size_of(dtype));
  convert_elements(values.data(), DType::F32, out.data(), dtype, static_cast<std::int64_t>(values.size()));
  return out;
}

// Saves a checkpoint of kind "train" at `step` into `run` with weights of `dtype` and optimizer moments; the
// probe's logits are what `disturb` makes of the engine's own.
inline std::string put_checkpoint(const std::string& run, const ModelConfig& config, DType dtype,
                                  std::int64_t step, double disturb = 0) {
  std::vector<std::vector<std::byte>> bytes;
  std::vector<TensorSlab> slabs;
  for (const Parameter& parameter : parameters(config)) {
    const Slab whole{std::vector<std::int64_t>(parameter.shape.size(), 0), parameter.shape};
    bytes.push_back(toy_values(parameter, dtype));
    slabs.push_back({parameter.name, dtype, parameter.shape, whole, bytes.back().data()});
    bytes.push_back(toy_values(parameter, DType::F32));
    slabs.push_back(
        {"optim.exp_avg." + parameter.name, DType::F32, parameter.shape, whole, bytes.back().data()});
  }
  CheckpointMeta meta;
  meta.step = step;
  meta.tokens = 1000 * step;
  meta.config = config;
  meta.layout = {{"pp", 2}, {"tp", 1}, {"dp", 1}};
  meta.state = {{"fact.recipe", "toy | with a bar"}, {"zeros.0000", "0.5"}};
  meta.config_ini = "[model]\nhidden = 12\n";
  // The probe comes from the engine over the same values, by way of contents made here.
  ModelContents contents;
  contents.config = config;
  contents.path = contents.kind = "toy";
  std::size_t index = 0;
  for (const Parameter& parameter : parameters(config)) {
    contents.tensors.emplace(parameter.name, TensorView{dtype, parameter.shape, bytes[index].data()});
    index += 2;
  }
  Engine engine(ModelSource(std::move(contents)), {1, "auto", 0});
  for (const std::vector<std::int32_t>& ids : {std::vector<std::int32_t>{3}, {1, 5, 9, 2, 16}}) {
    engine.reset();
    RouteTrace trace;
    trace.length = static_cast<std::int64_t>(ids.size());
    if (config.is_routed()) engine.trace_routes(&trace);
    const std::span<const float> logits = engine.prefill(ids);
    if (config.is_routed()) meta.probe.routes.push_back(trace.on);
    meta.probe.sequences.push_back(ids);
    meta.probe.logits.emplace_back(logits.begin(), logits.end());
    meta.probe.logits.back()[4] += disturb;
  }
  const std::unique_ptr<Communicator> world = single_rank();
  SaveOptions options;
  options.keep_last = 10;
  return save_checkpoint(run, *world, meta, slabs, options);
}

}  // namespace lacuna::test
