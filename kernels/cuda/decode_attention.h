// Causal attention of a few or many new tokens over a cache of keys and values, split over the context so
// that one token keeps the whole GPU busy. Norms per head and rotation happen on the way in.
#pragma once

#include "kernels/cuda/decode_launch.h"

namespace lacuna::cuda {

// One layer's cache: [kv_heads][room][stride] of dtype for keys and the same for values; rows start at
// multiples of 16 bytes and are zero behind head_dim. Keys are stored rotated.
struct DecodeCache {
  void* keys = nullptr;
  void* values = nullptr;
  DType dtype = DType::F32;
  std::int64_t room = 0, stride = 0;
};

struct DecodeAttention {
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0;
  const float* qkv = nullptr;  // [tokens][qkv_stride]: query, key, value as projected, biases included
  std::int64_t qkv_stride = 0;
  const float* query_norm = nullptr;  // [head_dim], null without norms per head
  const float* key_norm = nullptr;
  float eps = 0;
  const float* cosine = nullptr;  // [positions][head_dim / 2]
  const float* sine = nullptr;
  const std::int32_t* position = nullptr;  // on the device: of token 0; token t has position + t
  DecodeCache cache;
  std::int64_t window = 0;  // as in kernels/attention.h
  float scale = 1;
  int splits = 1;               // of the context
  float* partial = nullptr;     // decode_attention_partials(...) floats for one token; unused with one split
  unsigned* arrived = nullptr;  // [heads] zeros; zeros again afterwards
  float* context = nullptr;     // [tokens][context_stride]
  std::int64_t context_stride = 0;
};

// Rotates and stores the keys of `tokens` tokens, stores their values.
void decode_store(const DecodeAttention& call, std::int64_t tokens, const DecodeLaunch& how);
// One token; stores its key and value too.
void decode_attention(const DecodeAttention& call, const DecodeLaunch& how);
// Many tokens whose keys and values are stored; splits and partial are not used.
void prefill_attention(const DecodeAttention& call, std::int64_t tokens, const DecodeLaunch& how);

std::int64_t decode_attention_partials(std::int64_t heads, std::int64_t head_dim, int splits);
// Largest head_dim for this cache type: a key is at most 512 bytes.
std::int64_t decode_largest_head(DType dtype);

}  // namespace lacuna::cuda
