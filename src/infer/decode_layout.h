// Where the weights of a model lie in one block of device memory: matrices in one dtype with rows that start
// at multiples of 16 bytes, query, key and value as one matrix, up and down of a neuron side by side where
// the activation makes exact zeros or experts are switched off. Arithmetic alone; what fills the block is
// src/infer/cuda.
#pragma once

#include <cstdint>
#include <vector>

#include "src/arch/model_config.h"
#include "src/base/dtype.h"

namespace lacuna {

struct PlacedMatrix {
  std::int64_t offset = 0;                      // bytes from the start of the block
  std::int64_t rows = 0, cols = 0, stride = 0;  // elements
  DType dtype = DType::F32;
};

// A routed FFN's own tensors, all in fp32: a choice between experts must not change with the weights' type.
struct PlacedRouter {
  PlacedMatrix rows;  // of router.weight, router.gate and router.up, one behind the other; none: no rows
  PlacedMatrix mean;  // [experts, hidden]
  std::int64_t bias = -1, scale = -1;  // offsets of fp32 vectors [experts]; -1: the router has none
  std::int64_t begin = -1;             // offset of int32 [experts + 1]: RoutedLayer::begin
};

struct PlacedLayer {
  // Offsets of fp32 vectors, padded with zeros to 4 floats; -1: the model has none.
  std::int64_t attention_norm = -1, ffn_norm = -1, query_norm = -1, key_norm = -1, qkv_bias = -1;
  PlacedMatrix qkv;       // [query + 2·kv widths, hidden]
  PlacedMatrix output;    // [hidden, query width]
  PlacedMatrix gate, up;  // [ffn, hidden]
  PlacedMatrix down;      // [ffn, hidden] where neuron_major, else [hidden, ffn]
  PlacedRouter router;    // of a routed FFN
};

struct DecodeLayout {
  ModelConfig config;
  DType dtype = DType::F32;  // of all matrices but a router's: F32 or BF16
  bool neuron_major = false;
  PlacedMatrix embedding, head;  // the same place when they are tied
  std::int64_t final_norm = -1;
  std::vector<PlacedLayer> layers;
  std::int64_t bytes = 0;

  // Bytes of weights that a decoded token reads when so many rows of up and down take part in each layer. The
  // gate is read whole, in a routed FFN as up is, and there the router and all means are counted.
  double bytes_per_token(double up_rows, double down_rows) const;
  // Of keys and values, per position of the context.
  double cache_bytes_per_position() const;
};

// A routed FFN is neuron-major whatever is asked for: an expert is then one run of rows in all three
// matrices. Error(Usage) for an oracle router or a head_dim that the decode kernels do not take.
DecodeLayout decode_layout(const ModelConfig& config, DType dtype, bool neuron_major);

// Elements from row to row of a matrix with `cols` columns.
std::int64_t padded_stride(std::int64_t cols, DType dtype);

}  // namespace lacuna
