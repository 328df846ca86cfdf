#include "kernels/rope.h"

#include <cmath>
#include <numbers>

#include "src/base/error.h"

namespace lacuna {

std::vector<double> rope_frequencies(const RopeSettings& settings, std::int64_t head_dim) {
  LACUNA_ASSERT(head_dim > 0 && head_dim % 2 == 0 && settings.factor > 0);
  std::vector<double> out;
  for (std::int64_t i = 0; i < head_dim / 2; ++i) {
    double frequency =
        std::pow(settings.theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
    if (settings.scaling == RopeSettings::Scaling::Linear) frequency /= settings.factor;
    if (settings.scaling == RopeSettings::Scaling::Llama3) {
      // Wavelengths beyond the old context stretch by `factor`, short ones stay, between them a ramp.
      const double turns = settings.original_positions * frequency / (2 * std::numbers::pi);
      const double ramp =
          (turns - settings.low_freq_factor) / (settings.high_freq_factor - settings.low_freq_factor);
      const double keep = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
      frequency = (1 - keep) * frequency / settings.factor + keep * frequency;
    }
    out.push_back(frequency);
  }
  return out;
}

RopeTable rope_table(const RopeSettings& settings, std::int64_t head_dim, std::int64_t positions) {
  const std::vector<double> frequencies = rope_frequencies(settings, head_dim);
  RopeTable table;
  table.half = head_dim / 2;
  table.cosine.reserve(static_cast<std::size_t>(positions * table.half));
  table.sine.reserve(static_cast<std::size_t>(positions * table.half));
  for (std::int64_t position = 0; position < positions; ++position)
    for (double frequency : frequencies) {
      const double angle = static_cast<double>(position) * frequency;
      table.cosine.push_back(static_cast<float>(std::cos(angle)));
      table.sine.push_back(static_cast<float>(std::sin(angle)));
    }
  return table;
}

void rope(const RopeTable& table, std::int64_t first_position, Rows x) {
  const std::int64_t half = table.half;
  LACUNA_ASSERT(half > 0 && x.width % (2 * half) == 0);
  LACUNA_ASSERT(first_position >= 0 && first_position + x.count <= table.positions());
  for (std::int64_t t = 0; t < x.count; ++t) {
    const float* cosine = table.cosine.data() + (first_position + t) * half;
    const float* sine = table.sine.data() + (first_position + t) * half;
    for (float* head = x.row(t); head < x.row(t) + x.width; head += 2 * half)
      for (std::int64_t i = 0; i < half; ++i) {
        const float low = head[i], high = head[i + half];
        head[i] = low * cosine[i] - high * sine[i];
        head[i + half] = high * cosine[i] + low * sine[i];
      }
  }
}

}  // namespace lacuna
