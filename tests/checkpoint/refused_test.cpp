// Damaged, incomplete and contradictory checkpoints: each is refused with a line that says what is wrong.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "src/base/file.h"
#include "src/base/hash.h"
#include "src/base/rng.h"
#include "src/checkpoint/manifest.h"
#include "tests/checkpoint/sample.h"
#include "tests/support/test_data.h"

namespace lacuna::test {
namespace {

namespace fs = std::filesystem;

std::string slurp(const std::string& path) {
  return read_file(path, 1 << 30);
}
void spill(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// Replaces the first `from` in the manifest and signs it anew, as a program with a mistake would.
void edit(const std::string& folder, const std::string& from, const std::string& to) {
  const std::string path = folder + "/manifest.json";
  std::string text = slurp(path);
  text = text.substr(0, text.rfind('\n', text.size() - 2) + 1);
  const std::size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
  spill(path, text + "\"sha256\": \"" + sha256_hex(text.data(), text.size()) + "\"}\n");
}

void edit(const std::string& folder, const std::function<void(Manifest&)>& change) {
  const std::string path = folder + "/manifest.json";
  Manifest manifest = parse_manifest(slurp(path), path);
  change(manifest);
  spill(path, to_text(manifest));
}

SlabEntry& slab_of(Manifest& m, const std::string& name) {
  for (SlabEntry& slab : m.slabs)
    if (slab.name == name) return slab;
  throw std::runtime_error("no slab of " + name);
}

struct Case {
  const char* name;
  const char* says;
  std::function<void(const std::string& folder)> spoil;
};

const char* const kGate = "model.layers.1.mlp.gate_proj.weight";

std::vector<Case> manifest_cases() {
  const auto edited = [](const char* from, const char* to) {
    return [from, to](const std::string& folder) { edit(folder, from, to); };
  };
  return {
      {"no manifest", "no committed", [](const std::string& f) { fs::remove(f + "/manifest.json"); }},
      {"empty manifest", "cut off", [](const std::string& f) { spill(f + "/manifest.json", ""); }},
      {"tampered", "SHA-256 is wrong",
       [](const std::string& f) {
         std::string text = slurp(f + "/manifest.json");
         text.replace(text.find("\"tokens\": 2000"), 14, "\"tokens\": 3000");
         spill(f + "/manifest.json", text);
       }},
      {"newer", "format version 2; this program reads version 1 (written by a newer one: update)",
       edited("\"version\": 1", "\"version\": 2")},
      {"other format", "not the manifest of a checkpoint", edited("lacuna-checkpoint", "other-checkpoint")},
      {"negative step", "step -2", edited("\"step\": 2", "\"step\": -2")},
      {"another step's name", "is of step 7, its folder's name says 2", edited("\"step\": 2", "\"step\": 7")},
      {"unknown dtype", "unknown data type 'F31'", edited("\"dtype\":\"F32\"", "\"dtype\":\"F31\"")},
      {"unknown role", "unknown role 'slobs'", edited("\"role\":\"slabs\"", "\"role\":\"slobs\"")},
      {"path outside", "'../rank-000.h5' is not a plain file name",
       edited("\"name\":\"rank-000.h5\"", "\"name\":\"../rank-000.h5\"")},
      {"hidden file", "is not a plain file name",
       edited("\"name\":\"rank-000.h5\"", "\"name\":\".rank-000.h5\"")},
      {"odd digits", "is not 16 hexadecimal digits", edited("\"xxh3_64\":\"", "\"xxh3_64\":\"X")},
      {"unknown field of the model", "unknown field 'model.hiddem'", edited("model.hidden", "model.hiddem")},
      {"duplicate key", "tokens", edited("\"tokens\": 2000", "\"tokens\": 2000, \"tokens\": 2000")},
  };
}

Case change(const char* name, const char* says, std::function<void(Manifest&)> body) {
  return {name, says, [body = std::move(body)](const std::string& folder) { edit(folder, body); }};
}

std::vector<Case> tiling_cases() {
  return {
      change("gap", "slabs leave a gap: 480 of 960",
             [](Manifest& m) { m.slabs.erase(m.slabs.begin() + (&slab_of(m, kGate) - m.slabs.data())); }),
      change("overlap", "overlap", [](Manifest& m) { slab_of(m, kGate).slab.extent[0] += 1; }),
      change("outside", "is outside shape [40, 24]",
             [](Manifest& m) { slab_of(m, kGate).slab.offset[1] = 1; }),
      change("far outside", "is outside shape",
             [](Manifest& m) { slab_of(m, kGate).slab.offset[0] = INT64_MAX; }),
      change("negative", "is outside shape", [](Manifest& m) { slab_of(m, kGate).slab.offset[0] = -1; }),
      change("empty slab", "is outside shape", [](Manifest& m) { slab_of(m, kGate).slab.extent[0] = 0; }),
      change("twice", "overlap",
             [](Manifest& m) {
               m.slabs.push_back(slab_of(m, kGate));
               m.slabs.back().dataset += "#9";
             }),
      change("dataset twice", "is used twice", [](Manifest& m) { m.slabs.push_back(slab_of(m, kGate)); }),
      change("dtype differs", "slabs of F64 and of F32",
             [](Manifest& m) { slab_of(m, kGate).dtype = DType::F64; }),
      change("shape differs", "slabs of shape [41, 24] and of [40, 24]",
             [](Manifest& m) { slab_of(m, kGate).shape[0] = 41; }),
      change("three dimensions", "1 or 2 positive dimensions",
             [](Manifest& m) {
               slab_of(m, kGate).shape = {2, 20, 24};
             }),
      change("huge shape", "1 or 2 positive dimensions",
             [](Manifest& m) {
               slab_of(m, kGate).shape = {std::int64_t{1} << 40, std::int64_t{1} << 40};
             }),
      change("unlisted file", "which is not listed",
             [](Manifest& m) { slab_of(m, kGate).file = "rank-007.h5"; }),
      change("file listed twice", "is listed twice", [](Manifest& m) { m.files.push_back(m.files[0]); }),
      change("missing parameter", "the model's model.layers.1.mlp.gate_proj.weight is missing",
             [](Manifest& m) { std::erase_if(m.slabs, [](const SlabEntry& s) { return s.name == kGate; }); }),
      change("another model", "the model's configuration says [48, 24]",
             [](Manifest& m) { m.config.ffn = 48; }),
  };
}

std::vector<Case> file_cases() {
  return {
      {"missing file", "rank-001.h5: listed in the manifest, but missing",
       [](const std::string& f) { fs::remove(f + "/rank-001.h5"); }},
      {"truncated file", "bytes, the manifest says",
       [](const std::string& f) {
         fs::resize_file(f + "/rank-000.h5", fs::file_size(f + "/rank-000.h5") - 1);
       }},
      {"longer file", "bytes, the manifest says",
       [](const std::string& f) {
         fs::resize_file(f + "/rank-000.h5", fs::file_size(f + "/rank-000.h5") + 1);
       }},
      {"symbolic link", "missing or not a regular file",
       [](const std::string& f) {
         fs::rename(f + "/rank-000.h5", f + "/real.h5");
         fs::create_symlink("real.h5", f + "/rank-000.h5");
       }},
      {"changed tokenizer", "tokenizer.json: its hash is",
       [](const std::string& f) {
         std::string text = slurp(f + "/tokenizer.json");
         text[3] ^= 1;
         spill(f + "/tokenizer.json", text);
       }},
      {"changed state", "state.h5: its hash is",
       [](const std::string& f) {
         std::string text = slurp(f + "/state.h5");
         text[text.size() / 2] ^= 1;
         spill(f + "/state.h5", text);
       }},
  };
}

class Refused : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TempFolder>();
    save(*folder_ / "run", make_sample(1), 1, {1, 2, 1});
    save(*folder_ / "run", make_sample(2), 2, {1, 2, 1});
    SaveOptions later;
    later.generation = "3";
    save(*folder_ / "later", make_sample(2), 2, {1, 2, 1}, later);
    SaveOptions other;
    other.run_id = "other";
    save(*folder_ / "other", make_sample(2), 2, {1, 2, 1}, other);
  }
  static void TearDownTestSuite() { folder_.reset(); }

  // A fresh copy of the run with steps 1 and 2.
  std::string copy_run() {
    const std::string to = *folder_ / "copy";
    fs::remove_all(to);
    fs::copy(*folder_ / "run", to, fs::copy_options::recursive);
    return to;
  }

  // The step folder is refused, and the run falls back to step 1.
  void expect_refused(const Case& test) {
    const std::string run = copy_run(), folder = run + "/step-000000002";
    test.spoil(folder);
    const std::string text = error_of(ErrorKind::BadInput, [&] { CheckpointReader(folder).verify(); });
    EXPECT_NE(text.find(test.says), std::string::npos) << test.name << ": " << text;
    std::vector<std::string> rejected;
    const CheckpointReader previous(run, &rejected);
    EXPECT_EQ(previous.meta().step, 1) << test.name;
    ASSERT_EQ(rejected.size(), 1u) << test.name;
    EXPECT_NE(rejected[0].find("step-000000002"), std::string::npos) << rejected[0];
    EXPECT_EQ(rejected[0].find('\n'), std::string::npos);
  }

  static inline std::unique_ptr<TempFolder> folder_;
};

TEST_F(Refused, ManifestsThatAreWrong) {
  for (const Case& test : manifest_cases()) expect_refused(test);
}

TEST_F(Refused, SlabsThatDoNotTile) {
  for (const Case& test : tiling_cases()) expect_refused(test);
}

TEST_F(Refused, FilesThatAreWrong) {
  for (const Case& test : file_cases()) expect_refused(test);
}

TEST_F(Refused, FilesOfAnotherSave) {
  const struct {
    const char *from, *says;
  } cases[] = {{"run/step-000000001", "is of step 1, the manifest of step 2"},
               {"later/step-000000002", "is of generation 3, the manifest of 0"},
               {"other/step-000000002", "is of run 'other', the manifest of ''"}};
  for (const auto& test : cases) {
    const std::string folder = copy_run() + "/step-000000002", file = folder + "/rank-001.h5";
    fs::copy_file(*folder_ / test.from + "/rank-001.h5", file, fs::copy_options::overwrite_existing);
    error_of(ErrorKind::BadInput, [&] { CheckpointReader(folder).verify(); });
    // Even with a manifest that vouches for the file's bytes.
    FileHash hash;
    const std::string bytes = slurp(file);
    hash.add(bytes.data(), bytes.size());
    edit(folder, [&](Manifest& m) {
      for (FileEntry& entry : m.files)
        if (entry.name == "rank-001.h5") entry.xxh3_128 = hash.hex(), entry.bytes = bytes.size();
    });
    const std::string text = error_of(ErrorKind::BadInput, [&] { CheckpointReader(folder).verify(); });
    EXPECT_NE(text.find(test.says), std::string::npos) << text;
  }
}

TEST_F(Refused, DamagedBytesNameFileAndTensorWhenRead) {
  const std::string folder = copy_run() + "/step-000000002", path = folder + "/rank-000.h5";
  const Sample sample = make_sample(2);
  const std::vector<std::byte> bytes = cut(sample.tensors.at(kGate), {{0, 0}, {20, 24}});
  std::string file = slurp(path);
  const std::size_t at = file.find(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  ASSERT_NE(at, std::string::npos);
  file[at + 100] ^= 0x10;
  spill(path, file);
  const CheckpointReader reader(folder);  // opening does not read tensors
  EXPECT_FALSE(read_all(reader, "model.norm.weight").empty());
  std::vector<float> out(24);
  const std::string text = error_of(ErrorKind::BadInput, [&] {
    reader.read(kGate, {{19, 0}, {1, 24}}, DType::F32, out.data());
  });
  EXPECT_NE(
      text.find("rank-000.h5: the bytes of model.layers.1.mlp.gate_proj.weight [0:20, 0:24] are damaged"),
      std::string::npos)
      << text;
  reader.read(kGate, {{20, 0}, {1, 24}}, DType::F32, out.data());  // the other rank's half is sound
}

TEST_F(Refused, EveryBitFlipAndTruncation) {
  const std::uint64_t key = rng_key(5, "damage");
  std::uint64_t draws = 0;
  const std::string folder = copy_run() + "/step-000000002";
  const std::vector<std::string> files = entries(folder);
  int flips = 0, cuts = 0;
  for (int round = 0; round < 40; ++round)
    for (const std::string& name : files) {
      const std::string path = folder + "/" + name, good = slurp(path);
      if (good.empty()) continue;
      const std::size_t at = rng_below(key, draws++, good.size());
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << rng_below(key, draws++, 8)));
      spill(path, bad);
      error_of(ErrorKind::BadInput, [&] { CheckpointReader(folder).verify(); });
      ++flips;
      if (round % 4 == 0) {
        spill(path, good.substr(0, at));
        error_of(ErrorKind::BadInput, [&] { CheckpointReader(folder).verify(); });
        ++cuts;
      }
      spill(path, good);
    }
  CheckpointReader(folder).verify();
  EXPECT_GE(flips, 200);
  EXPECT_GE(cuts, 50);
}

TEST_F(Refused, NothingLeftSaysWhyTheNewestWasRefused) {
  const std::string run = copy_run();
  fs::remove(run + "/step-000000001/rank-000.h5");
  fs::remove(run + "/step-000000002/rank-000.h5");
  const std::string text = error_of(ErrorKind::BadInput, [&] { CheckpointReader reader(run); });
  EXPECT_NE(text.find("none of 2 checkpoints can be used; the newest: "), std::string::npos) << text;
  EXPECT_NE(text.find("step-000000002/rank-000.h5: listed"), std::string::npos) << text;
}

}  // namespace
}  // namespace lacuna::test
