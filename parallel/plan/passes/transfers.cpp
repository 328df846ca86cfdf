#include <algorithm>
#include <array>
#include <utility>

#include "parallel/plan/passes/passes.h"
#include "src/base/error.h"

namespace lacuna {
namespace {

// A transfer and the compute action that must have ended before it can start (-1: none).
struct Anchored {
  int after = -1;
  Action action;
};

bool elsewhere(const Schedule& schedule, int rank, int stage) {
  return stage >= 0 && stage < schedule.stages() &&
         schedule.rank_of_stage[static_cast<std::size_t>(stage)] != rank;
}

// Transfers of one kind and direction on a rank: takes the buffers in turn.
class Buffers {
 public:
  explicit Buffers(int count) : count_(count) {}
  int next() { return static_cast<int>(users_.size()) % count_; }
  // The compute action that used the next buffer last; -1: none yet.
  int last_user() const {
    const auto n = users_.size(), c = static_cast<std::size_t>(count_);
    return n < c ? -1 : users_[n - c];
  }
  void use(int compute) { users_.push_back(compute); }
  int used() const { return std::min(static_cast<int>(users_.size()), count_); }

 private:
  int count_;
  std::vector<int> users_;
};

void add_rank(Schedule& schedule, int rank, BufferCounts counts) {
  RankTable& table = schedule.ranks[static_cast<std::size_t>(rank)];
  std::array<Buffers, 2> receive{Buffers(counts.receive), Buffers(counts.receive)};
  std::array<Buffers, 2> send{Buffers(counts.send), Buffers(counts.send)};
  std::vector<Anchored> found;
  const auto add = [&](Op op, const Action& compute, int index, int kind) {
    Buffers& buffers = (is_send(op) ? send : receive)[static_cast<std::size_t>(kind)];
    found.push_back({is_send(op) ? index : buffers.last_user(),
                     {op, compute.stage, compute.micro, -1, -1, {buffers.next()}}});
    buffers.use(index);
  };
  for (int i = 0; const Action& a : table.row(Engine::Compute)) {
    const int at = i++;
    const bool before = elsewhere(schedule, rank, a.stage - 1),
               after = elsewhere(schedule, rank, a.stage + 1);
    if (a.op == Op::Forward) {
      if (before) add(Op::RecvForward, a, at, 0);
      if (after) add(Op::SendForward, a, at, 0);
    } else if (a.op == Op::Backward || a.op == Op::InputGrad) {
      if (after) add(Op::RecvBackward, a, at, 1);
      if (before) add(Op::SendBackward, a, at, 1);
    }
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const Anchored& a, const Anchored& b) { return a.after < b.after; });
  std::vector<Action>& row = table.row(Engine::Transfer);
  for (Anchored& transfer : found) row.push_back(std::move(transfer.action));
  table.recv_buffers = std::max(receive[0].used(), receive[1].used());
  table.send_buffers = std::max(send[0].used(), send[1].used());
}

}  // namespace

void add_transfers(Schedule& schedule, BufferCounts buffers) {
  LACUNA_ASSERT(buffers.receive >= 1 && buffers.send >= 1);
  for (int rank = 0; rank < static_cast<int>(schedule.ranks.size()); ++rank) {
    LACUNA_ASSERT(schedule.ranks[static_cast<std::size_t>(rank)].row(Engine::Transfer).empty());
    add_rank(schedule, rank, buffers);
  }
}

}  // namespace lacuna
