// The checker's view of memory: copies go out and come back once, a stash is where its users look for it, no
// slot holds two stashes at once.
#include <map>
#include <tuple>
#include <vector>

#include "parallel/plan/findings.h"

namespace lacuna {
namespace {

using PieceKey = std::tuple<int, int, int>;  // stage, micro, piece

struct Trip {
  int evict = -1, load = -1;  // places in the copy row
};

std::map<PieceKey, Trip> trips_of(const RankTable& table) {
  std::map<PieceKey, Trip> trips;
  for (int i = 0; const Action& a : table.row(Engine::Copy)) {
    Trip& trip = trips[{a.stage, a.micro, a.piece}];
    (a.op == Op::Evict ? trip.evict : trip.load) = i++;
  }
  return trips;
}

void check_rank_copies(const Schedule& schedule, int rank, Findings& findings) {
  const RankTable& table = schedule.ranks[static_cast<std::size_t>(rank)];
  const auto& row = table.row(Engine::Copy);
  std::map<PieceKey, Trip> trips;
  std::map<int, int> guests;  // occupied guest slot -> its Evict
  for (int i = 0; const Action& a : row) {
    const int at = i++;
    Trip& trip = trips[{a.stage, a.micro, a.piece}];
    int& place = a.op == Op::Evict ? trip.evict : trip.load;
    if (place >= 0) findings.at(rank, Engine::Copy, at, "stands at {} already", place);
    place = at;
    if (a.op == Op::Evict) {
      const auto [held, fresh] = guests.emplace(a.guest, at);
      if (!fresh)
        findings.at(rank, Engine::Copy, at, "guest slot {} still holds {}", a.guest,
                    to_text(row[static_cast<std::size_t>(held->second)]));
    } else if (trip.evict < 0) {
      findings.at(rank, Engine::Copy, at, "was not evicted before");
    } else if (const int guest = row[static_cast<std::size_t>(trip.evict)].guest; guest != a.guest) {
      findings.at(rank, Engine::Copy, at, "was evicted to guest slot {}", guest);
    } else {
      guests.erase(a.guest);
    }
  }
  for (const auto& [key, trip] : trips)
    if (trip.load < 0) findings.at(rank, Engine::Copy, trip.evict, "is never loaded");
}

// Own slots of one rank. Occupants of a slot follow each other by the compute action that needs them there
// (dependencies.cpp); here each pair that one row orders is looked at, the rest shows as a deadlock.
class SlotCheck {
 public:
  SlotCheck(const Schedule& schedule, int rank, Findings& findings)
      : schedule_(schedule),
        rank_(rank),
        findings_(findings),
        table_(schedule.ranks[static_cast<std::size_t>(rank)]),
        trips_(trips_of(table_)),
        last_(static_cast<std::size_t>(table_.own_slots)) {}

  void run() {
    std::map<std::pair<int, int>, int> forward, end;
    const auto& row = table_.row(Engine::Compute);
    for (int i = 0; const Action& a : row) {
      if (a.op == Op::Forward) forward[{a.stage, a.micro}] = i;
      if (a.op != Op::InputGrad && a.op != Op::Reduce) end[{a.stage, a.micro}] = i;
      ++i;
    }
    for (int i = 0; const Action& a : row) {
      const int at = i++;
      if (a.op == Op::Reduce) continue;
      const std::pair key{a.stage, a.micro};
      const std::vector<int>& made = row[static_cast<std::size_t>(forward[key])].slots;
      for (int piece = 0; piece < schedule_.pieces; ++piece)
        use(at, a, piece, made[static_cast<std::size_t>(piece)], end[key]);
    }
  }

 private:
  struct Occupant {
    int arrives = -1;  // the compute action that orders it
    ActionRef leaves;
  };
  void use(int at, const Action& a, int piece, int made, int end) {
    const auto trip = trips_.find({a.stage, a.micro, piece});
    const bool travels = trip != trips_.end();
    const int slot = a.slots[static_cast<std::size_t>(piece)];
    const auto copy_slot = [&](int index) {
      return table_.row(Engine::Copy)[static_cast<std::size_t>(index)].slots[0];
    };
    if (a.op == Op::Forward) {
      if (travels && copy_slot(trip->second.evict) != slot)
        findings_.at(rank_, Engine::Copy, trip->second.evict, "takes slot {}, the forward wrote slot {}",
                     copy_slot(trip->second.evict), slot);
      const ActionRef done{Engine::Compute, end};
      return occupy(at, slot, {Engine::Compute, at},
                    travels ? ActionRef{Engine::Copy, trip->second.evict} : done);
    }
    const int wanted = travels ? copy_slot(trip->second.load) : made;
    if (slot != wanted)
      findings_.at(rank_, Engine::Compute, at, "piece {} in slot {}, but it is in slot {}", piece, slot,
                   wanted);
    if (travels && a.op != Op::WeightGrad)
      occupy(at, wanted, {Engine::Copy, trip->second.load}, {Engine::Compute, end});
  }
  void occupy(int orders, int slot, ActionRef arrives, ActionRef leaves) {
    Occupant& last = last_[static_cast<std::size_t>(slot)];
    if (last.arrives >= 0 && last.leaves.engine == arrives.engine && last.leaves.index >= arrives.index)
      findings_.at(rank_, arrives.engine, arrives.index, "slot {} is taken until {} {}", slot,
                   name_of(last.leaves.engine), last.leaves.index);
    last = {orders, leaves};
  }

  const Schedule& schedule_;
  const int rank_;
  Findings& findings_;
  const RankTable& table_;
  const std::map<PieceKey, Trip> trips_;
  std::vector<Occupant> last_;
};

}  // namespace

void check_copies(const Schedule& schedule, Findings& findings) {
  for (int rank = 0; rank < static_cast<int>(schedule.ranks.size()); ++rank)
    check_rank_copies(schedule, rank, findings);
}

void check_slots(const Schedule& schedule, Findings& findings) {
  for (int rank = 0; rank < static_cast<int>(schedule.ranks.size()); ++rank)
    SlotCheck(schedule, rank, findings).run();
}

}  // namespace lacuna
