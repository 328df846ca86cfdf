#include "src/format/llama2c.h"

#include <cstring>
#include <filesystem>

#include "src/base/error.h"
#include "src/base/math.h"

namespace lacuna {

namespace {

constexpr std::uint32_t kMagic = 0x616b3432;
constexpr std::size_t kHeaderV0 = 7 * 4, kHeaderV1 = 256;

struct Layout {
  ModelConfig config;
  int version = 0;
  std::size_t data_at = 0;
};

// dim, hidden, layers, heads, kv heads, vocabulary (v0: negative when the head is not shared), positions.
ModelConfig read_sizes(BoundedReader& reader, bool v0, const std::string& where) {
  ModelConfig config;
  config.hidden = reader.i32();
  config.ffn = reader.i32();
  config.layers = reader.i32();
  config.heads = reader.i32();
  config.kv_heads = reader.i32();
  const std::int64_t vocab = reader.i32();
  config.tied_embeddings = vocab > 0;
  config.vocab = v0 && vocab < 0 ? -vocab : vocab;
  config.max_positions = reader.i32();
  LACUNA_CHECK(config.kv_heads > 0, ErrorKind::BadInput, "{}: {} kv-heads, wanted at least 1", where,
               config.kv_heads);
  return config;
}

Layout read_layout(std::span<const std::byte> bytes, const std::string& where) {
  BoundedReader reader(bytes, where);
  Layout layout;
  BoundedReader peek(bytes, where);
  if (peek.u32() == kMagic) {
    reader.u32();
    layout.version = reader.i32();
    LACUNA_CHECK(layout.version == 1, ErrorKind::BadInput,
                 "{}: llama2.c version {} is not supported (0 and 1 are)", where, layout.version);
    layout.config = read_sizes(reader, false, where);
    layout.config.tied_embeddings = reader.u8() != 0;
    layout.data_at = kHeaderV1;
  } else {
    layout.config = read_sizes(reader, true, where);
    layout.data_at = kHeaderV0;
  }
  ModelConfig& config = layout.config;
  if (config.vocab > 1) config.bos_id = 1;  // the program's fixed ids: 1 starts (and separates) texts, 2 ends
  for (const std::int64_t id : {1, 2})
    if (id < config.vocab) config.eos_ids.push_back(id);
  config.complete_and_check(where);
  LACUNA_CHECK(config.hidden == config.query_width(), ErrorKind::BadInput,
               "{}: {} heads do not divide dim {}", where, config.heads, config.hidden);
  return layout;
}

// Hands out the weights one after the other, each checked against what remains.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, ModelContents& contents)
      : reader_(bytes, contents.path), contents_(contents) {}

  void one(const std::string& name, std::vector<std::int64_t> shape) {
    TensorView view{DType::F32, std::move(shape), nullptr};
    view.data = take(view.elements());
    contents_.tensors.emplace(name, std::move(view));
  }
  void each_layer(const char* tail, const std::vector<std::int64_t>& shape) {
    for (std::int64_t layer = 0; layer < contents_.config.layers; ++layer)
      one("model.layers." + std::to_string(layer) + "." + tail, shape);
  }
  const void* take(std::int64_t elements) {
    return reader_.take(static_cast<std::size_t>(checked_mul(elements, 4, "llama2.c tensor"))).data();
  }
  std::size_t remaining() const { return reader_.remaining(); }

 private:
  BoundedReader reader_;
  ModelContents& contents_;
};

void attention(Cursor& at, const ModelConfig& c) {
  at.each_layer("self_attn.q_proj.weight", {c.hidden, c.hidden});
  at.each_layer("self_attn.k_proj.weight", {c.kv_width(), c.hidden});
  at.each_layer("self_attn.v_proj.weight", {c.kv_width(), c.hidden});
  at.each_layer("self_attn.o_proj.weight", {c.hidden, c.hidden});
}

void ffn(Cursor& at, const ModelConfig& c) {
  at.each_layer("mlp.gate_proj.weight", {c.ffn, c.hidden});
  at.each_layer("mlp.down_proj.weight", {c.hidden, c.ffn});
  at.each_layer("mlp.up_proj.weight", {c.ffn, c.hidden});
}

void read_v0(Cursor& at, const ModelConfig& c, const std::string& path) {
  at.one("model.embed_tokens.weight", {c.vocab, c.hidden});
  at.each_layer("input_layernorm.weight", {c.hidden});
  attention(at, c);
  at.each_layer("post_attention_layernorm.weight", {c.hidden});
  ffn(at, c);
  at.one("model.norm.weight", {c.hidden});
  at.take(checked_mul(c.max_positions, c.head_dim, path.c_str()));  // two unused tables of cosines and sines
  if (!c.tied_embeddings) at.one("lm_head.weight", {c.vocab, c.hidden});
}

void read_v1(Cursor& at, const ModelConfig& c) {
  at.each_layer("input_layernorm.weight", {c.hidden});
  at.each_layer("post_attention_layernorm.weight", {c.hidden});
  at.one("model.norm.weight", {c.hidden});
  at.one("model.embed_tokens.weight", {c.vocab, c.hidden});
  attention(at, c);
  ffn(at, c);
  if (!c.tied_embeddings) at.one("lm_head.weight", {c.vocab, c.hidden});
}

// Rows (2i, 2i + 1) of a head, which rotate together, go to (i, i + head_dim / 2).
void to_rotate_half(TensorView& view, std::int64_t head_dim, ModelContents& contents) {
  const std::int64_t rows = view.shape[0], half = head_dim / 2;
  const std::size_t row_bytes = static_cast<std::size_t>(view.shape[1]) * 4;
  contents.copies.push_back(std::make_unique<std::byte[]>(view.bytes()));
  std::byte* target = contents.copies.back().get();
  const auto* source = static_cast<const std::byte*>(view.data);
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t in_head = row % head_dim, head = row - in_head;
    const std::int64_t to = head + in_head / 2 + (in_head % 2) * half;
    std::memcpy(target + static_cast<std::size_t>(to) * row_bytes,
                source + static_cast<std::size_t>(row) * row_bytes, row_bytes);
  }
  view.data = target;
}

std::int64_t element_count(const Layout& layout) {
  const ModelConfig& c = layout.config;
  const std::int64_t square = c.hidden * c.hidden;
  const std::int64_t block = 2 * c.hidden + 2 * square + 2 * c.kv_width() * c.hidden + 3 * c.ffn * c.hidden;
  const std::int64_t tables =
      layout.version == 0 ? checked_mul(c.max_positions, c.head_dim, "rope tables") : 0;
  const std::int64_t blocks = checked_mul(c.layers, block, "llama2.c blocks");
  return checked_add(blocks, c.vocab * c.hidden * (c.tied_embeddings ? 1 : 2) + c.hidden + tables,
                     "llama2.c weights");
}

std::string tokenizer_beside(const std::string& path, const ModelConfig& config) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  for (const std::string& name :
       {std::string("tokenizer.bin"), "tok" + std::to_string(config.vocab) + ".bin"}) {
    std::error_code ignored;
    if (std::filesystem::is_regular_file(folder / name, ignored)) return (folder / name).string();
  }
  return "";
}

}  // namespace

bool looks_like_llama2c(const std::string& path) {
  const MappedFile file(path);
  if (file.bytes().size() < kHeaderV0) return false;
  if (BoundedReader(file.bytes(), path).u32() == kMagic) return true;
  try {
    const Layout layout = read_layout(file.bytes(), path);
    const std::int64_t bytes = checked_mul(element_count(layout), 4, "llama2.c file");
    return layout.data_at + static_cast<std::size_t>(bytes) == file.bytes().size();
  } catch (const Error&) {
    return false;
  }
}

ModelContents open_llama2c(const std::string& path, const std::string& tokenizer) {
  ModelContents contents;
  contents.path = path;
  contents.kind = "llama2.c file";
  contents.mappings.emplace_back(path);
  const std::span<const std::byte> bytes = contents.mappings.back().bytes();
  const Layout layout = read_layout(bytes, path);
  contents.config = layout.config;
  const std::uint64_t want =
      layout.data_at + static_cast<std::uint64_t>(checked_mul(element_count(layout), 4, path.c_str()));
  LACUNA_CHECK(bytes.size() == want, ErrorKind::BadInput,
               "{}: {} bytes, but a llama2.c file (version {}) of these sizes has {}", path, bytes.size(),
               layout.version, want);
  Cursor at(bytes.subspan(layout.data_at), contents);
  if (layout.version == 0)
    read_v0(at, layout.config, path);
  else
    read_v1(at, layout.config);
  LACUNA_ASSERT(at.remaining() == 0);
  for (auto& [name, view] : contents.tensors)
    if (name.ends_with("q_proj.weight") || name.ends_with("k_proj.weight"))
      to_rotate_half(view, layout.config.head_dim, contents);
  contents.tokenizer_path = tokenizer.empty() ? tokenizer_beside(path, layout.config) : tokenizer;
  if (!contents.tokenizer_path.empty()) {
    const std::string name = std::filesystem::path(contents.tokenizer_path).filename().string();
    contents.companions.emplace(name.ends_with(".bin") ? "tokenizer.bin" : name,
                                read_file(contents.tokenizer_path, 64 << 20));
  }
  return contents;
}

}  // namespace lacuna
