// Small model files made in code: raw bytes, safetensors with any header, and whole folders that are valid
// until a test breaks one thing.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <string>

#include "src/arch/parameters.h"
#include "src/base/error.h"
#include "src/base/rng.h"
#include "src/format/hf_config.h"
#include "src/format/model_source.h"
#include "src/format/safetensors_writer.h"
#include "tests/support/test_data.h"

namespace lacuna::test {

inline void put_file(const std::string& path, const std::string& bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(out.good()) << path;
}

inline std::string u64_bytes(std::uint64_t value) {
  std::string out(8, '\0');
  std::memcpy(out.data(), &value, 8);
  return out;
}

// A safetensors file with this header text and `data` bytes of zeros behind it.
inline std::string with_header(const std::string& header, std::size_t data) {
  return u64_bytes(header.size()) + header + std::string(data, '\0');
}

// Runs `body`, which must throw Error(BadInput) whose one-line text holds `part`.
template <class Body>
void expect_refused(Body&& body, const std::string& part) {
  try {
    body();
    ADD_FAILURE() << "accepted, wanted a refusal with '" << part << "'";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_EQ(error.exit_code(), 65) << text;
    EXPECT_NE(text.find(part), std::string::npos) << "got: " << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    EXPECT_LT(text.size(), 2000u);
  }
}

inline ModelConfig small_config() {
  ModelConfig config;
  config.hidden = 12;
  config.ffn = 10;
  config.layers = 2;
  config.heads = 3;
  config.kv_heads = 1;
  config.head_dim = 4;
  config.vocab = 17;
  config.max_positions = 64;
  config.bos_id = 1;
  config.eos_ids = {2, 5};
  return config;
}

// The value of element `index` of tensor `name`: any reader can be compared with it.
inline float element(const std::string& name, std::int64_t index) {
  return static_cast<float>(rng_normal(rng_key(7, name), static_cast<std::uint64_t>(index)));
}

inline std::vector<OutputTensor> small_tensors(const ModelConfig& config, DType dtype = DType::F32) {
  std::vector<OutputTensor> out;
  for (const Parameter& parameter : parameters(config))
    out.push_back({parameter.name, dtype, parameter.shape, [parameter, dtype](void* to) {
                     for (std::int64_t i = 0; i < parameter.elements(); ++i) {
                       const float value = element(parameter.name, i);
                       if (dtype == DType::F32) static_cast<float*>(to)[i] = value;
                       if (dtype == DType::BF16) static_cast<std::uint16_t*>(to)[i] = to_bf16(value);
                     }
                   }});
  return out;
}

// A valid folder in `folder` (which exists): config, generation config, weights in shards of `max_bytes`.
inline void put_folder(const std::string& folder, const ModelConfig& config,
                       std::uint64_t max_bytes = 5'000'000'000) {
  put_file(folder + "/config.json", write_hf_config(config, DType::F32));
  put_file(folder + "/generation_config.json", write_generation_config(config));
  write_model_shards(folder, small_tensors(config), max_bytes);
}

}  // namespace lacuna::test
