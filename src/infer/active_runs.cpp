#include "src/infer/active_runs.h"

#include <algorithm>

#include "src/base/error.h"

namespace lacuna {

ActiveRuns ActiveRuns::whole(std::int64_t neurons) {
  ActiveRuns out;
  if (neurons > 0) out.append({0, static_cast<std::int32_t>(neurons)});
  return out;
}

void ActiveRuns::clear() {
  runs_.clear();
  count_ = 0;
}

void ActiveRuns::add(std::int32_t neuron) {
  if (!runs_.empty() && runs_.back().start + runs_.back().length == neuron) {
    ++runs_.back().length;
    ++count_;
  } else {
    append({neuron, 1});
  }
}

void ActiveRuns::append(ActiveRun run) {
  runs_.push_back(run);
  count_ += run.length;
}

ActiveRuns ActiveRuns::slice(std::int64_t begin, std::int64_t end) const {
  ActiveRuns out;
  std::int64_t at = 0;  // active neurons before the run
  for (const ActiveRun& run : runs_) {
    const std::int64_t from = std::max(begin - at, std::int64_t{0}),
                       to = std::min<std::int64_t>(end - at, run.length);
    if (from < to)
      out.append({static_cast<std::int32_t>(run.start + from), static_cast<std::int32_t>(to - from)});
    at += run.length;
    if (at >= end) break;
  }
  return out;
}

namespace {

// Neurons for which active(value) holds for any token.
template <class Active>
void collect(ConstRows values, Runs within, ActiveRuns& out, Active&& active) {
  out.clear();
  std::vector<std::uint8_t> marks;
  for (const ActiveRun& run : within) {
    LACUNA_ASSERT(run.start + run.length <= values.width);
    marks.assign(static_cast<std::size_t>(run.length), 0);
    for (std::int64_t t = 0; t < values.count; ++t) {
      const float* row = values.row(t) + run.start;
      for (std::int32_t i = 0; i < run.length; ++i) marks[static_cast<std::size_t>(i)] |= active(row[i]);
    }
    for (std::int32_t i = 0; i < run.length; ++i)
      if (marks[static_cast<std::size_t>(i)]) out.add(run.start + i);
  }
}

}  // namespace

void active_by_gate(ConstRows gate, Runs within, ActiveRuns& out) {
  collect(gate, within, out, [](float value) { return static_cast<std::uint8_t>(!(value <= 0)); });
}

void active_by_product(ConstRows product, Runs within, ActiveRuns& out) {
  collect(product, within, out, [](float value) { return static_cast<std::uint8_t>(value != 0); });
}

}  // namespace lacuna
