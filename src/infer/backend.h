// What runs the blocks of one sequence: the seam between the engine (context, positions, policies) and the
// hardware. Positions may be run again: a step overwrites what was stored from its position on.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/matrix.h"
#include "src/infer/ffn_statistics.h"
#include "src/infer/route_trace.h"

namespace lacuna {

// Which weights an FFN reads: all of them, or only those of active neurons (exact gate first).
enum class FfnPath : std::uint8_t { Dense, Sparse };

class Backend {
 public:
  virtual ~Backend() = default;
  // Most tokens of one step.
  virtual std::int64_t max_step() const = 0;
  // Runs `tokens` (1 to max_step(), all inside the vocabulary) at positions position, position + 1, …
  virtual void step(std::span<const std::int32_t> tokens, std::int64_t position) = 0;
  // Logits [count, vocab] in fp32 of tokens [begin, begin + count) of the last step, on the host; valid until
  // the next call.
  virtual ConstRows logits(std::int64_t begin, std::int64_t count) = 0;
  // The token with the largest logit after token `index` of the last step, the lowest id among equals, as the
  // greedy sampler finds it. A device answers without moving the logits.
  virtual std::int32_t likeliest(std::int64_t index);
  virtual const FfnStatistics& statistics() const = 0;
  virtual void clear_statistics() = 0;
  // See Engine::trace_routes. Error(Usage) where a backend cannot.
  virtual void trace_routes(RouteTrace* trace);
};

}  // namespace lacuna
