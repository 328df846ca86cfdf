// The FFN of decoding one token. Ways to the same sum over neurons:
//   gate_up        all neurons at once: product = act(gate)·up, for a row-major down (decode_linear);
//   gate_first     all gates; writes the list of neurons whose gate is open, then
//   active_ffn     reads the up rows of a list, and the down rows of those whose product is not zero;
//   route          (decode_route.h) lists whole experts, and active_ffn reads their gate rows too.
// gate_first with `whole` lists every neuron. For relu and dReLU the list changes no bit of the result: a
// segment adds its neurons in ascending order, exact zeros change nothing, and segments are added in order.
#pragma once

#include "kernels/cuda/decode_launch.h"
#include "kernels/glu.h"

namespace lacuna::cuda {

// Rows read and exact zeros, summed up over calls; one per layer.
struct DecodeCounts {
  unsigned long long up_rows, down_rows, zeros;
};

struct DecodeGateUp {
  DecodeMatrix gate, up;     // [ffn, hidden]
  const float* x = nullptr;  // [hidden], as in DecodeLinear
  DecodeNorm norm;
  Gating gating = Gating::Silu;
  float* product = nullptr;  // [ffn]
  DecodeCounts* counts = nullptr;
};
void decode_gate_up(const DecodeGateUp& call, const DecodeLaunch& how);

struct DecodeGateFirst {
  DecodeMatrix gate;
  const float* x = nullptr;
  DecodeNorm norm;
  float* values = nullptr;  // [ffn], before the activation
  ActiveLists lists;        // segments == how.blocks
  bool whole = false;
};
void decode_gate_first(const DecodeGateFirst& call, const DecodeLaunch& how);

struct DecodeActiveFfn {
  DecodeMatrix up, down;  // [ffn, hidden] both: a row is a neuron
  const float* x = nullptr;
  DecodeNorm norm;
  const float* gate = nullptr;  // [ffn]; only listed neurons are read
  ActiveLists lists;            // segments == how.blocks
  Gating gating = Gating::Drelu;
  bool keep_zeros = false;   // read the down rows of zero products too
  float* partial = nullptr;  // [segments][partial_stride(hidden)]
  DecodeCounts* counts = nullptr;
  // Like up, where nobody has computed the gates before: the listed rows are read and `gate` is not.
  DecodeMatrix gate_rows;
};
void decode_active_ffn(const DecodeActiveFfn& call, const DecodeLaunch& how);
constexpr std::int64_t partial_stride(std::int64_t hidden) {
  return (hidden + 31) / 32 * 32;
}

// The mean outputs of a routed FFN's experts, which are added for those whose gate is 0.
struct StandIns {
  const float* mean = nullptr;  // [experts][stride], rows padded with zeros to 4 floats
  std::int64_t stride = 0;
  int experts = 0;               // 0: none
  const float* gates = nullptr;  // [experts] of a token
};

// hidden[j] += sum of partial[s][j] over the segments and of the stand-ins, in one order.
void decode_add_partials(const float* partial, int segments, std::int64_t width, float* hidden,
                         const StandIns& others, const DecodeLaunch& how);

}  // namespace lacuna::cuda
