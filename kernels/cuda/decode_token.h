// One token through the whole model in one kernel: a block per multiprocessor walks all phases, and blocks
// meet between phases. A warp that is done with its rows starts to fetch those of the next phase at once, so
// the stream from memory runs on while others finish, blocks meet and activations are staged. The phases are
// the device parts of the single kernels and give their bits.
#pragma once

#include "kernels/cuda/decode_attention.h"
#include "kernels/cuda/decode_ffn.h"
#include "kernels/cuda/decode_linear.h"
#include "kernels/cuda/decode_route.h"

namespace lacuna::cuda {

// What the single kernels of a block of the model are called with. `gate_up` and `down` for a row-major down;
// else `active` after `gate_first`, or after `route` where the model has experts.
struct DecodeLayer {
  DecodeLinear qkv;
  DecodeAttention attention;
  DecodeLinear output;
  DecodeGateUp gate_up;
  DecodeLinear down;
  DecodeGateFirst gate_first;
  DecodeRoute route;
  DecodeActiveFfn active;
  StandIns others;
};

struct DecodeToken {
  const DecodeLayer* layers = nullptr;  // on the device
  int count = 0;
  bool neuron_major = false, routed = false;
  DecodeMatrix embedding;
  const std::int32_t* token = nullptr;  // on the device
  float* hidden = nullptr;
  DecodeLinear head;
  unsigned* met = nullptr;  // 0 before the launch
};

// Whether the widest phase of a model fits into a block's shared memory, `limit` bytes. `first`: a layer as
// it is on the host; all layers have its shapes.
bool decode_token_fits(const DecodeToken& call, const DecodeLayer& first, std::size_t limit);
// Error(Internal) where it does not fit or blocks are more than the GPU runs at once.
void decode_token(const DecodeToken& call, const DecodeLayer& first, const DecodeLaunch& how);

}  // namespace lacuna::cuda
