#include "parallel/plan/dependencies.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "src/base/error.h"

namespace lacuna {

// Collects the pairs (action, what it waits for) of one rank, then packs them row by row.
class LinkBuilder {
 public:
  LinkBuilder(const Schedule& schedule, int rank)
      : schedule_(schedule), rank_(rank), table_(schedule.ranks[static_cast<std::size_t>(rank)]) {
    const std::size_t keys = static_cast<std::size_t>(schedule.stages()) * micros();
    forward_.assign(keys, -1), gradient_.assign(keys, -1), last_.assign(keys, -1);
    receive_forward_.assign(keys, -1), receive_backward_.assign(keys, -1);
    evict_.assign(keys * pieces(), -1), load_.assign(keys * pieces(), -1);
    index_compute(), index_transfers(), index_copies();
  }

  RankLinks build() {
    links_.compute.resize(row(Engine::Compute).size());
    compute_data();
    own_slots();
    transfer_buffers();
    copies();
    for (std::size_t e = 0; e < kEngines; ++e) pack(e);
    return std::move(links_);
  }

 private:
  using Actions = std::vector<Action>;
  const Actions& row(Engine engine) const { return table_.row(engine); }
  std::size_t micros() const { return static_cast<std::size_t>(schedule_.micros); }
  std::size_t pieces() const { return static_cast<std::size_t>(schedule_.pieces); }
  std::size_t key(const Action& a) const {
    LACUNA_ASSERT(a.stage >= 0 && a.stage < schedule_.stages() && a.micro >= 0 && a.micro < schedule_.micros);
    return static_cast<std::size_t>(a.stage) * micros() + static_cast<std::size_t>(a.micro);
  }
  std::size_t piece_key(const Action& a) const {
    LACUNA_ASSERT(a.piece >= 0 && a.piece < schedule_.pieces);
    return key(a) * pieces() + static_cast<std::size_t>(a.piece);
  }
  static int found(int index) {
    LACUNA_ASSERT(index >= 0);
    return index;
  }
  bool here(int stage) const { return schedule_.rank_of_stage[static_cast<std::size_t>(stage)] == rank_; }

  void index_compute() {
    for (int i = 0; const Action& a : row(Engine::Compute)) {
      const int at = i++;
      if (a.op == Op::Reduce) continue;
      if (a.op == Op::Forward) forward_[key(a)] = at;
      if (a.op == Op::Backward || a.op == Op::InputGrad) gradient_[key(a)] = at;
      if (a.op == Op::Backward || a.op == Op::WeightGrad) last_[key(a)] = at;
    }
  }
  void index_transfers() {
    for (int i = 0; const Action& a : row(Engine::Transfer)) {
      if (a.op == Op::RecvForward) receive_forward_[key(a)] = i;
      if (a.op == Op::RecvBackward) receive_backward_[key(a)] = i;
      ++i;
    }
  }
  void index_copies() {
    for (int i = 0; const Action& a : row(Engine::Copy))
      (a.op == Op::Evict ? evict_ : load_)[piece_key(a)] = i++;
  }

  void wait(ActionRef action, ActionRef before) {
    const bool row_orders_it =
        action.engine == Engine::Compute && before.engine == Engine::Compute && before.index < action.index;
    if (!row_orders_it) pairs_[static_cast<std::size_t>(action.engine)].emplace_back(action.index, before);
  }
  static ActionRef compute(int index) { return {Engine::Compute, index}; }
  static ActionRef transfer(int index) { return {Engine::Transfer, index}; }
  static ActionRef copy(int index) { return {Engine::Copy, index}; }

  void compute_data() {
    for (int i = 0; const Action& a : row(Engine::Compute)) {
      const int at = i++;
      if (a.op == Op::Reduce) continue;
      const std::size_t k = key(a);
      if (a.op == Op::Forward && a.stage > 0) {
        if (here(a.stage - 1))
          wait(compute(at), compute(found(forward_[k - micros()])));
        else
          wait(compute(at), transfer(found(receive_forward_[k])));
      }
      if (a.op == Op::WeightGrad) wait(compute(at), compute(found(gradient_[k])));
      if (a.op != Op::Backward && a.op != Op::InputGrad) continue;
      wait(compute(at), compute(found(forward_[k])));
      if (a.stage + 1 < schedule_.stages()) {
        if (here(a.stage + 1))
          wait(compute(at), compute(found(gradient_[k + micros()])));
        else
          wait(compute(at), transfer(found(receive_backward_[k])));
      }
      for (std::size_t piece = 0; piece < pieces(); ++piece)
        if (load_[k * pieces() + piece] >= 0) wait(compute(at), copy(load_[k * pieces() + piece]));
    }
    reductions();
  }

  void reductions() {
    for (int i = 0; const Action& a : row(Engine::Compute)) {
      const int at = i++;
      if (a.op != Op::Reduce) continue;
      LACUNA_ASSERT(a.stage >= 0 && a.stage < schedule_.stages());
      for (std::size_t micro = 0; micro < micros(); ++micro)
        wait(compute(at), compute(found(last_[static_cast<std::size_t>(a.stage) * micros() + micro])));
    }
  }

  // The occupants of a slot follow each other in the order of the compute action that needs them: the
  // Forward for a stash that was made in the slot, the Backward for one that was loaded into it.
  void own_slots() {
    std::vector<ActionRef> left(static_cast<std::size_t>(table_.own_slots), compute(-1));
    const auto occupy = [&](int slot, ActionRef arrives, ActionRef leaves) {
      LACUNA_ASSERT(slot >= 0 && slot < table_.own_slots);
      ActionRef& last = left[static_cast<std::size_t>(slot)];
      if (last.index >= 0) wait(arrives, last);
      last = leaves;
    };
    for (int i = 0; const Action& a : row(Engine::Compute)) {
      const int at = i++;
      if (a.op != Op::Forward && a.op != Op::Backward && a.op != Op::InputGrad) continue;
      const std::size_t k = key(a);
      LACUNA_ASSERT(a.slots.size() == pieces());
      for (std::size_t piece = 0; piece < pieces(); ++piece) {
        const int evicted = evict_[k * pieces() + piece];
        const ActionRef done = schedule_.forward_only ? compute(at) : compute(found(last_[k]));
        if (a.op == Op::Forward) occupy(a.slots[piece], compute(at), evicted >= 0 ? copy(evicted) : done);
        if (a.op != Op::Forward && evicted >= 0)
          occupy(a.slots[piece], copy(found(load_[k * pieces() + piece])), done);
      }
    }
  }

  // Transfers of one kind take the boundary buffers in the order of the transfer row.
  void transfer_buffers() {
    std::vector<int> consumer[2], send[2];
    for (int kind = 0; kind < 2; ++kind) {
      consumer[kind].assign(static_cast<std::size_t>(table_.recv_buffers), -1);
      send[kind].assign(static_cast<std::size_t>(table_.send_buffers), -1);
    }
    for (int i = 0; const Action& a : row(Engine::Transfer)) {
      const int at = i++;
      LACUNA_ASSERT(a.slots.size() == 1);
      const bool forward = a.op == Op::SendForward || a.op == Op::RecvForward, sends = is_send(a.op);
      const int kind = forward ? 0 : 1, buffer = a.slots[0];
      const int user = found((forward ? forward_ : gradient_)[key(a)]);  // writes or reads the buffer
      std::vector<int>& last = (sends ? send : consumer)[kind];
      LACUNA_ASSERT(buffer >= 0 && buffer < static_cast<int>(last.size()));
      int& before = last[static_cast<std::size_t>(buffer)];
      ComputeLink& link = links_.compute[static_cast<std::size_t>(user)];
      (sends ? link.output : link.input) = buffer;
      if (sends) {
        wait(transfer(at), compute(user));
        if (before >= 0) wait(compute(user), transfer(before));
        before = at;
      } else {
        if (before >= 0) wait(transfer(at), compute(before));
        before = user;
      }
      links_.transfers.push_back(
          {peer_of(schedule_, a), forward ? Tag::Activation : Tag::Gradient, sends, buffer});
    }
  }

  void copies() {
    std::map<int, int> guest_left;  // guest slot -> the Load that emptied it
    for (int i = 0; const Action& a : row(Engine::Copy)) {
      const int at = i++;
      if (a.op == Op::Evict) {
        wait(copy(at), compute(found(forward_[key(a)])));
        const auto last = guest_left.find(a.guest);
        if (last != guest_left.end()) wait(copy(at), copy(last->second));
        guest_left[a.guest] = found(load_[piece_key(a)]);
      } else {
        wait(copy(at), copy(found(evict_[piece_key(a)])));
      }
    }
  }

  void pack(std::size_t engine) {
    auto& pairs = pairs_[engine];
    std::sort(pairs.begin(), pairs.end());
    pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
    RankLinks::Row& out = links_.rows_[engine];
    out.first.assign(table_.rows[engine].size() + 1, 0);
    for (const auto& [index, ref] : pairs) {
      ++out.first[static_cast<std::size_t>(index) + 1];
      out.refs.push_back(ref);
    }
    for (std::size_t i = 1; i < out.first.size(); ++i) out.first[i] += out.first[i - 1];
  }

  const Schedule& schedule_;
  const int rank_;
  const RankTable& table_;
  // By stage and micro-batch: the place in the compute row of Forward, of Backward or InputGrad, of Backward
  // or WeightGrad; the place of the receives; by piece too, the place in the copy row. -1: absent.
  std::vector<int> forward_, gradient_, last_, receive_forward_, receive_backward_, evict_, load_;
  std::array<std::vector<std::pair<int, ActionRef>>, kEngines> pairs_;
  RankLinks links_;
};

RankLinks rank_links(const Schedule& schedule, int rank) {
  LACUNA_ASSERT(rank >= 0 && rank < static_cast<int>(schedule.ranks.size()));
  return LinkBuilder(schedule, rank).build();
}

int peer_of(const Schedule& schedule, const Action& transfer) {
  const bool to_next = transfer.op == Op::SendForward || transfer.op == Op::RecvBackward;
  const int stage = transfer.stage + (to_next ? 1 : -1);
  LACUNA_ASSERT(engine_of(transfer.op) == Engine::Transfer && stage >= 0 && stage < schedule.stages());
  return schedule.rank_of_stage[static_cast<std::size_t>(stage)];
}

std::vector<std::vector<int>> transfer_partners(const Schedule& schedule) {
  using Channel = std::tuple<int, int, bool>;  // from, to, activations
  struct Ends {
    std::vector<std::pair<int, int>> sends, receives;  // rank, index
  };
  std::map<Channel, Ends> channels;
  std::vector<std::vector<int>> partners;
  for (int rank = 0; const RankTable& table : schedule.ranks) {
    const auto& row = table.row(Engine::Transfer);
    partners.emplace_back(row.size(), -1);
    for (int i = 0; const Action& a : row) {
      const bool forward = a.op == Op::SendForward || a.op == Op::RecvForward;
      const int peer = peer_of(schedule, a);
      if (is_send(a.op))
        channels[{rank, peer, forward}].sends.emplace_back(rank, i++);
      else
        channels[{peer, rank, forward}].receives.emplace_back(rank, i++);
    }
    ++rank;
  }
  const auto at = [&](const std::pair<int, int>& end) -> int& {
    return partners[static_cast<std::size_t>(end.first)][static_cast<std::size_t>(end.second)];
  };
  for (const auto& [channel, ends] : channels) {
    LACUNA_ASSERT(ends.sends.size() == ends.receives.size());
    for (std::size_t k = 0; k < ends.sends.size(); ++k) {
      at(ends.sends[k]) = ends.receives[k].second;
      at(ends.receives[k]) = ends.sends[k].second;
    }
  }
  return partners;
}

}  // namespace lacuna
