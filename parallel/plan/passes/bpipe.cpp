#include <algorithm>
#include <deque>
#include <optional>
#include <queue>
#include <set>
#include <utility>

#include "parallel/plan/passes/passes.h"
#include "src/base/error.h"

namespace lacuna {
namespace {

using Time = std::int64_t;

bool begins_gradient(Op op) {
  return op == Op::Backward || op == Op::InputGrad;
}
bool frees_stash(Op op) {
  return op == Op::Backward || op == Op::WeightGrad;
}

// Most stashes that the compute row of a rank holds at once.
int own_peak(const RankTable& table) {
  int live = 0, peak = 0;
  for (const Action& a : table.row(Engine::Compute)) {
    if (a.op == Op::Forward) peak = std::max(peak, ++live);
    if (frees_stash(a.op)) --live;
  }
  return peak;
}

// A stash of an evictor: where each piece is.
struct Stash {
  enum class Place : std::uint8_t { Nowhere, Own, Moving, Guest };
  std::vector<Place> place;
  std::vector<int> own, guest;
  bool complete = false;  // its forward has ended, its backward has not
  // The first piece that is at `wanted`; -1: none.
  int first(Place wanted) const {
    const auto at = std::find(place.begin(), place.end(), wanted);
    return at == place.end() ? -1 : static_cast<int>(at - place.begin());
  }
};

// The memory of one evictor during the nominal run: decides copies, hands out slots.
class Evictor {
 public:
  Evictor(const Schedule& schedule, RankTable& table, int cap, int guest_cap)
      : schedule_(schedule),
        table_(table),
        pieces_(schedule.pieces),
        stashes_(static_cast<std::size_t>(schedule.stages() * schedule.micros)) {
    for (int slot = 0; slot < cap * pieces_; ++slot) free_.push_back(slot);
    for (int slot = 0; slot < guest_cap * pieces_; ++slot) free_guests_.insert(slot);
    table_.own_slots = cap * pieces_;
    for (int i = 0; const Action& a : table_.row(Engine::Compute)) {
      if (begins_gradient(a.op)) gradients_.push_back(i);
      ++i;
    }
  }

  // May compute action `index` start? If so, takes its slots.
  bool start_compute(int index) {
    Action& a = compute(index);
    if (a.op == Op::Reduce) return true;
    Stash& mine = stash(a);
    if (a.op == Op::Forward) {
      if (static_cast<int>(free_.size()) < pieces_) return false;
      mine.place.assign(static_cast<std::size_t>(pieces_), Stash::Place::Own);
      mine.guest.assign(static_cast<std::size_t>(pieces_), -1);
      for (int piece = 0; piece < pieces_; ++piece) mine.own.push_back(take_free());
    } else if (begins_gradient(a.op)) {
      for (const auto place : mine.place)
        if (place != Stash::Place::Own) return false;
      ++next_gradient_;
    }
    a.slots = mine.own;
    return true;
  }
  void end_compute(int index) {
    const Action& a = compute(index);
    if (a.op == Op::Reduce) return;
    Stash& mine = stash(a);
    if (a.op == Op::Forward) mine.complete = true;
    if (!frees_stash(a.op)) return;
    for (const int slot : mine.own) free_.push_back(slot);
    mine.place.assign(static_cast<std::size_t>(pieces_), Stash::Place::Nowhere);
    mine.complete = false;
  }

  // Picks and starts the next copy, if one is due. `head` is the next compute action that has not started,
  // `running` the one that runs now (-1: none).
  bool start_copy(int head, int running) {
    return finish_move(head) || start_evict(head, running) || start_load(head);
  }
  void end_copy() {
    const Action& a = table_.row(Engine::Copy).back();
    Stash& mine = stash(a);
    const auto piece = static_cast<std::size_t>(a.piece);
    if (a.op == Op::Evict) {
      mine.place[piece] = Stash::Place::Guest;
      free_.push_back(a.slots[0]);
    } else {
      mine.place[piece] = Stash::Place::Own;
      free_guests_.insert(a.guest);
    }
  }
  int guests_used() const { return guests_used_; }

 private:
  Action& compute(int index) { return table_.row(Engine::Compute)[static_cast<std::size_t>(index)]; }
  Stash& stash(const Action& a) {
    return stashes_[static_cast<std::size_t>(a.stage * schedule_.micros + a.micro)];
  }
  int take_free() {
    const int slot = free_.front();  // the one that has been free longest: least waiting at other speeds
    free_.pop_front();
    return slot;
  }
  bool is_forward(int index) {
    return index < static_cast<int>(table_.row(Engine::Compute).size()) && compute(index).op == Op::Forward;
  }
  // The stashes of the next two backwards that have not started.
  std::vector<const Action*> next_two() {
    std::vector<const Action*> next;
    for (std::size_t i = next_gradient_; i < gradients_.size() && next.size() < 2; ++i)
      next.push_back(&compute(gradients_[i]));
    return next;
  }

  // The stash that moved last goes on moving until all its pieces are on one side.
  bool finish_move(int head) {
    const auto& row = table_.row(Engine::Copy);
    if (row.empty()) return false;
    const Action last = row.back();
    const auto next = next_two();
    const bool due =
        std::any_of(next.begin(), next.end(), [&](const Action* a) { return &stash(*a) == &stash(last); });
    if (last.op == Op::Load) return load_piece(last, head);
    return !due && stash(last).complete && evict_piece(last);
  }
  bool start_load(int head) {
    for (const Action* next : next_two())
      if (load_piece(*next, head)) return true;
    return false;
  }
  bool load_piece(const Action& owner, int head) {
    const int keep = is_forward(head) ? pieces_ : 0;
    const int piece = stash(owner).first(Stash::Place::Guest);
    if (piece < 0 || static_cast<int>(free_.size()) <= keep) return false;
    move(Op::Load, owner, piece, take_free());
    return true;
  }
  bool evict_piece(const Action& owner) {
    const int piece = stash(owner).first(Stash::Place::Own);
    if (piece < 0 || free_guests_.empty()) return false;
    move(Op::Evict, owner, piece, stash(owner).own[static_cast<std::size_t>(piece)]);
    return true;
  }

  bool start_evict(int head, int running) {
    int available = static_cast<int>(free_.size());
    if (running >= 0 && frees_stash(compute(running).op)) available += pieces_;
    int needed = is_forward(head) || is_forward(head + 1) ? pieces_ : 0;
    const auto next = next_two();
    if (std::any_of(next.begin(), next.end(),
                    [&](const Action* a) { return stash(*a).first(Stash::Place::Guest) >= 0; }))
      needed += pieces_;
    if (available >= needed) return false;
    for (std::size_t i = gradients_.size(); i-- > next_gradient_ + next.size();) {
      const Action& victim = compute(gradients_[i]);
      if (stash(victim).complete && stash(victim).first(Stash::Place::Own) >= 0) return evict_piece(victim);
    }
    return false;
  }

  void move(Op op, const Action& owner, int piece, int slot) {
    Stash& mine = stash(owner);
    const auto at = static_cast<std::size_t>(piece);
    if (op == Op::Evict) {
      mine.guest[at] = *free_guests_.begin();
      free_guests_.erase(free_guests_.begin());
      guests_used_ = std::max(guests_used_, mine.guest[at] + 1);
    }
    mine.own[at] = slot;
    mine.place[at] = Stash::Place::Moving;
    table_.row(Engine::Copy).push_back({op, owner.stage, owner.micro, piece, mine.guest[at], {slot}});
  }

  const Schedule& schedule_;
  RankTable& table_;
  const int pieces_;
  std::vector<Stash> stashes_;
  std::deque<int> free_;
  std::set<int> free_guests_;
  std::vector<int> gradients_;  // places of the backwards in the compute row
  std::size_t next_gradient_ = 0;
  int guests_used_ = 0;
};

// The nominal run of all ranks. At each moment everything that ends does so first, then compute actions
// start, then copies: a copy sees the backward that is about to free a slot.
class NominalRun {
 public:
  explicit NominalRun(Schedule& schedule)
      : schedule_(schedule),
        ranks_(schedule.ranks.size()),
        evictors_(schedule.ranks.size()),
        done_(static_cast<std::size_t>(2 * schedule.stages() * schedule.micros), false) {}
  void add_evictor(int rank, int cap, int guest_cap) {
    evictors_[static_cast<std::size_t>(rank)].emplace(
        schedule_, schedule_.ranks[static_cast<std::size_t>(rank)], cap, guest_cap);
  }
  const Evictor& evictor(int rank) const { return *evictors_[static_cast<std::size_t>(rank)]; }

  void run() {
    start_all();
    while (!ends_.empty()) {
      now_ = ends_.top().time;
      while (!ends_.empty() && ends_.top().time == now_) {
        end(ends_.top());
        ends_.pop();
      }
      start_all();
    }
    for (std::size_t r = 0; r < ranks_.size(); ++r)
      LACUNA_CHECK(ranks_[r].head == static_cast<int>(row(r).size()), ErrorKind::Internal,
                   "bpipe on {}: rank {} is stuck before compute action {} of {}", schedule_.name, r,
                   ranks_[r].head, row(r).size());
  }

 private:
  struct Rank {
    int head = 0, running = -1;
    bool copying = false;
  };
  struct End {
    Time time;
    std::size_t rank;
    bool copy;
    bool operator>(const End& other) const { return time > other.time; }
  };
  std::vector<Action>& row(std::size_t rank) { return schedule_.ranks[rank].row(Engine::Compute); }
  std::size_t key(int stage, int micro, bool gradient) const {
    return static_cast<std::size_t>((stage * schedule_.micros + micro) * 2 + (gradient ? 1 : 0));
  }
  Time duration(Op op) const {
    const Time forward = schedule_.pieces;  // a piece moves in one tick
    if (op == Op::Reduce) return 0;
    return op == Op::Backward ? 2 * forward : forward;
  }
  // Has the neighbour made what this action reads?
  bool has_input(const Action& a) const {
    if (a.op == Op::Forward) return a.stage == 0 || done_[key(a.stage - 1, a.micro, false)];
    if (begins_gradient(a.op))
      return a.stage + 1 == schedule_.stages() || done_[key(a.stage + 1, a.micro, true)];
    return true;
  }
  void end(const End& what) {
    Rank& rank = ranks_[what.rank];
    auto& evictor = evictors_[what.rank];
    if (what.copy) {
      rank.copying = false;
      return evictor->end_copy();
    }
    const Action& a = row(what.rank)[static_cast<std::size_t>(rank.running)];
    if (a.op == Op::Forward || begins_gradient(a.op))
      done_[key(a.stage, a.micro, a.op != Op::Forward)] = true;
    if (evictor) evictor->end_compute(rank.running);
    rank.running = -1;
  }
  void start_all() {
    for (std::size_t r = 0; r < ranks_.size(); ++r) {
      Rank& rank = ranks_[r];
      auto& evictor = evictors_[r];
      const auto& actions = row(r);
      if (rank.running < 0 && rank.head < static_cast<int>(actions.size()) &&
          has_input(actions[static_cast<std::size_t>(rank.head)]) &&
          (!evictor || evictor->start_compute(rank.head))) {
        rank.running = rank.head++;
        ends_.push({now_ + duration(actions[static_cast<std::size_t>(rank.running)].op), r, false});
      }
      if (evictor && !rank.copying && evictor->start_copy(rank.head, rank.running)) {
        rank.copying = true;
        ends_.push({now_ + 1, r, true});
      }
    }
  }

  Schedule& schedule_;
  std::vector<Rank> ranks_;
  std::vector<std::optional<Evictor>> evictors_;
  std::vector<bool> done_;  // by stage, micro-batch: output made; gradient of the input made
  std::priority_queue<End, std::vector<End>, std::greater<>> ends_;
  Time now_ = 0;
};

}  // namespace

int tight_cap(const Schedule& schedule) {
  const auto ranks = schedule.ranks.size();
  int cap = static_cast<int>(ranks + 3) / 2;
  for (std::size_t x = 0; x < ranks; ++x) {
    const int sum = own_peak(schedule.ranks[x]) + own_peak(schedule.ranks[ranks - 1 - x]);
    cap = std::max(cap, (sum + 2) / 2);
  }
  return cap;
}

void balance_pairs(Schedule& schedule, int cap) {
  NominalRun nominal(schedule);
  const int ranks = static_cast<int>(schedule.ranks.size());
  std::vector<int> evictors;
  for (int x = 0; x < ranks; ++x) {
    const int y = ranks - 1 - x;
    RankTable &mine = schedule.ranks[static_cast<std::size_t>(x)],
              &other = schedule.ranks[static_cast<std::size_t>(y)];
    mine.cap_slots = cap * schedule.pieces;
    if (own_peak(mine) <= cap || x == y) continue;
    mine.partner = y;
    nominal.add_evictor(x, cap, cap - own_peak(other));
    evictors.push_back(x);
  }
  if (evictors.empty()) return;
  nominal.run();
  for (const int x : evictors)
    schedule.ranks[static_cast<std::size_t>(ranks - 1 - x)].guest_slots = nominal.evictor(x).guests_used();
}

}  // namespace lacuna
