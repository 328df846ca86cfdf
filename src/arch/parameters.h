// The parameter table: the only list of a model's tensors, their names, shapes, tensor-parallel splits,
// initial values. Everything else (checkpoint, import, optimizer, memory plan) walks it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/arch/model_config.h"

namespace lacuna {

// How tensor parallelism cuts a tensor.
enum class Split : std::uint8_t {
  None,    // every rank holds it (norms)
  Rows,    // dimension 0 in equal parts (gate, up, q and their biases)
  Cols,    // dimension 1 in equal parts (o, down)
  KvRows,  // dimension 0 by key/value heads; a head is replicated where there are fewer heads than ranks
  Vocab,   // dimension 0 in equal parts of the vocabulary padded to a multiple of tp
};

enum class Role : std::uint8_t {
  Embedding, AttentionNorm, Query, Key, Value, QueryBias, KeyBias, ValueBias, QueryNorm, KeyNorm, Output,
  FfnNorm, Gate, Up, Down, FinalNorm, Head,
  // of a routed FFN (src/arch/routed_ffn.h); every tensor-parallel rank holds them whole
  RouterWeight, RouterGate, RouterUp, RouterBias, RouterScale, ExpertMean
};

struct Parameter {
  std::string name;  // Hugging Face's name, e.g. "model.layers.3.mlp.gate_proj.weight"
  std::vector<std::int64_t> shape;  // global; Linear weights are [out, in]
  Split split = Split::None;
  Role role = Role::Embedding;
  int layer = -1;         // block index; -1: before the blocks (embedding), layers: after (final norm, head)
  bool decays = true;     // weight decay applies (matrices; not norms or biases)
  double init_std = 0;    // standard deviation of the initial normal values; 0: see init_value
  double init_value = 0;  // constant when init_std is 0 (norms 1, biases 0)
  std::int64_t elements() const;
};

// All parameters in canonical (global) order: embedding, blocks in order, final norm, head. With tied
// embeddings there is no head entry: the head reads "model.embed_tokens.weight".
std::vector<Parameter> parameters(const ModelConfig& config);

// Total number of elements, and without the embedding (and tied head), as FLOP counts want it.
std::int64_t parameter_count(const ModelConfig& config);

// A rectangle of a global tensor.
struct Slab {
  std::vector<std::int64_t> offset, extent;
  std::int64_t elements() const;
  bool operator==(const Slab&) const = default;
};

// What tensor-parallel rank `rank` of `tp` holds.
struct LocalTensor {
  std::vector<std::int64_t> shape;  // in memory; vocabulary padded
  Slab slab;                        // the stored part: shape without padding, at its global place
  int replica = 0;                  // 0 on the one rank that writes this slab; k on its k-th copy
  int replicas = 1;                 // how many ranks hold the same slab
};
LocalTensor local_tensor(const Parameter& parameter, const ModelConfig& config, int rank, int tp);

// ZeRO-1: the rows of `local` (dimension 0 of its in-memory shape) that data-parallel rank `rank` of `dp`
// owns. Consecutive, uneven by at most one row. Depends on nothing else, so every pipeline cut gives the same.
struct RowRange {
  std::int64_t begin = 0, end = 0;
};
RowRange owned_rows(const LocalTensor& local, int rank, int dp);

// The part of `local.slab` that lies in `rows` (empty extent when padding only).
Slab slab_of_rows(const LocalTensor& local, RowRange rows);

// One line per violated rule ("heads 6 do not divide by tp 4; smallest valid tp: 1, 2, 3, 6"); empty: fits.
std::vector<std::string> tp_problems(const ModelConfig& config, int tp);

}  // namespace lacuna
