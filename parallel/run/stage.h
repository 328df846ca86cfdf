// What the executor needs of a model: compute on opaque buffers, nothing else. Implemented by
// src/model/llama_stage; a fake one proves schedules in tests.
#pragma once

#include <cstddef>
#include <span>

namespace lacuna {

// The stash of one micro-batch on one stage: one buffer per piece, in piece order. A piece holds the block
// stashes of consecutive layers back to back; the last piece of the last stage also holds the head's.
using StashPieces = std::span<std::byte* const>;

class Stage {
 public:
  virtual ~Stage() = default;
  // `stage` is the global stage index, `micro` the micro-batch of the running step. Buffers at stage
  // boundaries have boundary_bytes(); they are null where there is no neighbour (the first stage reads
  // tokens, the last one makes the loss). All calls come from one thread, in the order of the compute row.
  virtual void forward(int stage, int micro, const std::byte* input, std::byte* output,
                       StashPieces stash) = 0;
  virtual void input_grad(int stage, int micro, const std::byte* output_grad, std::byte* input_grad,
                          StashPieces stash) = 0;
  virtual void weight_grad(int stage, int micro, StashPieces stash) = 0;
  // Both, which lets a recomputing stage work layer by layer.
  virtual void backward(int stage, int micro, const std::byte* output_grad, std::byte* input_grad_out,
                        StashPieces stash) {
    input_grad(stage, micro, output_grad, input_grad_out, stash);
    weight_grad(stage, micro, stash);
  }
  // The stage's gradients are complete on this rank: reduce them over data parallel.
  virtual void reduce(int stage) = 0;

  virtual std::size_t boundary_bytes() const = 0;
  // Bytes of piece `piece` of a stash of `stage`, a multiple of 64.
  virtual std::size_t piece_bytes(int stage, int piece) const = 0;
};

}  // namespace lacuna
