#include "src/infer/engine.h"

#include <algorithm>

#include "src/base/error.h"
#include "src/infer/cpu_backend.h"

namespace lacuna {

namespace {

FfnPath choose_path(const std::string& name, const ModelConfig& config) {
  const bool zeros = config.is_routed() ? config.routed.router != RouterKind::Oracle
                                        : config.activation != Activation::Silu;
  if (name == "auto") return zeros ? FfnPath::Sparse : FfnPath::Dense;
  if (name == "dense") return FfnPath::Dense;
  LACUNA_CHECK(name == "sparse", ErrorKind::Usage, "--path '{}' is unknown (auto, dense, sparse)", name);
  LACUNA_CHECK(zeros, ErrorKind::Usage,
               "--path sparse needs a relu, drelu or routed model; this one is {} and has no neurons to skip",
               name_of(config.activation));
  return FfnPath::Sparse;
}

std::int64_t choose_context(std::int64_t asked, const ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  double longest = static_cast<double>(config.max_positions);
  if (scaling.kind == "linear") longest *= scaling.factor;
  if (scaling.kind == "llama3")
    longest = std::max(longest, static_cast<double>(scaling.original_positions) * scaling.factor);
  LACUNA_CHECK(asked >= 0, ErrorKind::Usage, "--ctx is {}, wanted at least 1", asked);
  LACUNA_CHECK(static_cast<double>(asked) <= longest, ErrorKind::Usage,
               "--ctx {} is beyond the {} positions this model was trained for", asked,
               static_cast<std::int64_t>(longest));
  return asked > 0 ? asked : config.max_positions;
}

// Rows of logits that are held at a time when all are wanted.
std::int64_t logits_block(std::int64_t vocab) {
  return std::clamp<std::int64_t>((std::int64_t{1} << 23) / vocab, 1, 128);
}

}  // namespace

Engine::Engine(ModelSource source, const EngineOptions& options)
    : weights_(std::move(source)),
      path_(choose_path(options.path, weights_.config())),
      context_(choose_context(options.context, weights_.config())),
      backend_(options.backend ? options.backend(weights_, path_, context_)
                               : std::make_unique<CpuBackend>(weights_, path_, options.threads, context_)) {}

Engine::~Engine() = default;

std::unique_ptr<Engine> Engine::load(const std::string& path, const EngineOptions& options) {
  return std::make_unique<Engine>(ModelSource::open(path), options);
}

void Engine::check(std::span<const std::int32_t> tokens) const {
  LACUNA_CHECK(!tokens.empty(), ErrorKind::Usage, "no tokens to run");
  const auto count = static_cast<std::int64_t>(tokens.size());
  LACUNA_CHECK(position_ + count <= context_, ErrorKind::Usage,
               "{} tokens after {} do not fit a context of {}", count, position_, context_);
  for (const std::int32_t id : tokens)
    LACUNA_CHECK(id >= 0 && id < config().vocab, ErrorKind::BadInput,
                 "token id {} is outside the vocabulary of {}", id, config().vocab);
}

// Returns the index of the last token within the last step.
std::int64_t Engine::append(std::span<const std::int32_t> tokens) {
  check(tokens);
  std::int64_t last = 0;
  while (!tokens.empty()) {
    const std::size_t count = std::min(tokens.size(), static_cast<std::size_t>(backend_->max_step()));
    backend_->step(tokens.first(count), position_);
    position_ += static_cast<std::int64_t>(count);
    last = static_cast<std::int64_t>(count) - 1;
    tokens = tokens.subspan(count);
  }
  return last;
}

std::span<const float> Engine::prefill(std::span<const std::int32_t> tokens) {
  return {backend_->logits(append(tokens), 1).row(0), static_cast<std::size_t>(config().vocab)};
}

std::int32_t Engine::prefill_greedy(std::span<const std::int32_t> tokens) {
  return backend_->likeliest(append(tokens));
}

void Engine::score(std::span<const std::int32_t> tokens, const LogitsConsumer& consume) {
  check(tokens);
  const std::int64_t block = logits_block(config().vocab);
  std::int64_t first = 0;
  while (!tokens.empty()) {
    const std::size_t count = std::min(tokens.size(), static_cast<std::size_t>(backend_->max_step()));
    backend_->step(tokens.first(count), position_);
    position_ += static_cast<std::int64_t>(count);
    for (std::int64_t at = 0; at < static_cast<std::int64_t>(count); at += block) {
      const std::int64_t rows = std::min(block, static_cast<std::int64_t>(count) - at);
      consume(first + at, backend_->logits(at, rows));
    }
    first += static_cast<std::int64_t>(count);
    tokens = tokens.subspan(count);
  }
}

}  // namespace lacuna
