// How the decode kernels are started, and the lists of active runs as they lie on the device.
#pragma once

#include <cstdint>

#include "kernels/cuda/launch.h"
#include "kernels/matrix.h"

namespace lacuna::cuda {

// blocks: one per multiprocessor, so that every block of a kernel runs at once. overlap: the kernel may start
// while its predecessor in the stream still runs (programmatic dependent launch, compute capability 9.0); it
// fetches weights then, and touches nothing else before the predecessor has ended.
struct DecodeLaunch {
  int blocks = 0;
  bool overlap = false;
  Stream stream = nullptr;
};

// Weights on the device: dtype F32 or BF16, `stride` elements from row to row. Rows start at multiples of 16
// bytes; what lies between cols and the next multiple of 16 bytes is zero.
struct DecodeMatrix {
  const void* data = nullptr;
  DType dtype = DType::F32;
  std::int64_t rows = 0, cols = 0, stride = 0;
};

// RMSNorm folded into the kernel that reads the normed values; weight null: none.
struct DecodeNorm {
  const float* weight = nullptr;
  float eps = 0;
};

// First neuron of segment s; segment `segments` is the end.
constexpr std::int64_t segment_begin(std::int64_t neurons, int segments, int s) {
  return neurons * s / segments;
}

// The active runs of one layer and step, by segments: one for each block that reads rows, its runs at
// runs[s·capacity], at most widest() neurons in all. Whoever knows which neurons take part writes this: an
// exact gate lists those of the neurons segment_begin(s) to segment_begin(s + 1), a router gives every
// segment an equal share of all that are on. Who reads rows asks no more.
struct ActiveLists {
  std::int64_t neurons = 0;
  int segments = 0, capacity = 0;
  std::int32_t* counts = nullptr;  // [segments] runs
  ActiveRun* runs = nullptr;       // [segments][capacity]
  float* factors = nullptr;  // [segments][capacity]: what products of a run are multiplied with, or null

  constexpr int widest() const { return static_cast<int>(neurons / segments) + 2; }
  // Runs of a segment whose neurons are listed one by one, and where they come in whole parts of the layer.
  static int capacity_for(std::int64_t neurons, int segments) {
    return static_cast<int>((neurons / segments + 2) / 2 + 1);
  }
  static int capacity_for_parts(std::int64_t neurons, int segments, std::int64_t parts) {
    const std::int64_t most = neurons / segments + 2;
    return static_cast<int>(parts < most ? parts : most);
  }
};

}  // namespace lacuna::cuda
