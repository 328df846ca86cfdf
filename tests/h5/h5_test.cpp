// Files of datasets: what is written comes back bit for bit, whole and by rectangle; errors name their place.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "src/base/error.h"
#include "src/base/rng.h"
#include "src/h5/file.h"
#include "tests/support/test_data.h"

namespace lacuna {
namespace {

std::vector<std::byte> noise(std::size_t bytes, std::uint64_t seed) {
  std::vector<std::byte> out(bytes);
  const std::uint64_t key = rng_key(seed, "h5_test");
  for (std::size_t i = 0; i < bytes; ++i) out[i] = static_cast<std::byte>(rng_bits(key, i) >> 56);
  return out;
}

template <class Body>
std::string error_of(ErrorKind kind, Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

class H5Test : public testing::Test {
 protected:
  test::TempFolder folder_;
  std::string path_ = folder_ / "a.h5";
};

struct Shape {
  std::vector<std::int64_t> extent;
  h5::Layout layout;
};

TEST_F(H5Test, EveryTypeAndLayoutComesBackBitForBit) {
  const std::vector<DType> dtypes = {DType::F64, DType::F32, DType::BF16, DType::F16, DType::I64,
                                     DType::I32, DType::U32, DType::U16,  DType::U8};
  const std::vector<Shape> shapes = {{{1}, {}},
                                     {{0}, {}},
                                     {{7, 13}, {}},
                                     {{1000}, {64, true}},
                                     {{33, 5}, {7, false}},
                                     {{33, 5}, {7, true}},
                                     {{0, 5}, {7, false}},
                                     {{40'000, 3}, {}}};
  {
    h5::File file = h5::File::create(path_);
    for (DType dtype : dtypes)
      for (std::size_t s = 0; s < shapes.size(); ++s) {
        const std::string name = "group/" + std::string(name_of(dtype)) + "/" + std::to_string(s);
        h5::Dataset set = file.create_dataset(name, dtype, shapes[s].extent, shapes[s].layout);
        set.write(noise(static_cast<std::size_t>(set.info().bytes()), s + 100).data());
      }
    file.close();
  }
  const h5::File file = h5::File::open(path_);
  EXPECT_EQ(file.datasets().size(), dtypes.size() * shapes.size());
  for (DType dtype : dtypes)
    for (std::size_t s = 0; s < shapes.size(); ++s) {
      const h5::Dataset set =
          file.open_dataset("group/" + std::string(name_of(dtype)) + "/" + std::to_string(s));
      EXPECT_EQ(set.info().dtype, dtype);
      EXPECT_EQ(set.info().shape, shapes[s].extent);
      EXPECT_EQ(set.info().chunk_rows, shapes[s].layout.chunk_rows);
      EXPECT_EQ(set.info().compressed, shapes[s].layout.compress);
      std::vector<std::byte> got(static_cast<std::size_t>(set.info().bytes()));
      set.read(got.data());
      EXPECT_EQ(got, noise(got.size(), s + 100));
    }
}

TEST_F(H5Test, RectanglesAreWrittenAndReadAtTheirPlace) {
  std::vector<std::int32_t> whole(11 * 17, -1), want(11 * 17, -1);
  {
    h5::File file = h5::File::create(path_);
    h5::Dataset set = file.create_dataset("m", DType::I32, {11, 17});
    set.write(whole.data());
    std::vector<std::int32_t> part(3 * 5);
    std::iota(part.begin(), part.end(), 1000);
    set.write({4, 9}, {3, 5}, part.data());
    for (int r = 0; r < 3; ++r)
      for (int c = 0; c < 5; ++c) want[(4 + r) * 17 + 9 + c] = part[r * 5 + c];
    EXPECT_NE(error_of(ErrorKind::Storage,
                       [&] {
                         set.write({9, 9}, {3, 5}, part.data());
                       })
                  .find("dataset 'm': dimension 0: elements 9 to 12 of 11"),
              std::string::npos);
  }
  const h5::File file = h5::File::open(path_);
  const h5::Dataset set = file.open_dataset("m");
  set.read(whole.data());
  EXPECT_EQ(whole, want);
  std::vector<std::int32_t> column(11, 0);
  set.read({0, 10}, {11, 1}, column.data());
  for (int r = 0; r < 11; ++r) EXPECT_EQ(column[r], want[r * 17 + 10]);
  set.read({11, 17}, {0, 0}, nullptr);  // nothing, at the very end
}

TEST_F(H5Test, ChunkedDatasetsGrow) {
  std::vector<std::uint16_t> tokens(1000);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<std::uint16_t>(i * 7);
  {
    h5::File file = h5::File::create(path_);
    h5::Dataset set = file.create_dataset("tokens", DType::U16, {0}, {128, true});
    for (std::int64_t at = 0; at < 1000; at += 300) {
      const std::int64_t n = std::min<std::int64_t>(300, 1000 - at);
      set.resize(at + n);
      set.write({at}, {n}, tokens.data() + at);
    }
    EXPECT_EQ(set.info().shape[0], 1000);
  }
  std::vector<std::uint16_t> got(1000);
  h5::File::open(path_).open_dataset("tokens").read(got.data());
  EXPECT_EQ(got, tokens);
}

TEST_F(H5Test, AttributesOfFilesAndDatasets) {
  {
    h5::File file = h5::File::create(path_);
    file.set_attribute("format", "lacuna é");
    file.set_attribute("format", "lacuna ü");  // replaces
    file.set_attribute("empty", "");
    file.set_attribute("version", std::int64_t{-5});
    h5::Dataset set = file.create_dataset("x", DType::F32, {2});
    set.write(std::vector<float>{1, 2}.data());
    set.set_attribute("shape", "2");
    set.set_attribute("rows", std::int64_t{1} << 60);
    error_of(ErrorKind::Storage, [&] { file.set_attribute("long", std::string(70'000, 'x')); });
    error_of(ErrorKind::Storage, [&] { file.set_attribute("nul", std::string("a\0b", 3)); });
  }
  const h5::File file = h5::File::open(path_);
  EXPECT_EQ(file.text_attribute("format"), "lacuna ü");
  EXPECT_EQ(file.text_attribute("empty"), "");
  EXPECT_EQ(file.int_attribute("version"), -5);
  EXPECT_EQ(file.open_dataset("x").text_attribute("shape"), "2");
  EXPECT_EQ(file.open_dataset("x").int_attribute("rows"), std::int64_t{1} << 60);
  EXPECT_FALSE(file.has_attribute("nothing"));
  EXPECT_EQ(error_of(ErrorKind::BadInput, [&] { file.int_attribute("nothing"); }),
            path_ + ": no attribute 'nothing'");
  EXPECT_EQ(error_of(ErrorKind::BadInput, [&] { file.int_attribute("format"); }),
            path_ + ": attribute 'format' is not an int64");
  EXPECT_EQ(error_of(ErrorKind::BadInput, [&] { file.text_attribute("version"); }),
            path_ + ": attribute 'version' is not a fixed-length text");
}

TEST_F(H5Test, EqualContentGivesEqualFiles) {
  const auto write = [](const std::string& path) {
    h5::File file = h5::File::create(path);
    file.write_bytes("a/b", "some bytes");
    file.set_attribute("step", std::int64_t{3});
    file.close();
    std::ifstream in(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  EXPECT_EQ(write(path_), write(folder_ / "b.h5"));
  EXPECT_EQ(h5::File::open(path_).read_bytes("a/b", 10), "some bytes");
  EXPECT_NE(
      error_of(ErrorKind::BadInput, [&] { h5::File::open(path_).read_bytes("a/b", 9); }).find("at most 9"),
      std::string::npos);
}

TEST_F(H5Test, ErrorsNameTheFileAndTheReason) {
  EXPECT_NE(error_of(ErrorKind::BadInput, [&] { h5::File::open(path_); }).find("No such file"),
            std::string::npos);
  std::ofstream(path_) << "not an HDF5 file, but long enough to have a place for a superblock .............";
  EXPECT_NE(error_of(ErrorKind::BadInput, [&] { h5::File::open(path_); }).find(path_ + ": H5Fopen failed"),
            std::string::npos);
  EXPECT_NE(error_of(ErrorKind::Storage, [&] { h5::File::create(path_); }).find("cannot write: File exists"),
            std::string::npos);
  EXPECT_NE(
      error_of(ErrorKind::Storage, [&] { h5::File::create("/proc/nothing/x.h5"); }).find("No such file"),
      std::string::npos);
  h5::File file = h5::File::create(folder_ / "b.h5");
  error_of(ErrorKind::Internal, [&] { file.create_dataset("x", DType::F32, {1, 2, 3}); });
  error_of(ErrorKind::Storage, [&] { file.create_dataset("/x", DType::F32, {1}); });
  file.create_dataset("x", DType::F32, {1});
  error_of(ErrorKind::Storage, [&] { file.create_dataset("x", DType::F32, {1}); });
}

TEST_F(H5Test, AnOpenDatasetFailsTheClose) {
  h5::File file = h5::File::create(path_);
  const h5::Dataset set = file.create_dataset("x", DType::F32, {1});
  EXPECT_NE(error_of(ErrorKind::Storage, [&] { file.close(); }).find("H5Fclose failed"), std::string::npos);
}

TEST_F(H5Test, EveryTruncationIsRefused) {
  {
    h5::File file = h5::File::create(path_);
    h5::Dataset set = file.create_dataset("x", DType::F64, {300, 7});
    set.write(noise(300 * 7 * 8, 1).data());
  }
  const auto size = std::filesystem::file_size(path_);
  int refused = 0, tried = 0;
  for (std::uintmax_t keep = 0; keep < size; keep += 97) {
    const std::string cut = folder_ / "cut.h5";
    std::filesystem::copy_file(path_, cut, std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(cut, keep);
    ++tried;
    try {
      h5::File::open(cut);
    } catch (const Error& error) {
      refused += error.kind() == ErrorKind::BadInput;
    }
  }
  EXPECT_EQ(refused, tried);
}

}  // namespace
}  // namespace lacuna
