// Models of random weights for measurements, in which exactly a chosen share of neurons takes part for every
// token. Column 0 of the residual stream is a large constant that no block changes; the weight that a
// neuron's gate (and, for dReLU, its up) gives to it outweighs all else, so its sign decides whether the
// neuron is open.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "src/arch/model_config.h"
#include "src/base/rng.h"
#include "src/infer/backend.h"

namespace lacuna {

// +1 or -1 for each neuron of a layer: the sign of its gate and of its up.
struct NeuronSigns {
  std::vector<float> gate, up;
};
// A share `zeros` of the products is exactly zero for relu and drelu, as near as whole neurons allow: open
// are those with a positive gate, in drelu the root of 1 - zeros of them, and of the open ones those with a
// positive up. Which ones is drawn per layer.
NeuronSigns neuron_signs(const ModelConfig& config, std::int64_t layer, double zeros);

// The scales of a parameter's random values, by its role.
struct RandomScale {
  double std = 0;            // of the uniform values; 0: constant one (norms)
  double constant = 0;       // embedding: what column 0 holds
  double decisive = 0;       // gate, up: size of column 0
  bool no_row_zero = false;  // output, down as [hidden, ffn]: row 0 is zero
};
RandomScale random_scale(const ModelConfig& config, const std::string& name);

// Element `index` of the canonical tensor under `key` = rng_key(kRandomModelSeed, name).
inline constexpr std::uint64_t kRandomModelSeed = 17;
constexpr float random_value(std::uint64_t key, std::uint64_t index, float half_width) {
  const auto steps = static_cast<float>(rng_bits(key, index) >> 40);
  return (steps * 0x1p-23f - 1.0f) * half_width;
}
inline float half_width(double std) {
  return static_cast<float>(std * 1.7320508075688772);  // of a uniform distribution
}

// What `bench --arch` measures.
class RandomModel {
 public:
  virtual ~RandomModel() = default;
  virtual Backend& backend() = 0;
  virtual std::int64_t context() const = 0;
  // Redraws which neurons take part. Silu models: their signs alone.
  virtual void set_zeros(double zeros) = 0;
  virtual double bytes_per_token(double up_rows, double down_rows) const = 0;
};

// On the CPU, in fp32 or bf16. config is complete.
std::unique_ptr<RandomModel> make_random_model(const ModelConfig& config, DType dtype,
                                               const std::string& path, int threads, std::int64_t context);

}  // namespace lacuna
