#include "parallel/plan/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "src/base/error.h"

namespace lacuna {
namespace {

constexpr int kMaxIndex = 1 << 20;  // of stages and micro-batches in a file

int read_index(std::string_view& cell, const std::string& where) {
  int value = -1;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  LACUNA_CHECK(error == std::errc() && value >= 0 && value < kMaxIndex, ErrorKind::BadInput,
               "{}: '{}', wanted a stage, one of F I W B, a micro-batch, e.g. 2F0", where, cell);
  cell.remove_prefix(static_cast<std::size_t>(end - cell.data()));
  return value;
}

Action read_cell(std::string_view cell, const std::string& where) {
  constexpr std::array kOps = {Op::Forward, Op::InputGrad, Op::WeightGrad, Op::Backward};
  const std::string_view whole = cell;
  Action action;
  action.stage = read_index(cell, where);
  const auto* const op = std::find_if(kOps.begin(), kOps.end(), [&](Op candidate) {
    return !cell.empty() && cell.front() == short_name(candidate)[0];
  });
  LACUNA_CHECK(op != kOps.end(), ErrorKind::BadInput, "{}: '{}', wanted one of F I W B after the stage",
               where, whole);
  action.op = *op;
  cell.remove_prefix(1);
  action.micro = read_index(cell, where);
  LACUNA_CHECK(cell.empty(), ErrorKind::BadInput, "{}: '{}' does not end after the micro-batch", where,
               whole);
  return action;
}

std::string_view trim(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t\r\""), end = text.find_last_not_of(" \t\r\"");
  return begin == std::string_view::npos ? std::string_view() : text.substr(begin, end - begin + 1);
}

// Calls take(part, index) for every part of `text` between separators.
template <class Take>
void split(std::string_view text, char separator, Take&& take) {
  for (int index = 1; !text.empty(); ++index) {
    const auto at = text.find(separator);
    take(trim(text.substr(0, at)), index);
    text = at == std::string_view::npos ? std::string_view() : text.substr(at + 1);
  }
}

// A cell of a file: one action; "(0F8;7B0)OVERLAP_F_B" is two; "0REDUCE_GRAD" none, reductions are added.
template <class Take>
void read_cells(std::string_view cell, const std::string& where, Take&& take) {
  constexpr std::string_view kOverlap = ")OVERLAP_F_B", kReduce = "REDUCE_GRAD";
  if (cell.empty() || cell.ends_with(kReduce)) return;
  if (cell.front() != '(' || !cell.ends_with(kOverlap)) return take(read_cell(cell, where));
  cell.remove_prefix(1);
  cell.remove_suffix(kOverlap.size());
  split(cell, ';', [&](std::string_view part, int) { take(read_cell(part, where)); });
}

// rank_of_stage from the actions: every stage from 0 up on exactly one rank.
std::vector<int> place_stages(const Schedule& schedule) {
  std::map<int, int> ranks;
  for (int rank = 0; rank < static_cast<int>(schedule.ranks.size()); ++rank) {
    for (const Action& a : schedule.ranks[static_cast<std::size_t>(rank)].row(Engine::Compute)) {
      const int known = ranks.emplace(a.stage, rank).first->second;
      LACUNA_CHECK(known == rank, ErrorKind::BadInput, "{}: stage {} is on ranks {} and {}", schedule.name,
                   a.stage, known, rank);
    }
  }
  std::vector<int> rank_of_stage;
  for (const auto& [stage, rank] : ranks) {
    LACUNA_CHECK(stage == static_cast<int>(rank_of_stage.size()), ErrorKind::BadInput,
                 "{}: no action of stage {}, but of stage {}", schedule.name, rank_of_stage.size(), stage);
    rank_of_stage.push_back(rank);
  }
  return rank_of_stage;
}

// What one line of the grid shows: a label from start to end.
struct Bar {
  std::string label;
  Span time;
};

class Grid {
 public:
  Grid(const Schedule& schedule, const EventTimes& times) : schedule_(schedule), times_(times) {}

  std::vector<std::string> draw(int max_columns) {
    const int ranks = static_cast<int>(schedule_.ranks.size());
    for (int rank = 0; rank < ranks; ++rank) collect(rank);
    const double scale = columns_per_unit();
    const auto digits = std::to_string(ranks - 1).size();
    std::vector<std::string> out;
    for (int rank = 0; rank < ranks; ++rank) {
      const auto r = static_cast<std::size_t>(rank);
      out.push_back(line(fmt::format("rank {:>{}} |", rank, digits), compute_[r], scale, max_columns));
      if (!copies_[r].empty())
        out.push_back(line(fmt::format("copy {:>{}} |", "", digits), copies_[r], scale, max_columns));
    }
    return out;
  }

 private:
  void collect(int rank) {
    const RankTable& table = schedule_.ranks[static_cast<std::size_t>(rank)];
    const bool chunks = std::count(schedule_.rank_of_stage.begin(), schedule_.rank_of_stage.end(), rank) > 1;
    compute_.emplace_back(), copies_.emplace_back();
    for (int i = 0; const Action& a : table.row(Engine::Compute)) {
      const Span& time = times_.at(rank, Engine::Compute, i++);
      const std::string stage = chunks ? std::to_string(a.stage) : "";
      if (time.end > time.start)
        compute_.back().push_back({stage + short_name(a.op) + std::to_string(a.micro), time});
    }
    for (int i = 0; const Action& a : table.row(Engine::Copy)) {
      const Span& time = times_.at(rank, Engine::Copy, i++);
      const std::string label = (a.op == Op::Evict ? "E" : "L") + std::to_string(a.micro);
      auto& bars = copies_.back();
      // Pieces of one stash that move back to back are one bar.
      if (!bars.empty() && bars.back().label == label && std::abs(bars.back().time.end - time.start) < 1e-9)
        bars.back().time.end = time.end;
      else
        bars.push_back({label, time});
    }
  }
  // As few as let every label of a compute action stand with a space after it, and those of copies without,
  // if that costs no more than twice as many. Whole, so that equal times get equal widths.
  double columns_per_unit() const {
    const auto needed = [](const auto& rows, std::size_t space) {
      double columns = 0;
      for (const auto& row : rows)
        for (const Bar& bar : row)
          if (bar.time.end > bar.time.start)
            columns = std::max(
                columns, static_cast<double>(bar.label.size() + space) / (bar.time.end - bar.time.start));
      return columns;
    };
    const double scale = needed(compute_, 1);
    const double wanted = std::max(scale, std::min(needed(copies_, 0), 2 * scale));
    return wanted >= 1 ? std::ceil(wanted - 1e-9) : wanted;
  }
  static std::string line(std::string text, const std::vector<Bar>& bars, double scale, int max_columns) {
    const std::size_t origin = text.size() + 1;
    for (const Bar& bar : bars) {
      const auto begin = origin + static_cast<std::size_t>(std::lround(bar.time.start * scale));
      const auto end = origin + static_cast<std::size_t>(std::lround(bar.time.end * scale));
      if (text.size() < begin) text.resize(begin, ' ');
      const std::size_t width = std::max<std::size_t>(end - begin, 1);
      std::string drawn = bar.label + std::string(width, '-');
      drawn.resize(std::max(width - 1, std::min(width, bar.label.size())));
      text += drawn;
    }
    if (text.size() > static_cast<std::size_t>(max_columns)) {
      text.resize(static_cast<std::size_t>(max_columns));
      text.back() = '>';
    }
    return text;
  }

  const Schedule& schedule_;
  const EventTimes& times_;
  std::vector<std::vector<Bar>> compute_, copies_;
};

}  // namespace

std::string to_text(const Action& action) {
  std::string text = fmt::format("{}{}", action.stage, short_name(action.op));
  if (action.op != Op::Reduce) text += std::to_string(action.micro);
  if (engine_of(action.op) == Engine::Copy) text += fmt::format(".{}>{}", action.piece, action.guest);
  return text;
}

std::string compute_csv(const Schedule& schedule) {
  std::string text;
  for (const RankTable& table : schedule.ranks) {
    std::string line;
    for (const Action& a : table.row(Engine::Compute))
      if (a.op != Op::Reduce) line += (line.empty() ? "" : ",") + to_text(a);
    text += line + "\n";
  }
  return text;
}

Schedule read_compute_csv(const std::string& text, const std::string& name) {
  Schedule schedule;
  schedule.name = name;
  bool backwards = false;
  split(text, '\n', [&](std::string_view line, int line_number) {
    if (line.empty()) return;
    schedule.ranks.emplace_back();
    split(line, ',', [&](std::string_view cell, int cell_number) {
      read_cells(cell, fmt::format("{}, line {}, cell {}", name, line_number, cell_number),
                 [&](const Action& a) {
                   schedule.micros = std::max(schedule.micros, a.micro + 1);
                   backwards = backwards || a.op != Op::Forward;
                   schedule.ranks.back().row(Engine::Compute).push_back(a);
                 });
    });
  });
  LACUNA_CHECK(schedule.micros > 0, ErrorKind::BadInput, "{}: no action", name);
  schedule.rank_of_stage = place_stages(schedule);
  schedule.forward_only = !backwards;
  if (schedule.forward_only) return schedule;
  for (int stage = 0; stage < schedule.stages(); ++stage)
    schedule.ranks[static_cast<std::size_t>(schedule.rank_of_stage[static_cast<std::size_t>(stage)])]
        .row(Engine::Compute)
        .push_back({Op::Reduce, stage, -1, -1, -1, {}});
  return schedule;
}

std::vector<std::string> grid(const Schedule& schedule, const EventTimes& times, int max_columns) {
  return Grid(schedule, times).draw(max_columns);
}

}  // namespace lacuna
