// A parameter as one rank holds it: what the optimizer, the gradient reduction and the checkpoint work on.
#pragma once

#include <ATen/core/Tensor.h>

#include "src/arch/parameters.h"

namespace lacuna {

struct LocalParameter {
  Parameter spec;
  LocalTensor local;
  int stage = 0;  // global stage index
  // The head's side of a tied embedding: an accumulator of its own; the weight aliases the embedding's when
  // both are on this rank, and is a copy kept equal otherwise. Not counted in the norm, not written.
  bool tied_copy = false;
  at::Tensor weight;  // local.shape, compute type, contiguous
  at::Tensor grad;    // local.shape, accumulation type (F64 for F64, else F32), contiguous
  // The gradient holds what is left of the last step: its first product of this step overwrites it (CUDA,
  // where that spares a pass over memory; on the CPU gradients are zeroed).
  bool stale_grad = false;
};

}  // namespace lacuna
