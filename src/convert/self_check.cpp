#include "src/convert/self_check.h"

#include <algorithm>
#include <cmath>

#include "src/base/error.h"
#include "src/base/rng.h"
#include "src/infer/engine.h"

namespace lacuna {

namespace {

double roundoff(DType dtype) {
  switch (dtype) {
    case DType::F32:
      return 0x1p-24;
    case DType::BF16:
      return 0x1p-8;
    case DType::F16:
      return 0x1p-11;
    default:
      return 0;
  }
}

// Relative error of one matrix product in the arithmetic that made a probe. In bf16 its weights (the
// checkpoint keeps them in fp32) and its result are rounded, while it is summed in fp32.
double product_error(const std::string& compute, double length) {
  if (compute == "fp64") return 0x1p-53 * std::sqrt(length);
  if (compute == "bf16") return std::hypot(0x1p-8, 0x1p-8, 0x1p-24 * std::sqrt(length));
  LACUNA_CHECK(compute == "fp32", ErrorKind::BadInput,
               "the probe was computed in '{}' (fp64, fp32, bf16 are known)", compute);
  return 0x1p-24 * std::sqrt(length);
}

void check_probe(const Probe& probe, const ModelConfig& config) {
  LACUNA_CHECK(probe.sequences.size() == probe.logits.size(), ErrorKind::BadInput,
               "the probe has {} sequences and {} rows of logits", probe.sequences.size(),
               probe.logits.size());
  for (std::size_t i = 0; i < probe.sequences.size(); ++i) {
    const auto width = static_cast<std::int64_t>(probe.logits[i].size());
    LACUNA_CHECK(width == config.vocab, ErrorKind::BadInput,
                 "the probe has {} logits, the vocabulary {} tokens", width, config.vocab);
    LACUNA_CHECK(!probe.sequences[i].empty(), ErrorKind::BadInput, "the probe has an empty sequence");
  }
  if (!config.is_routed()) return;
  for (std::size_t i = 0; i < probe.routes.size(); ++i)
    LACUNA_CHECK(
        probe.routes.size() == probe.sequences.size() &&
            probe.routes[i].size() ==
                probe.sequences[i].size() * static_cast<std::size_t>(config.layers * config.routed.experts),
        ErrorKind::BadInput, "the probe's sequence {} has {} routes for {} tokens", i, probe.routes[i].size(),
        probe.sequences[i].size());
}

void compare(std::span<const float> got, const std::vector<double>& want, SelfCheck& result) {
  double squares = 0, largest = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double difference = std::abs(static_cast<double>(got[i]) - want[i]);
    squares += difference * difference;
    if (!(difference <= largest)) largest = difference;  // also when it is not a number
  }
  const double rms = std::sqrt(squares / static_cast<double>(want.size()));
  if (!(rms <= result.worst_rms)) result.worst_rms = rms;
  if (!(largest <= result.worst_abs)) result.worst_abs = largest;
}

// One sequence, with the experts that the probe names if it does. Returns the doubt about them.
double run_sequence(Engine& engine, const Probe& probe, std::size_t index, SelfCheck& result) {
  RouteTrace trace;
  trace.follow = true;
  trace.length = static_cast<std::int64_t>(probe.sequences[index].size());
  const bool guided = engine.config().is_routed() && !probe.routes.empty();
  if (guided) {
    trace.on = probe.routes[index];
    engine.trace_routes(&trace);
  }
  engine.reset();
  compare(engine.prefill(probe.sequences[index]), probe.logits[index], result);
  if (guided) engine.trace_routes(nullptr);
  return trace.doubt;
}

}  // namespace

LogitBound logit_bound(const ModelSource& source, const std::string& probe_compute, DType stored) {
  const ModelConfig& config = source.config();
  const double length = static_cast<double>(std::max(config.hidden, config.ffn));
  const double u =
      std::hypot(product_error("fp32", length), product_error(probe_compute, length), roundoff(stored));
  const double relative = std::sqrt(16.0 * static_cast<double>(config.layers) + 4) * u;

  std::vector<double> norm(static_cast<std::size_t>(config.hidden));
  source.copy("model.norm.weight", DType::F64, norm.data());
  double norm_squares = 0;
  for (const double value : norm) norm_squares += value * value;
  const double norm_rms = std::sqrt(norm_squares / static_cast<double>(config.hidden));

  const TensorView& head = source.tensor("lm_head.weight");
  double all = 0, largest = 0;
  for (std::int64_t row = 0; row < config.vocab; ++row) {
    double squares = 0;
    for (std::int64_t i = 0; i < config.hidden; ++i) {
      const double value =
          load_as_double(head.data, head.dtype, static_cast<std::size_t>(row * config.hidden + i));
      squares += value * value;
    }
    all += squares;
    largest = std::max(largest, squares);
  }
  const double row_rms = std::sqrt(all / static_cast<double>(config.vocab));
  return {3 * relative * row_rms * norm_rms, 6 * relative * std::sqrt(largest) * norm_rms, 6 * relative};
}

SelfCheck self_check(const std::string& model_folder, const Probe& probe, DType stored, int threads) {
  EngineOptions options;
  options.threads = threads;
  Engine engine(ModelSource::open(model_folder), options);
  check_probe(probe, engine.config());
  const LogitBound bound = logit_bound(engine.weights().source(), probe.compute, stored);
  SelfCheck result;
  result.rms_bound = bound.rms;
  result.abs_bound = bound.largest;
  result.doubt_bound = bound.doubt;
  for (std::size_t i = 0; i < probe.sequences.size(); ++i) {
    result.doubt = std::max(result.doubt, run_sequence(engine, probe, i, result));
    ++result.sequences;
    result.tokens += static_cast<std::int64_t>(probe.sequences[i].size());
  }
  const FfnStatistics& statistics = engine.statistics();
  result.sparsity.activation = engine.config().activation;
  result.sparsity.tokens = statistics.tokens;
  result.sparsity.ffn_sparsity = statistics.sparsity();
  for (std::size_t layer = 0; layer < statistics.layers.size(); ++layer)
    result.sparsity.per_layer.push_back(statistics.sparsity(layer));
  return result;
}

Probe make_probe(const std::string& model, int threads) {
  EngineOptions options;
  options.threads = threads;
  const std::unique_ptr<Engine> engine = Engine::load(model, options);
  const std::uint64_t key = rng_key(0, "probe");
  std::uint64_t drawn = 0;
  Probe probe;
  for (const std::int64_t length : {1, 7, 16, 33}) {
    std::vector<std::int32_t> ids;
    for (std::int64_t i = 0; i < std::min(length, engine->context()); ++i)
      ids.push_back(static_cast<std::int32_t>(
          rng_below(key, drawn++, static_cast<std::uint64_t>(engine->config().vocab))));
    engine->reset();
    RouteTrace trace;
    trace.length = static_cast<std::int64_t>(ids.size());
    if (engine->config().is_routed()) engine->trace_routes(&trace);
    const std::span<const float> logits = engine->prefill(ids);
    probe.logits.emplace_back(logits.begin(), logits.end());
    if (engine->config().is_routed()) {
      probe.routes.push_back(std::move(trace.on));
      engine->trace_routes(nullptr);
    }
    probe.sequences.push_back(std::move(ids));
  }
  return probe;
}

}  // namespace lacuna
