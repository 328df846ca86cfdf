// Where a rank stands: rank = ((pp·D)+dp)·T+tp, so tensor-parallel neighbours are adjacent (same node), then
// data parallel, then pipeline.
#pragma once

#include <string>
#include <vector>

namespace lacuna {

struct Topology {
  int pp = 1, tp = 1, dp = 1;  // axis sizes
  int world() const { return pp * tp * dp; }
};

struct Coordinates {
  int pp = 0, tp = 0, dp = 0;
  bool operator==(const Coordinates&) const = default;
};

inline Coordinates coordinates_of(const Topology& t, int rank) {
  return {rank / (t.dp * t.tp), rank % t.tp, rank / t.tp % t.dp};
}
inline int rank_of(const Topology& t, const Coordinates& c) {
  return ((c.pp * t.dp) + c.dp) * t.tp + c.tp;
}

// Layers of each pipeline stage: [begin, end) per stage. `cuts` are the numbers of layers per stage as the
// user gave them ("3,5,5,3"); empty: as even as possible, the earlier stages taking the remainder except
// the last, which also carries the head. Throws Error(Usage) when they do not sum to `layers`.
struct LayerRange {
  int begin = 0, end = 0;
};
std::vector<LayerRange> cut_layers(int layers, int stages, const std::vector<int>& cuts);

}  // namespace lacuna
