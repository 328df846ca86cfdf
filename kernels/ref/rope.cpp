// The rotation by complex multiplication, from frequencies of its own.
#include "kernels/rope.h"

#include <cmath>
#include <complex>
#include <numbers>

namespace lacuna {

namespace {

// Rules of Llama 3's scaling by wavelength, case by case.
double scaled_frequency(const RopeSettings& settings, double frequency) {
  switch (settings.scaling) {
    case RopeSettings::Scaling::None:
      return frequency;
    case RopeSettings::Scaling::Linear:
      return frequency / settings.factor;
    case RopeSettings::Scaling::Llama3:
      break;
  }
  const double wavelength = 2 * std::numbers::pi / frequency;
  if (wavelength < settings.original_positions / settings.high_freq_factor) return frequency;
  if (wavelength > settings.original_positions / settings.low_freq_factor) return frequency / settings.factor;
  const double smooth = (settings.original_positions / wavelength - settings.low_freq_factor) /
                        (settings.high_freq_factor - settings.low_freq_factor);
  return (1 - smooth) * frequency / settings.factor + smooth * frequency;
}

}  // namespace

void rope_ref(const RopeSettings& settings, std::int64_t head_dim, std::int64_t first_position,
              std::int64_t tokens, std::int64_t heads, double* x) {
  const std::int64_t half = head_dim / 2;
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t head = 0; head < heads; ++head)
      for (std::int64_t i = 0; i < half; ++i) {
        const double exponent = static_cast<double>(2 * i) / static_cast<double>(head_dim);
        const double frequency = scaled_frequency(settings, 1 / std::pow(settings.theta, exponent));
        double* at = x + (t * heads + head) * head_dim + i;
        const std::complex<double> turned =
            std::complex<double>(at[0], at[half]) *
            std::polar(1.0, static_cast<double>(first_position + t) * frequency);
        at[0] = turned.real();
        at[half] = turned.imag();
      }
}

}  // namespace lacuna
