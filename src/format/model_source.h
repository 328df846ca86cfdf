// The one way to a model's weights outside training: opens a Hugging Face folder, a folder that `export`
// wrote or a llama2.c file, and shows every tensor under its canonical name. Nothing is converted: tensors
// point into the mapped files; only what has to change place (interleaved q/k rows of llama2.c, tensors
// that are not aligned to their element size) is an owned copy. Everything is checked before it is shown.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "src/arch/model_config.h"
#include "src/base/dtype.h"
#include "src/base/file.h"

namespace lacuna {

// A tensor that somebody else owns: row-major, little-endian, aligned to its element size.
struct TensorView {
  DType dtype = DType::F32;  // F64, F32, BF16 or F16
  std::vector<std::int64_t> shape;
  const void* data = nullptr;
  std::int64_t elements() const;
  std::size_t bytes() const { return static_cast<std::size_t>(elements()) * size_of(dtype); }
};

// What a reader of one kind of model hands to ModelSource.
struct ModelContents {
  std::string path, kind;  // kind: "hf folder", "lacuna folder", "llama2.c file", "checkpoint"
  ModelConfig config;
  std::map<std::string, TensorView> tensors;
  std::vector<MappedFile> mappings;                  // what views may point into
  std::vector<std::unique_ptr<std::byte[]>> copies;  // likewise
  std::map<std::string, std::string> companions;     // tokenizer files: name -> bytes
  std::string tokenizer_path;                        // folder or file to load it from; "" if there is none
};

class ModelSource {
 public:
  // Error(BadInput) with file and reason when `path` is none of these or breaks a rule of its format. A
  // llama2.c file gets the tokenizer beside it ("tokenizer.bin", "tok<vocab>.bin") unless `tokenizer` is
  // given.
  static ModelSource open(const std::string& path, const std::string& tokenizer = "");

  // Takes contents whose tensors fit contents.config: every parameter once, with its shape. Checks that.
  explicit ModelSource(ModelContents contents);

  const std::string& path() const { return contents_.path; }
  const std::string& kind() const { return contents_.kind; }
  const ModelConfig& config() const { return contents_.config; }

  // True where each layer has "model.layers.N.mlp.up_down.weight" [ffn, 2, hidden] in place of up_proj and
  // down_proj: row i holds row i of up, then column i of down, so a neuron is one run of 2·hidden elements.
  bool bundled() const { return bundled_; }

  // A stored tensor by name. Names are those of parameters(config()), plus the bundles where bundled() (which
  // then stand for up_proj and down_proj). "lm_head.weight" and "model.embed_tokens.weight" name the same
  // bytes when the embeddings are tied. Views live as long as this object.
  bool has(const std::string& name) const { return contents_.tensors.count(name) != 0; }
  const TensorView& tensor(const std::string& name) const;  // Error(BadInput) when absent
  const std::map<std::string, TensorView>& tensors() const { return contents_.tensors; }

  // Writes parameter `name` (one of parameters(config()), bundled or not) as a row-major array of `dtype`
  // (F64, F32, BF16, F16) in its canonical shape.
  void copy(const std::string& name, DType dtype, void* dst) const;

  // The dtype of parameter `name` as stored.
  DType stored_dtype(const std::string& name) const;

  // Tokenizer and its companions, byte for byte: "tokenizer.json", "tokenizer.model",
  // "tokenizer_config.json", "special_tokens_map.json", … or the one .bin of a llama2.c model. May be empty.
  const std::map<std::string, std::string>& companions() const { return contents_.companions; }
  const std::string& tokenizer_path() const { return contents_.tokenizer_path; }

 private:
  ModelContents contents_;
  bool bundled_ = false;
};

// "model.layers.3.mlp.up_down.weight"
std::string bundle_name(std::int64_t layer);

}  // namespace lacuna
