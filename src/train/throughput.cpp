#include "src/train/throughput.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>

#include "src/arch/parameters.h"
#include "src/model/parameter_store.h"

namespace lacuna {

namespace {

constexpr double kH100Bf16 = 989.4e12;  // dense bf16, H100 and H200 SXM data sheet: what MFU is a share of

}  // namespace

double flops_per_token(const ModelConfig& config, std::int64_t seq_len) {
  const double embedding = static_cast<double>(config.vocab * config.hidden);
  // A tied head does the work of a head: only the look-up is free.
  const double matrices =
      static_cast<double>(parameter_count(config)) - (config.tied_embeddings ? 0 : embedding);
  return 6 * matrices + 6.0 * static_cast<double>(config.layers * config.query_width() * seq_len);
}

double measured_matmul_rate(const std::string& dtype, at::Device device) {
  if (device.is_cuda()) return kH100Bf16;
  constexpr std::int64_t kSize = 256;
  const at::Tensor a = at::ones({kSize, kSize}, scalar_type(parse_dtype(dtype)));
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const auto start = std::chrono::steady_clock::now();
    at::mm(a, a);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return 2.0 * kSize * kSize * kSize / best;
}

std::size_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::size_t>(usage.ru_maxrss) * 1024;
}

std::string short_count(double value) {
  for (const char* unit : {"", "k", "M", "G"}) {
    if (value < 1000)
      return fmt::format("{:.{}f}{}", value, value < 10 && *unit ? 2 : value < 100 ? 1 : 0, unit);
    value /= 1000;
  }
  return fmt::format("{:.0f}T", value);
}

std::string short_bytes(double bytes) {
  for (const char* unit : {"B", "KiB", "MiB"}) {
    if (bytes < 1024) return fmt::format("{:.0f} {}", bytes, unit);
    bytes /= 1024;
  }
  return fmt::format("{:.1f} GiB", bytes);
}

}  // namespace lacuna
