// Bytes of each rank by class, before anything is allocated. Works on plain numbers; who knows the model
// (src/arch) provides them.
#pragma once

#include <cstddef>
#include <vector>

#include "parallel/plan/schedule.h"

namespace lacuna {

// What one pipeline rank needs to know of its model part; of one tensor- and data-parallel rank.
struct RankSizes {
  std::size_t weights = 0, gradients = 0, optimizer = 0;  // bytes
  std::vector<std::size_t> piece_bytes;                   // of a stash of this rank, largest of its stages
  std::size_t boundary_bytes = 0;                         // one activation between two stages
  std::size_t workspace = 0;                              // buffers that live inside one call
  std::size_t teacher = 0;                                // a frozen model beside it, with all that it needs
};

struct RankBytes {
  std::size_t weights = 0, gradients = 0, optimizer = 0;
  std::size_t own_stashes = 0;  // each own slot as large as the largest piece that the table puts there
  std::size_t guest_area = 0;   // the same for the partner's pieces in the guest slots
  std::size_t boundaries = 0;   // receive and send buffers of both kinds
  std::size_t workspace = 0;
  std::size_t teacher = 0;
  std::size_t one_stash = 0;  // of one micro-batch; part of own_stashes
  bool operator==(const RankBytes&) const = default;
  std::size_t total() const {
    return weights + gradients + optimizer + own_stashes + guest_area + boundaries + workspace + teacher;
  }
};

// One entry a rank of the schedule. `sizes` has as many entries, each piece_bytes as many as the schedule has
// pieces; Error(Internal) otherwise.
std::vector<RankBytes> memory_by_class(const Schedule& schedule, const std::vector<RankSizes>& sizes);

}  // namespace lacuna
