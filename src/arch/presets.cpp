#include "src/arch/presets.h"

#include <algorithm>
#include <filesystem>

#include "src/base/error.h"
#include "src/base/fields.h"
#include "src/base/file.h"

namespace lacuna {

namespace {

ModelConfig shape(std::int64_t hidden, std::int64_t ffn, std::int64_t layers, std::int64_t heads,
                  std::int64_t kv_heads, std::int64_t vocab, std::int64_t positions) {
  ModelConfig config;
  config.hidden = hidden;
  config.ffn = ffn;
  config.layers = layers;
  config.heads = heads;
  config.kv_heads = kv_heads;
  config.vocab = vocab;
  config.max_positions = positions;
  return config;
}

}  // namespace

const std::vector<Preset>& presets() {
  static const std::vector<Preset> all = {
      {"tiny", "1 M parameters with a vocabulary of 1,024: a laptop trains it in a minute",
       [] {
         ModelConfig config = shape(128, 384, 4, 4, 2, 0, 512);
         config.tied_embeddings = true;
         return config;
       }},
      {"124m", "768 wide, 12 layers, FFN 2048", [] { return shape(768, 2048, 12, 12, 12, 0, 1024); }},
      {"1b", "2048 wide, 22 layers, 32/4 heads, FFN 5632",
       [] { return shape(2048, 5632, 22, 32, 4, 32000, 2048); }},
      {"llama2-7b", "4096 wide, 32 layers, FFN 11008",
       [] { return shape(4096, 11008, 32, 32, 32, 32000, 4096); }},
      {"mistral-7b", "4096 wide, 32 layers, 32/8 heads, FFN 14336",
       [] { return shape(4096, 14336, 32, 32, 8, 32000, 8192); }},
      {"llama3.2-1b", "2048 wide, 16 layers, 32/8 heads, FFN 8192, vocabulary of 128,256, tied",
       [] {
         ModelConfig config = shape(2048, 8192, 16, 32, 8, 128256, 131072);
         config.rope_theta = 500000;
         config.rope_scaling = {"llama3", 32, 1, 4, 8192};
         config.tied_embeddings = true;
         return config;
       }},
      {"llama3-8b", "4096 wide, 32 layers, 32/8 heads, FFN 14336, vocabulary of 128,256",
       [] {
         ModelConfig config = shape(4096, 14336, 32, 32, 8, 128256, 8192);
         config.rope_theta = 500000;
         return config;
       }},
  };
  return all;
}

ModelConfig read_arch(const std::string& arch) {
  std::string known;
  for (const Preset& preset : presets()) {
    if (arch == preset.name) return preset.make();
    known += (known.empty() ? "" : ", ") + std::string(preset.name);
  }
  LACUNA_CHECK(std::filesystem::is_regular_file(arch), ErrorKind::Usage,
               "--arch '{}' is neither a file nor one of {}", arch, known);
  ModelConfig config;
  std::vector<FieldRef> fields = fields_of(config);
  for (const IniEntry& entry : read_ini(read_file(arch, 1 << 20), arch)) {
    const auto field =
        std::find_if(fields.begin(), fields.end(), [&](const FieldRef& f) { return f.name == entry.name; });
    LACUNA_CHECK(field != fields.end(), ErrorKind::Usage, "{}:{}: unknown key {}", arch, entry.line,
                 entry.name);
    with_context(fmt::format("reading {} at {}:{}", entry.name, arch, entry.line),
                 [&] { field->set(entry.value); });
  }
  return config;
}

}  // namespace lacuna
