#include "src/infer/measure.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <vector>

#include "src/base/error.h"
#include "src/infer/sampler.h"
#include "src/infer/thread_pool.h"

namespace lacuna {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Eight chains, so that additions do not bound the loads.
std::uint64_t sum_of(const std::uint64_t* words, std::int64_t count) {
  std::uint64_t sums[8] = {};
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8)
    for (int lane = 0; lane < 8; ++lane) sums[lane] += words[i + lane];
  for (; i < count; ++i) sums[0] += words[i];
  std::uint64_t total = 0;
  for (const std::uint64_t sum : sums) total += sum;
  return total;
}

}  // namespace

double read_stream(int threads, std::size_t bytes, int rounds) {
  const std::size_t words = bytes / 8;
  const auto memory = std::make_unique_for_overwrite<std::uint64_t[]>(words);
  ThreadPool pool(threads);
  const auto count = static_cast<std::int64_t>(words);
  pool.split(count, 4096, 1e9, [&](std::int64_t begin, std::int64_t end, int) {
    std::fill(memory.get() + begin, memory.get() + end, 1);
  });
  double best = 0;
  for (int round = 0; round < rounds; ++round) {
    std::atomic<std::uint64_t> total{0};
    const auto start = Clock::now();
    pool.split(count, 4096, 1e9, [&](std::int64_t begin, std::int64_t end, int) {
      total += sum_of(memory.get() + begin, end - begin);
    });
    best = std::max(best, static_cast<double>(words * 8) / seconds_since(start));
    LACUNA_ASSERT(total == words);
  }
  return best;
}

DecodeSpeed measure_decode(Engine& engine, std::span<const std::int32_t> prompt, std::int64_t steps) {
  LACUNA_CHECK(steps > 0, ErrorKind::Usage, "{} tokens to decode, wanted at least 1", steps);
  engine.reset();
  auto start = Clock::now();
  std::span<const float> logits = engine.prefill(prompt);
  DecodeSpeed out;
  out.prefill_tokens_per_s = static_cast<double>(prompt.size()) / seconds_since(start);
  engine.clear_statistics();
  std::vector<double> seconds;
  for (std::int64_t step = 0; step < steps; ++step) {
    const std::int32_t id = sample(logits, {}, 0);
    start = Clock::now();
    logits = engine.decode(id);
    seconds.push_back(seconds_since(start));
  }
  std::nth_element(seconds.begin(), seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2),
                   seconds.end());
  out.tokens_per_s = 1 / seconds[seconds.size() / 2];
  const FfnStatistics& statistics = engine.statistics();
  const double uses = static_cast<double>(statistics.steps) * static_cast<double>(statistics.layers.size());
  for (const FfnStatistics::Layer& layer : statistics.layers) {
    out.up_rows += static_cast<double>(layer.up_rows) / uses;
    out.down_rows += static_cast<double>(layer.down_rows) / uses;
  }
  out.ffn_sparsity = statistics.sparsity();
  out.bytes_per_token = engine.weights().bytes_per_token(out.up_rows, out.down_rows);
  return out;
}

}  // namespace lacuna
