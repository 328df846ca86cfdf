#include "parallel/plan/check.h"

#include "parallel/plan/event_walk.h"
#include "parallel/plan/findings.h"

namespace lacuna {
namespace {

// Sizes of the table itself, so that everything after can index.
void check_sizes(const Schedule& schedule, Findings& findings) {
  const int ranks = static_cast<int>(schedule.ranks.size());
  if (ranks < 1 || schedule.stages() < 1 || schedule.micros < 1 || schedule.pieces < 1)
    findings.add("table: {} ranks, {} stages, {} micro-batches, {} pieces, wanted at least one of each",
                 ranks, schedule.stages(), schedule.micros, schedule.pieces);
  for (int stage = 0; stage < schedule.stages(); ++stage) {
    const int rank = schedule.rank_of_stage[static_cast<std::size_t>(stage)];
    if (rank < 0 || rank >= ranks) findings.add("stage {}: on rank {}, of {} ranks", stage, rank, ranks);
  }
  std::vector<int> evictors(schedule.ranks.size(), -1);
  for (int rank = 0; rank < ranks; ++rank) {
    const RankTable& table = schedule.ranks[static_cast<std::size_t>(rank)];
    if (table.partner < -1 || table.partner >= ranks || table.partner == rank) {
      findings.add("rank {}: partner {}, of {} ranks", rank, table.partner, ranks);
    } else if (table.partner >= 0) {
      int& evictor = evictors[static_cast<std::size_t>(table.partner)];
      if (evictor >= 0)
        findings.add("rank {}: guest area shared by ranks {} and {}", table.partner, evictor, rank);
      evictor = rank;
    }
    if (table.cap_slots > 0 && table.own_slots + table.guest_slots > table.cap_slots)
      findings.add("rank {}: {} own and {} guest slots, above its cap of {}", rank, table.own_slots,
                   table.guest_slots, table.cap_slots);
  }
}

class ShapeCheck {
 public:
  ShapeCheck(const Schedule& schedule, Findings& findings, int rank, Engine engine, int index)
      : schedule_(schedule),
        findings_(findings),
        rank_(rank),
        engine_(engine),
        index_(index),
        table_(schedule.ranks[static_cast<std::size_t>(rank)]),
        action_(table_.row(engine)[static_cast<std::size_t>(index)]) {}

  void run() {
    if (engine_of(action_.op) != engine_)
      return found("belongs to the {} row", name_of(engine_of(action_.op)));
    if (action_.stage < 0 || action_.stage >= schedule_.stages())
      return found("stage {} of {}", action_.stage, schedule_.stages());
    const int owner = schedule_.rank_of_stage[static_cast<std::size_t>(action_.stage)];
    if (owner != rank_) return found("stage {} is on rank {}", action_.stage, owner);
    if (action_.op == Op::Reduce ? action_.micro != -1
                                 : action_.micro < 0 || action_.micro >= schedule_.micros)
      return found("micro-batch {} of {}", action_.micro, schedule_.micros);
    if (schedule_.forward_only && action_.op != Op::Forward && action_.op != Op::SendForward &&
        action_.op != Op::RecvForward)
      return found("in a table of forwards only");
    if (engine_ == Engine::Copy) return copy();
    if (engine_ == Engine::Transfer) return transfer();
    slots(action_.op == Op::Reduce ? 0 : schedule_.pieces, table_.own_slots, "own slot");
  }

 private:
  void copy() {
    if (table_.partner < 0) return found("the rank has no partner");
    if (action_.piece < 0 || action_.piece >= schedule_.pieces)
      return found("piece {} of {}", action_.piece, schedule_.pieces);
    const int guests = schedule_.ranks[static_cast<std::size_t>(table_.partner)].guest_slots;
    if (action_.guest < 0 || action_.guest >= guests)
      return found("guest slot {} of {} on rank {}", action_.guest, guests, table_.partner);
    slots(1, table_.own_slots, "own slot");
  }
  void transfer() {
    const bool next = action_.op == Op::SendForward || action_.op == Op::RecvBackward;
    const int stage = action_.stage + (next ? 1 : -1);
    if (stage < 0 || stage >= schedule_.stages()) return found("no stage {}", stage);
    if (schedule_.rank_of_stage[static_cast<std::size_t>(stage)] == rank_)
      return found("stage {} is on this rank", stage);
    slots(1, is_send(action_.op) ? table_.send_buffers : table_.recv_buffers, "boundary buffer");
  }
  void slots(int count, int limit, const char* what) {
    if (static_cast<int>(action_.slots.size()) != count)
      return found("{} slots, wanted {}", action_.slots.size(), count);
    for (const int slot : action_.slots)
      if (slot < 0 || slot >= limit) return found("{} {} of {}", what, slot, limit);
  }
  template <class... Args>
  void found(fmt::format_string<Args...> format, Args&&... args) {
    findings_.at(rank_, engine_, index_, format, std::forward<Args>(args)...);
  }

  const Schedule& schedule_;
  Findings& findings_;
  const int rank_;
  const Engine engine_;
  const int index_;
  const RankTable& table_;
  const Action& action_;
};

}  // namespace

void check_shape(const Schedule& schedule, Findings& findings) {
  check_sizes(schedule, findings);
  if (!findings.empty()) return;
  for (int rank = 0; rank < static_cast<int>(schedule.ranks.size()); ++rank)
    for (std::size_t e = 0; e < kEngines; ++e)
      for (int i = 0; i < static_cast<int>(schedule.ranks[static_cast<std::size_t>(rank)].rows[e].size());
           ++i)
        ShapeCheck(schedule, findings, rank, static_cast<Engine>(e), i).run();
}

void check_progress(const Schedule& schedule, Findings& findings) {
  for (const Stuck& stuck : walk(schedule, {}).stuck) {
    const auto& row = schedule.ranks[static_cast<std::size_t>(stuck.rank)].row(stuck.missing.engine);
    const std::string missing = to_text(row[static_cast<std::size_t>(stuck.missing.index)]);
    if (stuck.missing == stuck.action)
      findings.at(stuck.rank, stuck.action.engine, stuck.action.index,
                  "deadlock: its other end never starts");
    else
      findings.at(stuck.rank, stuck.action.engine, stuck.action.index, "deadlock: waits for {} {}, {}",
                  name_of(stuck.missing.engine), stuck.missing.index, missing);
  }
}

std::vector<std::string> violations(const Schedule& schedule) {
  Findings findings(schedule);
  for (const auto part :
       {check_shape, check_compute, check_transfers, check_copies, check_slots, check_progress}) {
    part(schedule, findings);
    if (!findings.empty()) break;
  }
  return findings.take();
}

}  // namespace lacuna
