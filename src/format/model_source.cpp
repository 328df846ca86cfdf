#include "src/format/model_source.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "src/arch/parameters.h"
#include "src/base/convert_elements.h"
#include "src/base/error.h"
#include "src/format/hf_folder.h"
#include "src/format/llama2c.h"

namespace lacuna {

namespace {

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

// With tied embeddings either name may be the stored one; afterwards both name the same view.
void join_tied(ModelContents& contents) {
  if (!contents.config.tied_embeddings) {
    LACUNA_CHECK(contents.tensors.count(kHead), ErrorKind::BadInput,
                 "{}: {} is missing although the embeddings are not tied", contents.path, kHead);
    return;
  }
  const auto embedding = contents.tensors.find(kEmbedding), head = contents.tensors.find(kHead);
  const auto none = contents.tensors.end();
  if (embedding == none && head == none) return;  // reported as a missing parameter
  if (embedding == none) {
    contents.tensors.emplace(kEmbedding, head->second);
  } else if (head == none) {
    contents.tensors.emplace(kHead, embedding->second);
  } else {
    const TensorView &a = embedding->second, &b = head->second;
    LACUNA_CHECK(a.dtype == b.dtype && a.shape == b.shape && std::memcmp(a.data, b.data, a.bytes()) == 0,
                 ErrorKind::BadInput, "{}: the embeddings are tied, but {} and {} differ", contents.path,
                 kEmbedding, kHead);
    head->second = embedding->second;
  }
}

struct Expected {
  std::string name;
  std::vector<std::int64_t> shape;
};

std::vector<Expected> expected_tensors(const ModelConfig& config, bool bundled) {
  std::vector<Expected> out;
  for (const Parameter& parameter : parameters(config)) {
    if (bundled && parameter.role == Role::Down) continue;
    if (bundled && parameter.role == Role::Up)
      out.push_back({bundle_name(parameter.layer), {config.ffn, 2, config.hidden}});
    else
      out.push_back({parameter.name, parameter.shape});
  }
  if (config.tied_embeddings) out.push_back({kHead, {config.vocab, config.hidden}});
  return out;
}

bool is_float(DType dtype) {
  return dtype == DType::F64 || dtype == DType::F32 || dtype == DType::BF16 || dtype == DType::F16;
}

void check_tensors(const ModelContents& contents, bool bundled) {
  std::size_t found = 0;
  const std::vector<Expected> expected = expected_tensors(contents.config, bundled);
  for (const Expected& want : expected) {
    const auto at = contents.tensors.find(want.name);
    LACUNA_CHECK(at != contents.tensors.end(), ErrorKind::BadInput, "{}: tensor '{}' is missing",
                 contents.path, want.name);
    LACUNA_CHECK(at->second.shape == want.shape, ErrorKind::BadInput,
                 "{}: tensor '{}' has shape {}, the configuration wants {}", contents.path, want.name,
                 shape_text(at->second.shape), shape_text(want.shape));
    LACUNA_CHECK(is_float(at->second.dtype), ErrorKind::BadInput,
                 "{}: tensor '{}' has dtype {}, wanted F32, BF16, F16 or F64", contents.path, want.name,
                 name_of(at->second.dtype));
    ++found;
  }
  if (found == contents.tensors.size()) return;
  std::vector<std::string> names;
  for (const Expected& want : expected) names.push_back(want.name);
  std::sort(names.begin(), names.end());
  for (const auto& [name, view] : contents.tensors)
    LACUNA_CHECK(std::binary_search(names.begin(), names.end(), name), ErrorKind::BadInput,
                 "{}: tensor '{}' is no part of a {} of {} layers as config.json describes it", contents.path,
                 printable(name), contents.config.family, contents.config.layers);
}

// "model.layers.3.mlp.up_proj.weight" -> 3, is_up; -1 for other names.
std::int64_t layer_of_half(const std::string& name, bool& is_up) {
  const std::string head = "model.layers.", up = ".mlp.up_proj.weight", down = ".mlp.down_proj.weight";
  is_up = name.ends_with(up);
  if (!name.starts_with(head) || !(is_up || name.ends_with(down))) return -1;
  return std::stoll(name.substr(head.size()));
}

}  // namespace

std::int64_t TensorView::elements() const {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) count *= extent;
  return count;
}

std::string bundle_name(std::int64_t layer) {
  return "model.layers." + std::to_string(layer) + ".mlp.up_down.weight";
}

ModelSource ModelSource::open(const std::string& path, const std::string& tokenizer) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  LACUNA_CHECK(status.type() != std::filesystem::file_type::not_found, ErrorKind::BadInput,
               "{}: no such file or folder", path);
  ModelContents contents =
      std::filesystem::is_directory(status) ? open_hf_folder(path) : open_llama2c(path, tokenizer);
  if (std::filesystem::is_directory(status) && !tokenizer.empty()) {
    contents.companions = {
        {std::filesystem::path(tokenizer).filename().string(), read_file(tokenizer, 64 << 20)}};
    contents.tokenizer_path = tokenizer;
  }
  return ModelSource(std::move(contents));
}

ModelSource::ModelSource(ModelContents contents) : contents_(std::move(contents)) {
  bundled_ = contents_.tensors.count(bundle_name(0)) != 0;
  join_tied(contents_);
  check_tensors(contents_, bundled_);
}

const TensorView& ModelSource::tensor(const std::string& name) const {
  const auto found = contents_.tensors.find(name);
  LACUNA_CHECK(found != contents_.tensors.end(), ErrorKind::BadInput, "{}: no tensor '{}'", contents_.path,
               printable(name));
  return found->second;
}

DType ModelSource::stored_dtype(const std::string& name) const {
  bool is_up = false;
  const std::int64_t layer = bundled_ ? layer_of_half(name, is_up) : -1;
  return tensor(layer >= 0 ? bundle_name(layer) : name).dtype;
}

void ModelSource::copy(const std::string& name, DType dtype, void* dst) const {
  bool is_up = false;
  const std::int64_t layer = bundled_ ? layer_of_half(name, is_up) : -1;
  if (layer < 0) {
    const TensorView& view = tensor(name);
    convert_elements(view.data, view.dtype, dst, dtype, view.elements());
    return;
  }
  const TensorView& bundle = tensor(bundle_name(layer));
  const std::int64_t ffn = contents_.config.ffn, hidden = contents_.config.hidden;
  const std::size_t from = size_of(bundle.dtype), to = size_of(dtype);
  const auto* source = static_cast<const std::byte*>(bundle.data);
  auto* target = static_cast<std::byte*>(dst);
  std::vector<std::byte> row(static_cast<std::size_t>(hidden) * to);
  for (std::int64_t neuron = 0; neuron < ffn; ++neuron) {
    const std::byte* half = source + static_cast<std::size_t>((2 * neuron + (is_up ? 0 : 1)) * hidden) * from;
    if (is_up) {
      convert_elements(half, bundle.dtype, target + static_cast<std::size_t>(neuron * hidden) * to, dtype,
                       hidden);
      continue;
    }
    convert_elements(half, bundle.dtype, row.data(), dtype,
                     hidden);  // down is [hidden, ffn]: this is its column
    for (std::int64_t i = 0; i < hidden; ++i)
      std::memcpy(target + static_cast<std::size_t>(i * ffn + neuron) * to,
                  row.data() + static_cast<std::size_t>(i) * to, to);
  }
}

}  // namespace lacuna
