#include "parallel/plan/event_walk.h"

#include <algorithm>

namespace lacuna {
namespace {

class Walker {
 public:
  Walker(const Schedule& schedule, const Costs& costs)
      : schedule_(schedule),
        costs_(costs),
        partners_(transfer_partners(schedule)),
        heads_(schedule.ranks.size()) {
    for (std::size_t op = 0; op < durations_.size(); ++op)
      durations_[op] = costs.of(static_cast<Op>(op), schedule.pieces);
    for (int rank = 0; rank < static_cast<int>(schedule.ranks.size()); ++rank) {
      links_.push_back(rank_links(schedule, rank));
      times_.ranks.emplace_back();
      for (std::size_t e = 0; e < kEngines; ++e) times_.ranks.back()[e].resize(table(rank).rows[e].size());
      waiting_.push_back(rank);
    }
  }

  EventTimes run() {
    // What a rank can do depends on its own actions and on the ends of its transfers, so a rank is looked at
    // again exactly when a peer has ended one.
    while (!waiting_.empty()) {
      const int rank = waiting_.back();
      waiting_.pop_back();
      while (advance(rank)) {
      }
    }
    find_stuck();
    return std::move(times_);
  }

 private:
  const RankTable& table(int rank) const { return schedule_.ranks[static_cast<std::size_t>(rank)]; }
  Span& span(int rank, ActionRef at) {
    auto& rows = times_.ranks[static_cast<std::size_t>(rank)];
    return rows[static_cast<std::size_t>(at.engine)][static_cast<std::size_t>(at.index)];
  }
  int& head(int rank, Engine engine) {
    return heads_[static_cast<std::size_t>(rank)][static_cast<std::size_t>(engine)];
  }

  bool advance(int rank) {
    bool moved = false;
    for (const Engine engine : {Engine::Compute, Engine::Transfer, Engine::Copy}) {
      const int size = static_cast<int>(table(rank).row(engine).size());
      int& index = head(rank, engine);
      while (index < size && start(rank, {engine, index})) ++index, moved = true;
    }
    return moved;
  }

  // Starts the action when everything it waits for has a known end.
  bool start(int rank, ActionRef at) {
    double ready = row_ready(rank, at);
    for (const ActionRef& before : links_[static_cast<std::size_t>(rank)].before(at.engine, at.index)) {
      const double end = span(rank, before).end;
      if (end < 0) return false;
      ready = std::max(ready, end);
    }
    Span& time = span(rank, at);
    time.start = ready;
    const Action& action = table(rank).row(at.engine)[static_cast<std::size_t>(at.index)];
    if (at.engine == Engine::Transfer)
      meet(rank, at.index);
    else
      time.end = ready + durations_[static_cast<std::size_t>(action.op)];
    return true;
  }

  double row_ready(int rank, ActionRef at) {
    if (at.index == 0) return 0;
    const Span& before = span(rank, {at.engine, at.index - 1});
    if (at.engine == Engine::Transfer) return before.start;
    if (at.engine == Engine::Compute || !costs_.duplex) return before.end;
    const auto& row = table(rank).row(Engine::Copy);
    const Op op = row[static_cast<std::size_t>(at.index)].op;
    double ready = before.start;
    for (int i = at.index - 1; i >= 0; --i)
      if (row[static_cast<std::size_t>(i)].op == op)
        return std::max(ready, span(rank, {Engine::Copy, i}).end);
    return ready;
  }

  void meet(int rank, int index) {
    const auto r = static_cast<std::size_t>(rank), i = static_cast<std::size_t>(index);
    const int peer = links_[r].transfers[i].peer;
    Span &mine = span(rank, {Engine::Transfer, index}),
         &other = span(peer, {Engine::Transfer, partners_[r][i]});
    if (other.start < 0) return;
    mine.end = other.end = std::max(mine.start, other.start) + costs_.latency;
    waiting_.push_back(peer);
  }

  void find_stuck() {
    for (int rank = 0; rank < static_cast<int>(schedule_.ranks.size()); ++rank) {
      for (const Engine engine : {Engine::Compute, Engine::Transfer, Engine::Copy}) {
        const int size = static_cast<int>(table(rank).row(engine).size());
        if (engine == Engine::Transfer)
          for (int i = 0; i < head(rank, engine); ++i)
            if (span(rank, {engine, i}).end < 0) times_.stuck.push_back({rank, {engine, i}, {engine, i}});
        if (head(rank, engine) < size) times_.stuck.push_back(stuck_at(rank, {engine, head(rank, engine)}));
      }
    }
  }
  Stuck stuck_at(int rank, ActionRef at) {
    for (const ActionRef& before : links_[static_cast<std::size_t>(rank)].before(at.engine, at.index))
      if (span(rank, before).end < 0) return {rank, at, before};
    return {rank, at, at};
  }

  const Schedule& schedule_;
  const Costs& costs_;
  std::array<double, 11> durations_{};
  std::vector<RankLinks> links_;
  std::vector<std::vector<int>> partners_;
  std::vector<std::array<int, kEngines>> heads_;
  std::vector<int> waiting_;
  EventTimes times_;
};

}  // namespace

double Costs::of(Op op, int pieces) const {
  switch (op) {
    case Op::Forward:
      return forward;
    case Op::Backward:
      return backward;
    case Op::InputGrad:
      return input_grad < 0 ? backward / 2 : input_grad;
    case Op::WeightGrad:
      return weight_grad < 0 ? backward / 2 : weight_grad;
    case Op::Evict:
    case Op::Load:
      return move / pieces;
    case Op::Reduce:
      return 0;
    default:
      return latency;
  }
}

EventTimes walk(const Schedule& schedule, const Costs& costs) {
  return Walker(schedule, costs).run();
}

}  // namespace lacuna
