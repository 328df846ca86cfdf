#include "src/format/llama2c.h"

#include <functional>

#include "src/base/file.h"
#include "tests/format/fixtures.h"

namespace lacuna {
namespace {

using test::expect_refused;

void put_i32(std::string& out, std::int32_t value) {
  out.append(reinterpret_cast<const char*>(&value), 4);
}

// The file that llama2.c's own exporter would write for a model whose canonical tensors are `element`:
// its q and k rows are interleaved, so file row (head, 2i + part) is canonical row (head, part · half + i).
class Writer {
 public:
  Writer(const ModelConfig& config, bool tied) : config_(config), tied_(tied) {}

  std::string v0() {
    sizes(tied_ ? config_.vocab : -config_.vocab);
    one("model.embed_tokens.weight", config_.vocab, config_.hidden);
    each("input_layernorm.weight", 1, config_.hidden);
    attention();
    each("post_attention_layernorm.weight", 1, config_.hidden);
    ffn();
    one("model.norm.weight", 1, config_.hidden);
    out_.append(static_cast<std::size_t>(config_.max_positions * config_.head_dim * 4), '\x7f');
    if (!tied_) one("lm_head.weight", config_.vocab, config_.hidden);
    return out_;
  }
  std::string v1() {
    put_i32(out_, 0x616b3432);
    put_i32(out_, 1);
    sizes(config_.vocab);
    out_ += tied_ ? '\1' : '\0';
    out_.resize(256, '\0');
    each("input_layernorm.weight", 1, config_.hidden);
    each("post_attention_layernorm.weight", 1, config_.hidden);
    one("model.norm.weight", 1, config_.hidden);
    one("model.embed_tokens.weight", config_.vocab, config_.hidden);
    attention();
    ffn();
    if (!tied_) one("lm_head.weight", config_.vocab, config_.hidden);
    return out_;
  }

 private:
  void sizes(std::int64_t vocab) {
    for (const std::int64_t size : {config_.hidden, config_.ffn, config_.layers, config_.heads,
                                    config_.kv_heads, vocab, config_.max_positions})
      put_i32(out_, static_cast<std::int32_t>(size));
  }
  void one(const std::string& name, std::int64_t rows, std::int64_t cols, bool rotated = false) {
    const std::int64_t half = config_.head_dim / 2;
    for (std::int64_t row = 0; row < rows; ++row) {
      const std::int64_t in_head = row % config_.head_dim;
      const std::int64_t canonical = rotated ? row - in_head + (in_head % 2) * half + in_head / 2 : row;
      for (std::int64_t col = 0; col < cols; ++col) {
        const float value = test::element(name, canonical * cols + col);
        out_.append(reinterpret_cast<const char*>(&value), 4);
      }
    }
  }
  void each(const std::string& tail, std::int64_t rows, std::int64_t cols, bool rotated = false) {
    for (std::int64_t layer = 0; layer < config_.layers; ++layer)
      one("model.layers." + std::to_string(layer) + "." + tail, rows, cols, rotated);
  }
  void attention() {
    each("self_attn.q_proj.weight", config_.hidden, config_.hidden, true);
    each("self_attn.k_proj.weight", config_.kv_width(), config_.hidden, true);
    each("self_attn.v_proj.weight", config_.kv_width(), config_.hidden);
    each("self_attn.o_proj.weight", config_.hidden, config_.hidden);
  }
  void ffn() {
    each("mlp.gate_proj.weight", config_.ffn, config_.hidden);
    each("mlp.down_proj.weight", config_.hidden, config_.ffn);
    each("mlp.up_proj.weight", config_.ffn, config_.hidden);
  }
  const ModelConfig& config_;
  bool tied_;
  std::string out_;
};

ModelConfig toy() {
  ModelConfig config = test::small_config();
  config.hidden = 24;
  config.head_dim = 8;
  return config;
}

TEST(Llama2c, BothVersionsTiedOrNotGiveTheCanonicalTensors) {
  const test::TempFolder folder;
  const ModelConfig config = toy();
  for (const bool tied : {true, false})
    for (const int version : {0, 1}) {
      SCOPED_TRACE(fmt::format("tied {} version {}", tied, version));
      const std::string path = folder / fmt::format("m{}{}.bin", tied, version);
      test::put_file(path, version == 0 ? Writer(config, tied).v0() : Writer(config, tied).v1());
      EXPECT_TRUE(looks_like_llama2c(path));
      const ModelSource source = ModelSource::open(path);
      EXPECT_EQ(source.config().tied_embeddings, tied);
      EXPECT_EQ(source.config().kv_heads, 1);
      EXPECT_EQ(source.config().norm_eps, 1e-5);
      EXPECT_EQ(source.config().bos_id, 1);
      EXPECT_TRUE(source.companions().empty());
      for (const Parameter& parameter : parameters(source.config())) {
        std::vector<double> values(static_cast<std::size_t>(parameter.elements()));
        source.copy(parameter.name, DType::F64, values.data());
        for (std::size_t i = 0; i < values.size(); ++i)
          ASSERT_EQ(values[i],
                    static_cast<double>(test::element(parameter.name, static_cast<std::int64_t>(i))))
              << parameter.name << " " << i;
      }
    }
}

TEST(Llama2c, WrongSizesAndVersionsAreRefused) {
  const test::TempFolder folder;
  const std::string path = folder / "m.bin", good = Writer(toy(), true).v0();
  const auto refused = [&](const std::string& bytes, const std::string& part) {
    SCOPED_TRACE(part);
    test::put_file(path, bytes);
    expect_refused([&] { ModelSource::open(path); }, part);
    EXPECT_EQ(looks_like_llama2c(path), part.find("version 2") != std::string::npos);
  };
  const auto with_size = [&](std::size_t index, std::int32_t value) {
    std::string bytes = good;
    std::memcpy(bytes.data() + 4 * index, &value, 4);
    return bytes;
  };
  refused("", "at byte 0: wanted 4 bytes, 0 remain");
  refused(good.substr(0, 27), "at byte 24: wanted 4 bytes, 3 remain");
  refused(good.substr(0, good.size() - 1), "of these sizes has");
  refused(good + "x", "of these sizes has");
  refused(with_size(0, 0), "hidden is 0");
  refused(with_size(0, -24), "hidden is -24");
  refused(with_size(1, -1), "ffn is -1");
  refused(with_size(2, 2147483647), "layers is 2147483647");
  refused(with_size(3, 5), "5 heads do not divide hidden 24");
  refused(with_size(4, 0), "0 kv-heads");
  refused(with_size(4, 2), "2 kv-heads do not divide 3 heads");
  refused(with_size(5, -2147483647 - 1), "vocab is 2147483648");
  refused(with_size(6, 0), "max-positions is 0");
  refused(with_size(6, 2147483647), "of these sizes has");
  std::string quantised = Writer(toy(), true).v1();
  quantised[4] = 2;
  refused(quantised, "llama2.c version 2 is not supported");
}

TEST(Llama2c, TokenizerBesideTheFileOrNamed) {
  const test::TempFolder folder;
  const std::string path = folder / "m.bin";
  test::put_file(path, Writer(toy(), true).v0());
  test::put_file(folder / "tok17.bin", "seventeen");
  EXPECT_EQ(ModelSource::open(path).companions().at("tokenizer.bin"), "seventeen");
  EXPECT_EQ(ModelSource::open(path).tokenizer_path(), folder / "tok17.bin");
  test::put_file(folder / "tokenizer.bin", "usual");
  EXPECT_EQ(ModelSource::open(path).companions().at("tokenizer.bin"), "usual");
  test::put_file(folder / "named.bin", "named");
  EXPECT_EQ(ModelSource::open(path, folder / "named.bin").companions().at("tokenizer.bin"), "named");
  expect_refused([&] { ModelSource::open(path, folder / "absent.bin"); }, "absent.bin");
}

}  // namespace
}  // namespace lacuna
