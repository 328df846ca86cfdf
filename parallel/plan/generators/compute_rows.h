// What generators share: an empty table of one stage a rank.
#pragma once

#include <numeric>
#include <string>

#include "parallel/plan/schedule.h"
#include "src/base/error.h"

namespace lacuna {

inline Schedule empty_schedule(const std::string& name, int ranks, int micros) {
  LACUNA_CHECK(ranks >= 1 && micros >= 1, ErrorKind::Usage,
               "schedule {}: {} ranks and {} micro-batches, wanted at least one of each", name, ranks,
               micros);
  Schedule schedule;
  schedule.name = name;
  schedule.micros = micros;
  schedule.ranks.resize(static_cast<std::size_t>(ranks));
  schedule.rank_of_stage.resize(static_cast<std::size_t>(ranks));
  std::iota(schedule.rank_of_stage.begin(), schedule.rank_of_stage.end(), 0);
  return schedule;
}

inline void add_compute(Schedule& schedule, int stage, Op op, int micro) {
  const int rank = schedule.rank_of_stage[static_cast<std::size_t>(stage)];
  schedule.ranks[static_cast<std::size_t>(rank)]
      .row(Engine::Compute)
      .push_back({op, stage, micro, -1, -1, {}});
}

}  // namespace lacuna
