#include "src/data/token_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <numeric>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/h5/file.h"
#include "tests/support/test_data.h"

namespace lacuna {
namespace {

using Ids = std::vector<std::int32_t>;

TokenFileMeta meta_of(std::int64_t vocab) {
  return {.vocab_size = vocab,
          .eos_id = 1,
          .tokenizer_sha256 = "ab12",
          .source = "a.txt, b.txt",
          .source_sha256 = "cd34",
          .tokenizer_files = {{"tokenizer.json", "{\"model\": \xc3\xa9}"}, {"tokenizer_config.json", "{}"}}};
}

void write(const std::string& path, std::int64_t vocab, const std::vector<Ids>& documents) {
  TokenFileWriter writer(path, meta_of(vocab));
  for (const Ids& ids : documents) {
    writer.add(ids.data(), static_cast<std::int64_t>(ids.size()));
    writer.end_document();
  }
  writer.finish();
}

std::string message_of(const std::function<void()>& body, ErrorKind kind = ErrorKind::BadInput) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  return "(no error)";
}

#define EXPECT_SAYS(expression, text)                                                      \
  EXPECT_PRED2(                                                                            \
      [](const std::string& all, const std::string& part) {                                \
        return all.find(part) != std::string::npos && all.find('\n') == std::string::npos; \
      },                                                                                   \
      message_of([&] { expression; }), std::string(text))

TEST(TokenFile, GivesBackWhatWasWritten) {
  test::TempFolder folder;
  const std::string path = folder / "tokens.h5";
  write(path, 300, {{5, 6, 7}, {}, {8}, {299, 0}});
  const TokenFile file(path);
  EXPECT_EQ(file.tokens(), 6);
  EXPECT_EQ(file.documents(), 3);  // the empty one left no trace
  EXPECT_EQ(file.doc_offsets(), (std::vector<std::int64_t>{0, 3, 4, 6}));
  EXPECT_EQ(file.dtype(), DType::U16);
  EXPECT_EQ(file.meta().eos_id, 1);
  EXPECT_EQ(file.meta().source, "a.txt, b.txt");
  EXPECT_EQ(file.meta().tokenizer_files, meta_of(300).tokenizer_files);
  Ids ids(4);
  file.read(2, 4, ids.data());
  EXPECT_EQ(ids, (Ids{7, 8, 299, 0}));
  EXPECT_SAYS(file.read(3, 4, ids.data()), "tokens 3 to 7 were asked for, the file has 6");
  EXPECT_SAYS(file.read(-1, 1, ids.data()), "were asked for");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);  // nothing temporary
}

TEST(TokenFile, CrossesChunksAndUsesWideIdsForWideVocabularies) {
  test::TempFolder folder;
  const std::string path = folder / "tokens.h5";
  Ids ids((1 << 20) + 12345);
  std::iota(ids.begin(), ids.end(), 0);
  write(path, 1 << 21, {ids});
  const TokenFile file(path);
  EXPECT_EQ(file.dtype(), DType::U32);
  Ids some(100);
  file.read((1 << 20) - 50, 100, some.data());
  EXPECT_EQ(some, Ids(ids.begin() + (1 << 20) - 50, ids.begin() + (1 << 20) + 50));
  file.read(static_cast<std::int64_t>(ids.size()) - 100, 100, some.data());
  EXPECT_EQ(some.back(), ids.back());
}

TEST(TokenFile, FingerprintFollowsTheCorpus) {
  test::TempFolder folder;
  write(folder / "a.h5", 300, {{1, 2, 3}});
  write(folder / "b.h5", 300, {{1, 2, 3}});
  write(folder / "c.h5", 300, {{1, 2, 3, 4}});
  EXPECT_EQ(TokenFile(folder / "a.h5").fingerprint(), TokenFile(folder / "b.h5").fingerprint());
  EXPECT_NE(TokenFile(folder / "a.h5").fingerprint(), TokenFile(folder / "c.h5").fingerprint());
}

TEST(TokenFile, WriterRefuses) {
  test::TempFolder folder;
  const std::string path = folder / "tokens.h5";
  EXPECT_SAYS(write(path, 300, {{5, 300}}), "token 1 has the id 300, the vocabulary has 300");
  EXPECT_SAYS(write(path, 300, {{-1}}), "token 0 has the id -1");
  EXPECT_SAYS(write(path, 300, {{}}), "no tokens to write");
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));  // failures leave nothing behind
  write(path, 300, {{5}});
  EXPECT_NE(message_of([&] { write(path, 300, {{5}}); }, ErrorKind::Storage).find("exists already"),
            std::string::npos);
}

// A file by our own hand with one thing wrong.
struct Draft {
  std::string format = "lacuna.tokens";
  std::int64_t version = 1, vocab = 10, eos = 1;
  DType dtype = DType::U16;
  std::vector<std::uint16_t> tokens = {1, 2, 3};
  std::vector<std::int64_t> offsets = {0, 3};

  void write(const std::string& path) const {
    h5::File file = h5::File::create(path);
    if (!tokens.empty())
      file.write_all("tokens", dtype, static_cast<std::int64_t>(tokens.size()), tokens.data());
    file.write_all("doc_offsets", DType::I64, static_cast<std::int64_t>(offsets.size()), offsets.data());
    file.set_attribute("format", format);
    file.set_attribute("version", version);
    file.set_attribute("vocab_size", vocab);
    file.set_attribute("eos_id", eos);
    for (const char* name : {"tokenizer_sha256", "source", "source_sha256"}) file.set_attribute(name, "x");
    file.close();
  }
};

TEST(TokenFile, MalformedFilesAreRefused) {
  test::TempFolder folder;
  int number = 0;
  const auto refused = [&](const Draft& draft, const std::string& text) {
    const std::string path = folder / fmt::format("{}.h5", number++);
    draft.write(path);
    EXPECT_SAYS(TokenFile{path}, text);
  };
  refused({.format = "other"}, "not a token file");            // D118
  refused({.version = 2}, "version 2, this program reads 1");  // D118
  refused({.vocab = 0}, "vocab_size is 0");
  refused({.eos = 10}, "eos_id is 10, the vocabulary has 10");
  refused({.offsets = {0, 2, 2, 3}}, "/doc_offsets does not increase at 2");  // D116
  refused({.offsets = {0, 2, 1, 3}}, "/doc_offsets does not increase at 2");  // D116
  refused({.offsets = {1, 3}}, "/doc_offsets runs from 1 to 3, wanted 0 to 3");
  refused({.offsets = {0, 4}}, "/doc_offsets runs from 0 to 4, wanted 0 to 3");
  refused({.offsets = {0}}, "/doc_offsets must hold 2 to 4");
  refused({.offsets = {0, 1, 2, 3, 4}}, "/doc_offsets must hold 2 to 4");
  refused({.dtype = DType::BF16}, "/tokens must be one row of uint16 or uint32");
  refused({.tokens = {}}, "tokens");           // D117
  const Draft wrong_id{.tokens = {1, 10, 3}};  // D115
  wrong_id.write(folder / "id.h5");
  Ids ids(3);
  EXPECT_SAYS(TokenFile(folder / "id.h5").read(0, 3, ids.data()),
              "token 1 has the id 10, the vocabulary has 10");
}

TEST(TokenFile, CutAndForeignFilesAreRefused) {
  test::TempFolder folder;
  const std::string path = folder / "tokens.h5";
  write(path, 300, {Ids(5000, 7)});
  const std::string whole = read_file(path, 1 << 26);
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, whole.size() / 2, whole.size() - 1}) {
    const std::string cut = folder / fmt::format("cut{}.h5", size);
    std::ofstream(cut, std::ios::binary) << whole.substr(0, size);
    EXPECT_NE(message_of([&] { TokenFile{cut}; }), "(no error)") << size;
  }
  std::ofstream(folder / "text.h5") << "Once upon a time";
  EXPECT_NE(message_of([&] { TokenFile{folder / "text.h5"}; }), "(no error)");
  EXPECT_NE(message_of([&] { TokenFile{folder / "absent.h5"}; }), "(no error)");
}

}  // namespace
}  // namespace lacuna
