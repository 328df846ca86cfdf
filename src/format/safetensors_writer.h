// Writes safetensors: deterministic bytes for given tensors (sorted by falling alignment, then name, like the
// reference writer; header padded with spaces to 8), cut into shards of bounded size with their index.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "src/base/dtype.h"

namespace lacuna {

struct OutputTensor {
  std::string name;
  DType dtype = DType::F32;
  std::vector<std::int64_t> shape;
  std::function<void(void*)> fill;  // writes all elements, row-major; called once, when its turn comes
  std::uint64_t bytes() const;
};

// One file, flushed to disk. Holds one tensor in memory at a time. Error(Storage) on a full disk and the
// like.
void write_safetensors(const std::string& path, const std::vector<OutputTensor>& tensors,
                       const std::map<std::string, std::string>& metadata);

// "model.safetensors" when everything fits into max_bytes of tensors, else model-00001-of-000NN.safetensors
// and model.safetensors.index.json. Tensors keep their order over the shards. Returns the names written.
std::vector<std::string> write_model_shards(const std::string& folder,
                                            const std::vector<OutputTensor>& tensors,
                                            std::uint64_t max_bytes = 5'000'000'000);

}  // namespace lacuna
