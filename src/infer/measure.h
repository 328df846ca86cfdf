// Speed of decoding, and the speed of memory that bounds it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "src/infer/engine.h"

namespace lacuna {

// Bytes per second that `threads` threads (0: as many as may run) read together from `bytes` of memory, the
// best of `rounds` passes.
double read_stream(int threads, std::size_t bytes, int rounds);

struct DecodeSpeed {
  double tokens_per_s = 0;  // median over the decoded tokens
  double prefill_tokens_per_s = 0;
  double bytes_per_token = 0;  // weights read, averaged over the decoded tokens (the cache not counted)
  double up_rows = 0, down_rows = 0;  // per layer and token
  double ffn_sparsity = 0;
  double bytes_per_s() const { return tokens_per_s * bytes_per_token; }
};

// What is measured: a backend, and the bytes of weights that a token reads with so many rows of up and down.
struct MeasuredModel {
  Backend& backend;
  std::int64_t context = 0;
  std::function<double(double up_rows, double down_rows)> bytes_per_token;
};
// Runs `prompt` from position 0, then decodes `steps` tokens greedily. Error(Usage) beyond the context.
DecodeSpeed measure_decode(const MeasuredModel& model, std::span<const std::int32_t> prompt,
                           std::int64_t steps);
DecodeSpeed measure_decode(Engine& engine, std::span<const std::int32_t> prompt, std::int64_t steps);

}  // namespace lacuna
