#include "src/infer/measure.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <vector>

#include "src/base/error.h"
#include "src/base/thread_pool.h"

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

DecodeSpeed measure_decode(const MeasuredModel& model, std::span<const std::int32_t> prompt,
                           std::int64_t steps) {
  const auto tokens = static_cast<std::int64_t>(prompt.size());
  LACUNA_CHECK(steps > 0, ErrorKind::Usage, "{} tokens to decode, wanted at least 1", steps);
  LACUNA_CHECK(tokens > 0 && tokens + steps <= model.context, ErrorKind::Usage,
               "{} prompt tokens and {} decoded ones do not fit a context of {}", tokens, steps,
               model.context);
  Backend& backend = model.backend;
  auto start = Clock::now();
  std::int64_t position = 0, last = 0;
  while (position < tokens) {
    const std::int64_t count = std::min(backend.max_step(), tokens - position);
    backend.step(prompt.subspan(static_cast<std::size_t>(position), static_cast<std::size_t>(count)),
                 position);
    position += count;
    last = count - 1;
  }
  std::int32_t id = backend.likeliest(last);
  DecodeSpeed out;
  out.prefill_tokens_per_s = static_cast<double>(tokens) / seconds_since(start);
  backend.clear_statistics();
  std::vector<double> seconds;
  for (std::int64_t step = 0; step < steps; ++step) {
    start = Clock::now();
    backend.step({&id, 1}, position++);
    id = backend.likeliest(0);
    seconds.push_back(seconds_since(start));
  }
  const auto middle = seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2);
  std::nth_element(seconds.begin(), middle, seconds.end());
  out.tokens_per_s = 1 / *middle;
  const FfnStatistics& statistics = backend.statistics();
  const double uses = static_cast<double>(statistics.steps) * static_cast<double>(statistics.layers.size());
  for (const FfnStatistics::Layer& layer : statistics.layers) {
    out.up_rows += static_cast<double>(layer.up_rows) / uses;
    out.down_rows += static_cast<double>(layer.down_rows) / uses;
  }
  out.ffn_sparsity = statistics.sparsity();
  out.bytes_per_token = model.bytes_per_token(out.up_rows, out.down_rows);
  return out;
}

DecodeSpeed measure_decode(Engine& engine, std::span<const std::int32_t> prompt, std::int64_t steps) {
  engine.reset();
  return measure_decode({engine.backend(), engine.context(),
                         [&](double up_rows, double down_rows) {
                           return engine.weights().bytes_per_token(up_rows, down_rows);
                         }},
                        prompt, steps);
}

}  // namespace lacuna
