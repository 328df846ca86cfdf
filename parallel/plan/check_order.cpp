// The checker's view of compute and transfer rows: everything once, in order, both ends of a channel alike.
#include <array>

#include "parallel/plan/findings.h"

namespace lacuna {
namespace {

// Places of one (stage, micro) in its rank's compute row; -1: absent.
struct Places {
  int forward = -1, input = -1, weight = -1;
};

class ComputeCheck {
 public:
  ComputeCheck(const Schedule& schedule, Findings& findings)
      : schedule_(schedule),
        findings_(findings),
        places_(static_cast<std::size_t>(schedule.stages() * schedule.micros)),
        reduce_(static_cast<std::size_t>(schedule.stages()), -1),
        last_input_(static_cast<std::size_t>(schedule.stages()), -1),
        last_weight_(static_cast<std::size_t>(schedule.stages()), -1) {}

  void run() {
    for (int rank = 0; rank < static_cast<int>(schedule_.ranks.size()); ++rank)
      for (int i = 0; const Action& a : schedule_.ranks[static_cast<std::size_t>(rank)].row(Engine::Compute))
        action(rank, i++, a);
    for (int stage = 0; stage < schedule_.stages(); ++stage) complete(stage);
  }

 private:
  void once(int& place, int rank, int index) {
    if (place >= 0) findings_.at(rank, Engine::Compute, index, "stands at {} already", place);
    place = index;
  }
  // Gradients add up in ascending order: the matrices' in weight_grad, the norms' and the embedding's in
  // input_grad.
  void ascending(int& last, int rank, int index, int micro) {
    if (micro < last)
      findings_.at(rank, Engine::Compute, index, "adds to the gradients after micro-batch {}", last);
    last = micro;
  }
  void action(int rank, int index, const Action& a) {
    const auto stage = static_cast<std::size_t>(a.stage);
    if (a.op == Op::Reduce) return once(reduce_[stage], rank, index);
    Places& place = places_[static_cast<std::size_t>(a.stage * schedule_.micros + a.micro)];
    if (a.op == Op::Forward) {
      once(place.forward, rank, index);
      neighbour_here(rank, index, a, a.stage - 1, &Places::forward);
    }
    if (a.op == Op::InputGrad || a.op == Op::Backward) {
      once(place.input, rank, index);
      if (place.forward < 0) findings_.at(rank, Engine::Compute, index, "stands before its forward");
      neighbour_here(rank, index, a, a.stage + 1, &Places::input);
      if (a.op == Op::InputGrad) ascending(last_input_[stage], rank, index, a.micro);
    }
    if (a.op == Op::WeightGrad || a.op == Op::Backward) {
      once(place.weight, rank, index);
      if (place.input < 0) findings_.at(rank, Engine::Compute, index, "stands before its input gradient");
      ascending(last_weight_[stage], rank, index, a.micro);
      if (reduce_[stage] >= 0) findings_.at(rank, Engine::Compute, index, "stands after the reduction");
    }
  }
  // The stage before (after) on the same rank must have run: no transfer orders the two.
  void neighbour_here(int rank, int index, const Action& a, int stage, int Places::*place) {
    if (stage < 0 || stage >= schedule_.stages()) return;
    if (schedule_.rank_of_stage[static_cast<std::size_t>(stage)] != rank) return;
    if (places_[static_cast<std::size_t>(stage * schedule_.micros + a.micro)].*place < 0)
      findings_.at(rank, Engine::Compute, index, "stands before stage {} made its input", stage);
  }
  void complete(int stage) {
    const int rank = schedule_.rank_of_stage[static_cast<std::size_t>(stage)];
    const auto missing = [&](Op op, int micro) {
      findings_.add("rank {}, compute: {} is missing", rank, to_text(Action{op, stage, micro, -1, -1, {}}));
    };
    for (int micro = 0; micro < schedule_.micros; ++micro) {
      const Places& place = places_[static_cast<std::size_t>(stage * schedule_.micros + micro)];
      if (place.forward < 0) missing(Op::Forward, micro);
      if (schedule_.forward_only) continue;
      if (place.input < 0) missing(place.weight < 0 ? Op::Backward : Op::InputGrad, micro);
      if (place.input >= 0 && place.weight < 0) missing(Op::WeightGrad, micro);
    }
    if (!schedule_.forward_only && reduce_[static_cast<std::size_t>(stage)] < 0) missing(Op::Reduce, -1);
  }

  const Schedule& schedule_;
  Findings& findings_;
  std::vector<Places> places_;
  std::vector<int> reduce_, last_input_, last_weight_;
};

bool elsewhere(const Schedule& schedule, int stage, int other) {
  return other >= 0 && other < schedule.stages() &&
         schedule.rank_of_stage[static_cast<std::size_t>(stage)] !=
             schedule.rank_of_stage[static_cast<std::size_t>(other)];
}

constexpr std::array kTransfers = {Op::SendForward, Op::RecvForward, Op::SendBackward, Op::RecvBackward};

void check_transfer_counts(const Schedule& schedule, Findings& findings) {
  const auto keys = static_cast<std::size_t>(schedule.stages() * schedule.micros);
  std::vector<int> places(kTransfers.size() * keys, -1);  // by op, stage, micro-batch
  const auto place = [&](Op op, int stage, int micro) -> int& {
    const auto kind = static_cast<std::size_t>(op) - static_cast<std::size_t>(Op::SendForward);
    return places[kind * keys + static_cast<std::size_t>(stage * schedule.micros + micro)];
  };
  for (int rank = 0; rank < static_cast<int>(schedule.ranks.size()); ++rank) {
    for (int i = 0; const Action& a : schedule.ranks[static_cast<std::size_t>(rank)].row(Engine::Transfer)) {
      int& known = place(a.op, a.stage, a.micro);
      if (known >= 0) findings.at(rank, Engine::Transfer, i, "stands at {} already", known);
      known = i++;
    }
  }
  for (int stage = 0; stage < schedule.stages(); ++stage) {
    for (const Op op : kTransfers) {
      const bool next = op == Op::SendForward || op == Op::RecvBackward;
      const bool gradient = op == Op::SendBackward || op == Op::RecvBackward;
      if (!elsewhere(schedule, stage, stage + (next ? 1 : -1)) || (gradient && schedule.forward_only))
        continue;
      for (int micro = 0; micro < schedule.micros; ++micro)
        if (place(op, stage, micro) < 0)
          findings.add("rank {}, transfer: {} is missing",
                       schedule.rank_of_stage[static_cast<std::size_t>(stage)],
                       to_text(Action{op, stage, micro, -1, -1, {}}));
    }
  }
}

// What the k-th send carries must be what the k-th receive expects.
void check_matching(const Schedule& schedule, Findings& findings) {
  const std::vector<std::vector<int>> partners = transfer_partners(schedule);
  for (int rank = 0; rank < static_cast<int>(schedule.ranks.size()); ++rank) {
    const auto& row = schedule.ranks[static_cast<std::size_t>(rank)].row(Engine::Transfer);
    for (int i = 0; i < static_cast<int>(row.size()); ++i) {
      const Action& a = row[static_cast<std::size_t>(i)];
      if (!is_send(a.op)) continue;
      const int peer = peer_of(schedule, a),
                at = partners[static_cast<std::size_t>(rank)][static_cast<std::size_t>(i)];
      const Action& b =
          schedule.ranks[static_cast<std::size_t>(peer)].row(Engine::Transfer)[static_cast<std::size_t>(at)];
      const int stage = a.stage + (a.op == Op::SendForward ? 1 : -1);
      if (b.stage != stage || b.micro != a.micro)
        findings.at(rank, Engine::Transfer, i, "meets {} of rank {}, transfer {}", to_text(b), peer, at);
    }
  }
}

}  // namespace

void check_compute(const Schedule& schedule, Findings& findings) {
  ComputeCheck(schedule, findings).run();
}

void check_transfers(const Schedule& schedule, Findings& findings) {
  check_transfer_counts(schedule, findings);
  if (findings.empty()) check_matching(schedule, findings);
}

}  // namespace lacuna
