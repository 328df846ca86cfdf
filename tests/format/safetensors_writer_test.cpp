#include "src/format/safetensors_writer.h"

#include <fstream>

#include "src/base/file.h"
#include "src/format/hf_folder.h"
#include "src/format/safetensors.h"
#include "tests/format/fixtures.h"

namespace lacuna {
namespace {

OutputTensor bytes_of(const std::string& name, DType dtype, std::vector<std::int64_t> shape, char value) {
  OutputTensor tensor{name, dtype, std::move(shape), nullptr};
  const std::size_t bytes = tensor.bytes();
  tensor.fill = [=](void* to) { std::memset(to, value, bytes); };
  return tensor;
}

TEST(SafetensorsWriter, OrderIsByAlignmentThenNameAndTheHeaderIsPadded) {
  const test::TempFolder folder;
  const std::vector<OutputTensor> tensors = {
      bytes_of("z", DType::F32, {3}, 1), bytes_of("b", DType::BF16, {5, 1}, 2),
      bytes_of("a", DType::BF16, {2}, 3), bytes_of("quote\"é", DType::F64, {}, 4),
      bytes_of("empty", DType::F32, {0, 7}, 5)};
  write_safetensors(folder / "x", tensors, {{"format", "pt"}});
  const std::string text = read_file(folder / "x", 10000);
  std::uint64_t length = 0;
  std::memcpy(&length, text.data(), 8);
  EXPECT_EQ(length % 8, 0u);
  const SafetensorsFile file(folder / "x");
  std::vector<std::string> names;
  for (const SafetensorsEntry& entry : file.entries()) names.push_back(entry.name);
  EXPECT_EQ(names, (std::vector<std::string>{"quote\"é", "empty", "z", "a", "b"}));
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.data(*file.find("b")).size(), 10u);
  for (const std::byte byte : file.data(*file.find("b"))) EXPECT_EQ(byte, std::byte{2});
  write_safetensors(folder / "y", {tensors.rbegin(), tensors.rend()}, {{"format", "pt"}});
  EXPECT_EQ(read_file(folder / "y", 10000), text) << "bytes depend on the tensors alone";
}

TEST(SafetensorsWriter, ShardsAreCutBeforeTheyOverflowAndReadBack) {
  const test::TempFolder folder;
  std::vector<OutputTensor> tensors;
  for (int i = 0; i < 7; ++i)
    tensors.push_back(bytes_of("t" + std::to_string(i), DType::F32, {10 + i}, static_cast<char>(i)));
  const std::vector<std::string> names = write_model_shards(folder.path(), tensors, 100);
  EXPECT_EQ(names.size(), 6u);  // 40+44, 48+52, then 56, 60 and 64 alone; the index
  EXPECT_EQ(names.front(), "model-00001-of-00005.safetensors");
  std::size_t found = 0;
  for (const SafetensorsFile& shard : open_shards(folder.path()))
    for (const SafetensorsEntry& entry : shard.entries()) {
      EXPECT_EQ(shard.data(entry)[0], std::byte(entry.name[1] - '0'));
      ++found;
    }
  EXPECT_EQ(found, 7u);
}

TEST(SafetensorsWriter, AnExistingFileIsNotOverwritten) {
  const test::TempFolder folder;
  test::put_file(folder / "x", "precious");
  try {
    write_safetensors(folder / "x", {}, {});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 74);
    EXPECT_NE(std::string(error.what()).find("File exists"), std::string::npos) << error.what();
  }
  EXPECT_EQ(read_file(folder / "x", 100), "precious");
}

}  // namespace
}  // namespace lacuna
