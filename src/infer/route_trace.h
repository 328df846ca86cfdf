// Which experts were on, recorded while a model runs, or given to it. Two machines whose roundings differ may
// choose differently between experts that score nearly alike, and then differ in everything after: a
// comparison of their logits gives one the choices of the other, and asks how far from its own scores they
// are.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lacuna {

struct RouteTrace {
  bool follow = false;      // false: `on` is written
  std::int64_t length = 0;  // positions of the sequence
  // 1 where an expert was on: [(layer·length + position)·experts + expert].
  std::vector<std::uint8_t> on;
  // By how much a followed choice was against the own scores at worst, in standard deviations of the
  // difference of two scores if the router's input had a relative error of 1 in each element; infinite where
  // a choice that no rounding can change was another.
  double doubt = 0;
};

// `doubt` of one choice that is not the own one: keys and standard deviations of each expert's score.
double route_doubt(const std::vector<float>& keys, const std::vector<double>& deviations,
                   std::span<const std::uint8_t> on, bool threshold);

}  // namespace lacuna
