// Device parts of the kernels that read gate rows.
#pragma once

#include "kernels/cuda/decode_ffn.cuh"

namespace lacuna::cuda::decode {

// Row 2j of a warp is its neuron j's gate, row 2j + 1 its up.
struct GateUpRows {
  MatrixRows gate, up;
  __device__ Row operator()(int k) const { return (k & 1) != 0 ? up(k / 2) : gate(k / 2); }
};
template <class W>
using GateUpStream = RowStream<W, GateUpRows>;

template <class W>
__device__ GateUpStream<W> gate_up_stream(const DecodeGateUp& call, const Block& block) {
  const int first = block.index * kWarps + block.warp, step = block.count * kWarps;
  return {block.ring + block.warp * kDepth * kLine,
          2 * count_of(static_cast<int>(call.gate.rows), first, step),
          lines_of<W>(call.gate.cols),
          {rows_of<W>(call.gate, first, step), rows_of<W>(call.up, first, step)}};
}

template <class W>
__device__ void finish_gate_up(const DecodeGateUp& call, GateUpStream<W>& stream, const Block& block) {
  const int first = block.index * kWarps + block.warp, step = block.count * kWarps;
  const auto cols = static_cast<int>(call.gate.cols);
  const float scale = stage<W>(call.x, call.norm, cols, lines_of<W>(cols), block.x, block.sums);
  const Gating gating = call.gating;
  float* product = call.product;
  float gate = 0;
  unsigned long long zeros = 0;
  stream.run(block.x, [&](int k, float sum) {
    if ((k & 1) == 0) {
      gate = sum * scale;
      return;
    }
    const float value = gated(gating, gate, sum * scale);
    zeros += value == 0;
    if (block.lane == 0) product[first + k / 2 * step] = value;
  });
  const int neurons = count_of(static_cast<int>(call.gate.rows), first, step);
  if (block.lane == 0 && neurons > 0) {
    const auto read = static_cast<unsigned long long>(neurons);
    count(call.counts, read, read, zeros);
  }
}

// Segment `block.index` of the neurons.
struct Segment {
  int begin, size;
};
__device__ inline Segment segment_of(const ActiveLists& lists, int index) {
  const auto begin = static_cast<int>(segment_begin(lists.neurons, lists.segments, index));
  return {begin, static_cast<int>(segment_begin(lists.neurons, lists.segments, index + 1)) - begin};
}

template <class W>
__device__ RowStream<W, MatrixRows> gate_stream(const DecodeGateFirst& call, const Block& block) {
  const Segment segment = segment_of(call.lists, block.index);
  return {block.ring + block.warp * kDepth * kLine, count_of(segment.size, block.warp, kWarps),
          lines_of<W>(call.gate.cols), rows_of<W>(call.gate, segment.begin + block.warp, kWarps)};
}

// Gates, then the runs of the segment. x is staged with `lines` lines, for whoever reads it afterwards;
// returns its scale. open: [segment size], shared.
template <class W>
__device__ float finish_gate(const DecodeGateFirst& call, RowStream<W, MatrixRows>& stream, int lines,
                             float* open, const Block& block) {
  const Segment segment = segment_of(call.lists, block.index);
  const float scale =
      stage<W>(call.x, call.norm, static_cast<int>(call.gate.cols), lines, block.x, block.sums);
  float* values = call.values + segment.begin;
  stream.run(block.x, [&](int k, float sum) {
    if (block.lane != 0) return;
    const int neuron = block.warp + k * kWarps;
    open[neuron] = sum * scale;
    values[neuron] = sum * scale;
  });
  __syncthreads();
  write_runs(open, segment.size, segment.begin, call.whole, block.index, call.lists);
  return scale;
}

}  // namespace lacuna::cuda::decode
