// The order in which training sees the windows of a corpus: for every (seed, epoch) a permutation that is
// computed, not stored. A Feistel network over the next power of four is a bijection of its range; walking
// along its cycle until the value falls below the number of windows makes it one of the windows (Black and
// Rogaway 2002). A sample's window depends on its global index alone, not on ranks or batches.
#pragma once

#include <cstdint>

namespace lacuna {

class SampleOrder {
 public:
  // windows > 0.
  SampleOrder(std::int64_t windows, std::uint64_t seed);
  // The window of global sample `index` >= 0. Samples e * windows .. (e + 1) * windows - 1 visit every window
  // exactly once.
  std::int64_t window(std::int64_t index) const;
  std::int64_t windows() const { return windows_; }

 private:
  std::int64_t windows_;
  std::uint64_t seed_;
  int half_bits_ = 1;
};

}  // namespace lacuna
