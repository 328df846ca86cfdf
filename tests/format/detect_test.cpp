#include "src/format/detect.h"

#include <filesystem>

#include "tests/format/fixtures.h"

namespace lacuna {
namespace {

TEST(Detect, RealPaths) {
  const std::string data = test::data_folder();
  const std::pair<const char*, PathKind> cases[] = {
      {"/models/stories656k", PathKind::HfFolder},
      {"/models/books17m/", PathKind::HfFolder},
      {"/models/stories260k/stories260K.bin", PathKind::Llama2cFile},
      {"/models/stories260k/tok512.bin", PathKind::Tokenizer},
      {"/tokenizers/llama2", PathKind::Tokenizer},
      {"/tokenizers/llama2/tokenizer.bin", PathKind::Tokenizer},
      {"/tokenizers/llama2/tokenizer.model", PathKind::Tokenizer},
      {"/tokenizers/qwen2/qwen.tiktoken", PathKind::Tokenizer},
      {"/tokenizers/gpt2", PathKind::Tokenizer},
      {"/teal_stats/Mistral-7B.safetensors", PathKind::Safetensors},
      {"/tinyshakespeare/input.txt", PathKind::Unknown},
      {"/tinyshakespeare", PathKind::Unknown},
  };
  for (const auto& [path, kind] : cases) EXPECT_STREQ(name_of(detect(data + path)), name_of(kind)) << path;
}

TEST(Detect, OwnFolders) {
  const test::TempFolder folder;
  EXPECT_EQ(detect(folder.path()), PathKind::Unknown);
  ModelConfig config = test::small_config();
  config.activation = Activation::Drelu;
  test::put_file(folder / "config.json", write_hf_config(config, DType::F32));
  EXPECT_EQ(detect(folder.path()), PathKind::LacunaFolder);
  std::filesystem::create_directories(folder / "run/step-000000012");
  EXPECT_EQ(detect(folder / "run"), PathKind::Unknown) << "a step without a manifest does not exist";
  test::put_file(folder / "run/step-000000012/manifest.json", "{}");
  EXPECT_EQ(detect(folder / "run"), PathKind::Run);
  EXPECT_EQ(detect(folder / "run/step-000000012"), PathKind::Checkpoint);
  std::filesystem::create_directories(folder / "other/step-000000012.tmp-1");
  test::put_file(folder / "other/step-000000012.tmp-1/manifest.json", "{}");
  EXPECT_EQ(detect(folder / "other"), PathKind::Unknown) << "nobody has committed that step";
  test::put_file(folder / "x", "\x89HDF\r\n\x1a\n and so on");
  EXPECT_EQ(detect(folder / "x"), PathKind::TokenFile);
  test::put_file(folder / "empty", "");
  EXPECT_EQ(detect(folder / "empty"), PathKind::Unknown);
  test::expect_refused([&] { detect(folder / "absent"); }, "no such file or folder");
}

// Random bytes end in an error of ours or in "unknown", never elsewhere.
TEST(Detect, NoiseIsHarmless) {
  const test::TempFolder folder;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    std::string bytes(rng_below(rng_key(seed, "length"), 0, 400), '\0');
    for (std::size_t i = 0; i < bytes.size(); ++i)
      bytes[i] = static_cast<char>(rng_bits(rng_key(seed, "noise"), i));
    if (seed % 3 == 0 && bytes.size() > 8) bytes.replace(0, 8, std::string("24ka\1\0\0\0", 8));
    test::put_file(folder / "noise.bin", bytes);
    try {
      if (detect(folder / "noise.bin") == PathKind::Llama2cFile) ModelSource::open(folder / "noise.bin");
    } catch (const Error& error) {
      ASSERT_EQ(error.exit_code(), 65) << error.what();
    }
  }
}

}  // namespace
}  // namespace lacuna
