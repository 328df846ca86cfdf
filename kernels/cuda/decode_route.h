// The router of a routed FFN (src/arch/routed_ffn.h) as a producer of active lists: scores from the FFN's
// input, the experts that are on, their gates, and every segment's share of their neurons. One launch: rows
// of the router are shared out to blocks, and the last block of a token to end chooses.
#pragma once

#include "kernels/cuda/decode_launch.h"
#include "kernels/glu.h"

namespace lacuna::cuda {

// RouterKind without the oracle, whose scores are outputs of the FFN itself.
enum class RouteBy : std::uint8_t { Linear, LowRank, Neuron, Random, None };

struct DecodeRoute {
  RouteBy by = RouteBy::None;
  int experts = 0, rank = 0;
  // F32: W [experts, hidden] (linear, lowrank), then A and B [experts·rank, hidden] (lowrank, neuron). No
  // rows for random and none.
  DecodeMatrix rows;
  const float* x = nullptr;  // [tokens][x_stride], as in DecodeLinear
  std::int64_t x_stride = 0;
  DecodeNorm norm;
  Gating gating = Gating::Silu;  // neuron
  const float* bias = nullptr;   // [experts], or null
  const float* scale = nullptr;  // [experts]; null: gates are 1
  bool threshold = false;        // else the `active` largest keys
  int active = 0;
  std::uint64_t key = 0;                   // random: of the layer
  const std::int32_t* position = nullptr;  // random: of the step's first token, on the device
  std::int64_t first_token = 0;            // of this launch, in the step
  const std::int32_t* begin = nullptr;     // [experts + 1]: neurons of expert e are begin[e] to begin[e + 1]

  float* parts = nullptr;       // [tokens][4·rows]: scratch
  unsigned* arrived = nullptr;  // [tokens]: 0 before and after the launch
  float* gates = nullptr;       // out [tokens][experts]: 0 for those that are off
  // Out, of one token alone; no runs: none are wanted. A segment holds an equal share of the neurons that are
  // on, the shared ones first, each run with its expert's gate. `whole`: then as well its share of those that
  // are off, times 0.
  ActiveLists lists;
  bool whole = false;
};
// lists.capacity as ActiveLists::capacity_for_parts(…, experts + 1) says. Error(Internal) when the width does
// not fit into shared memory.
void decode_route(const DecodeRoute& call, std::int64_t tokens, const DecodeLaunch& how);

}  // namespace lacuna::cuda
