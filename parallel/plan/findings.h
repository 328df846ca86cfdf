// Where the checker's parts write what they find, and how they look things up in a table.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "parallel/plan/dependencies.h"
#include "parallel/plan/schedule.h"
#include "parallel/plan/text.h"

namespace lacuna {

class Findings {
 public:
  explicit Findings(const Schedule& schedule) : schedule_(schedule) {}

  template <class... Args>
  void at(int rank, Engine engine, int index, fmt::format_string<Args...> format, Args&&... args) {
    const auto& row = schedule_.ranks[static_cast<std::size_t>(rank)].row(engine);
    lines_.push_back(fmt::format("rank {}, {} {}, {}: ", rank, name_of(engine), index,
                                 to_text(row[static_cast<std::size_t>(index)])) +
                     fmt::format(format, std::forward<Args>(args)...));
  }
  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    lines_.push_back(fmt::format(format, std::forward<Args>(args)...));
  }
  bool empty() const { return lines_.empty(); }
  std::vector<std::string> take() { return std::move(lines_); }

 private:
  const Schedule& schedule_;
  std::vector<std::string> lines_;
};

// The parts of the check. Each needs that the ones before it found nothing.
void check_shape(const Schedule& schedule, Findings& findings);      // sizes, ranges, owners, caps
void check_compute(const Schedule& schedule, Findings& findings);    // once each, in order, ascending
void check_transfers(const Schedule& schedule, Findings& findings);  // complete, k-th meets k-th
void check_copies(const Schedule& schedule, Findings& findings);     // out and back once, guest slots
void check_slots(const Schedule& schedule, Findings& findings);      // own slots
void check_progress(const Schedule& schedule, Findings& findings);   // ends without buffering

}  // namespace lacuna
