// From a table to what each action waits for: a pure function, the one meaning of a table that checker,
// simulator and executor share. Nothing is stored in the table itself, so passes cannot contradict it.
//
// An action starts when
//   1. its row allows it: the action before it in the row has started (transfer) or ended (compute, copy);
//   2. every action of `before` has ended. These are, all on the same rank,
//      data    Forward            its RecvForward, or the Forward of the stage before where this rank has it
//              Backward, InputGrad  its RecvBackward (or the neighbour's gradient on this rank), its Forward,
//                                 the Load of every piece that was evicted
//              WeightGrad         its InputGrad
//              Send…              the compute action that made the result
//              Evict              its Forward;  Load: its Evict
//              Reduce             every WeightGrad or Backward of its stage
//      slot    Forward, Load      the Backward, WeightGrad or Evict by which the slot's last occupant left
//              Evict              the Load by which the guest slot's last occupant left
//      buffer  Recv…              the compute action that consumed what the buffer held before
//              Forward, Backward, InputGrad  the send that emptied the send buffer they write into.
// A transfer ends when both sides have started and the bytes have moved; nothing is buffered between ranks.
// The k-th send of a channel (sending rank, receiving rank, kind) matches the k-th receive.
#pragma once

#include <span>
#include <vector>

#include "parallel/plan/schedule.h"

namespace lacuna {

// An action of one rank: its row and its place in the row.
struct ActionRef {
  Engine engine = Engine::Compute;
  int index = 0;
  auto operator<=>(const ActionRef&) const = default;
};

// The peer of a transfer. Use (peer, tag) to match messages: the two ends name the same tag.
enum class Tag : int { Activation = 1, Gradient = 2 };
struct TransferLink {
  int peer = -1;  // rank of the schedule
  Tag tag = Tag::Activation;
  bool send = false;
  int buffer = 0;  // send buffer or receive buffer of the tag's kind, as in Action::slots[0]
};

// The boundary buffers that a compute action reads and writes; -1: none (a model's end, a neighbour stage on
// this rank, or WeightGrad and Reduce). Forward: receive buffer of activations -> send buffer of activations.
// Backward and InputGrad: receive buffer of gradients -> send buffer of gradients.
struct ComputeLink {
  int input = -1, output = -1;
};

class RankLinks {
 public:
  // What must have ended before action `index` of row `engine` may start (rule 2), without duplicates.
  // Earlier compute actions are left out of a compute action's list: its row orders them. A copy action's
  // list names the copy actions it needs, so that evictions and loads could also run side by side.
  std::span<const ActionRef> before(Engine engine, int index) const {
    const Row& row = rows_[static_cast<std::size_t>(engine)];
    const auto at = static_cast<std::size_t>(index);
    return {row.refs.data() + row.first[at], row.refs.data() + row.first[at + 1]};
  }
  std::vector<TransferLink> transfers;  // one for each action of the transfer row
  std::vector<ComputeLink> compute;     // one for each action of the compute row

 private:
  friend class LinkBuilder;
  struct Row {
    std::vector<std::size_t> first;
    std::vector<ActionRef> refs;
  };
  std::array<Row, kEngines> rows_;
};

// Works on one rank's rows alone. Error(Internal) when the table is not complete (a consumer without its
// receive, slots not assigned); the checker says what exactly is missing.
RankLinks rank_links(const Schedule& schedule, int rank);

// The other end of every transfer: partners[rank][i] is the index in the peer's transfer row. Error(Internal)
// when a channel's sends and receives differ in number.
std::vector<std::vector<int>> transfer_partners(const Schedule& schedule);

// The rank at the other end of a transfer of `action.stage`.
int peer_of(const Schedule& schedule, const Action& transfer);

}  // namespace lacuna
