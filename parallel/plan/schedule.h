// A pipeline schedule is a table: for each rank one row of actions per engine, in program order. Generators
// write the compute rows, passes add transfers, evictions and slots, the checker proves the table, the
// simulator times it, the printer draws it, the executor runs it. Nothing here touches a tensor.
//
// Meaning of a table. Within a row actions START in order; compute and copy actions also END before the next
// of their row starts, transfers may overlap. An action starts when its dependencies (dependencies.h: data,
// slots, buffers) have ended. So a blocking CPU rank and an asynchronous GPU read the same table.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace lacuna {

enum class Engine : std::uint8_t { Compute, Transfer, Copy };
inline constexpr std::size_t kEngines = 3;

enum class Op : std::uint8_t {
  // compute
  Forward,     // writes the stash of (stage, micro) into `slots`
  InputGrad,   // gradient of the stage's input; rewrites the stash in place
  WeightGrad,  // adds to the weights' gradients, frees the stash
  Backward,    // InputGrad and WeightGrad as one action
  Reduce,      // reduce the stage's gradients over data parallel; micro = -1
  // transfer; `stage` is the stage of this rank whose output or input gradient leaves, or whose input or
  // output gradient arrives; the peer is the rank that holds the neighbouring stage
  SendForward,
  RecvForward,
  SendBackward,
  RecvBackward,
  // copy; the peer is the rank's partner (Schedule::partner)
  Evict,  // piece `piece` of stash (stage, micro): own slot slots[0] -> the partner's guest slot `guest`
  Load,   // the same piece back: guest slot `guest` -> own slot slots[0]
};

constexpr const char* short_name(Op op) {
  constexpr const char* kNames[] = {"F", "I", "W", "B", "R", "SF", "RF", "SB", "RB", "EV", "LD"};
  return kNames[static_cast<std::size_t>(op)];
}
constexpr Engine engine_of(Op op) {
  if (op <= Op::Reduce) return Engine::Compute;
  return op <= Op::RecvBackward ? Engine::Transfer : Engine::Copy;
}
constexpr const char* name_of(Engine engine) {
  constexpr const char* kNames[] = {"compute", "transfer", "copy"};
  return kNames[static_cast<std::size_t>(engine)];
}
constexpr bool is_send(Op op) {
  return op == Op::SendForward || op == Op::SendBackward;
}

struct Action {
  Op op = Op::Forward;
  int stage = 0;   // global stage index
  int micro = 0;   // micro-batch; -1 for Reduce
  int piece = -1;  // Evict and Load
  int guest = -1;  // Evict and Load: slot in the partner's guest area
  // Slot pass. Forward, InputGrad, WeightGrad, Backward: the own slot of each piece, in piece order.
  // Evict, Load: one slot. Transfers: the index of the boundary buffer used.
  std::vector<int> slots;
  auto operator<=>(const Action&) const = default;
};

struct RankTable {
  std::array<std::vector<Action>, kEngines> rows;
  std::vector<Action>& row(Engine engine) { return rows[static_cast<std::size_t>(engine)]; }
  const std::vector<Action>& row(Engine engine) const { return rows[static_cast<std::size_t>(engine)]; }
  int partner = -1;      // BPipe: the rank whose guest area this rank evicts to; -1: none
  int own_slots = 0;     // stash slots of one piece each in this rank's own area (slot pass)
  int guest_slots = 0;   // slots of the partner's piece size reserved here for the partner
  int cap_slots = 0;     // own_slots + guest_slots may not exceed this; 0: no cap
  int recv_buffers = 0;  // boundary buffers for received activations and gradients, each kind
  int send_buffers = 0;  // boundary buffers for results waiting to be sent, each kind
};

struct Schedule {
  std::string name;                // "1f1b", "gpipe", "1f1b+bpipe(tight)"
  int micros = 0;                  // micro-batches of a step
  int pieces = 1;                  // pieces of each stash (BPipe moves one piece at a time)
  bool forward_only = false;       // evaluation: no backward; a stash lives only while its Forward runs
  std::vector<int> rank_of_stage;  // stages in model order; several stages of a rank are its chunks
  std::vector<RankTable> ranks;
  int stages() const { return static_cast<int>(rank_of_stage.size()); }
};

}  // namespace lacuna
