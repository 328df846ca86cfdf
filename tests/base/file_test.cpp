// Files: only regular ones, bounded, replaced whole or not at all.
#include "src/base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "src/base/error.h"
#include "tests/support/test_data.h"

namespace lacuna {
namespace {

template <class Body>
std::string error_of(ErrorKind kind, Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  return "no error";
}

TEST(File, WritesAndReadsWhole) {
  const test::TempFolder folder;
  const std::string path = folder / "a";
  for (const std::string& bytes : {std::string(), std::string("x\0y\n", 4), std::string(300000, 'z')}) {
    write_file_atomic(path, bytes);
    EXPECT_EQ(read_file(path, 300000), bytes);
    const MappedFile mapped(path);
    ASSERT_EQ(mapped.bytes().size(), bytes.size());
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(mapped.bytes().data()), bytes.size()), bytes);
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}),
            1);  // no temporary is left
}

TEST(File, ReadingIsBounded) {
  const test::TempFolder folder;
  write_file_atomic(folder / "a", "12345");
  EXPECT_EQ(read_file(folder / "a", 5), "12345");
  EXPECT_EQ(error_of(ErrorKind::BadInput, [&] { read_file(folder / "a", 4); }),
            folder / "a" + ": 5 bytes, at most 4 are read");
  EXPECT_FALSE(read_file("/proc/self/status", 1 << 20).empty());  // says size 0
  EXPECT_NE(error_of(ErrorKind::BadInput, [&] { read_file("/proc/self/status", 10); }), "no error");
}

TEST(File, OnlyRegularFilesAreRead) {
  const test::TempFolder folder;
  write_file_atomic(folder / "a", "1");
  ASSERT_EQ(::symlink("a", (folder / "link").c_str()), 0);
  ASSERT_EQ(::mkfifo((folder / "fifo").c_str(), 0600), 0);
  EXPECT_EQ(read_file(folder / "link", 10), "1");
  const auto refused = [&](const std::string& path, const std::string& what, bool follow = true) {
    const std::string want = path + ": is " + what + ", wanted a regular file";
    EXPECT_EQ(error_of(ErrorKind::BadInput, [&] { read_file(path, 10, follow); }), want);
    EXPECT_EQ(error_of(ErrorKind::BadInput, [&] { MappedFile mapped(path, follow); }), want);
  };
  refused(folder / "link", "a symbolic link", false);
  refused(folder / "fifo", "a FIFO");  // and does not hang
  refused(folder.path(), "a folder");
  refused("/dev/zero", "a device");
  EXPECT_EQ(error_of(ErrorKind::BadInput, [&] { read_file(folder / "none", 10); }),
            "cannot read " + folder / "none" + ": No such file or directory");
}

TEST(File, AFailedWriteKeepsTheOldFile) {
  const test::TempFolder folder;
  const std::string path = folder / "full";
  ASSERT_EQ(::mkdir(path.c_str(), 0700), 0);  // a folder in the way: the rename must fail
  write_file_atomic(path + "/inside", "1");
  EXPECT_NE(error_of(ErrorKind::Storage, [&] { write_file_atomic(path, "2"); }).find("cannot replace"),
            std::string::npos);
  EXPECT_EQ(read_file(path + "/inside", 10), "1");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
  EXPECT_NE(
      error_of(ErrorKind::Storage, [&] { write_file_atomic(folder / "no/such", "2"); }).find("cannot write"),
      std::string::npos);
}

TEST(BoundedReader, ChecksEveryRead) {
  const unsigned char raw[] = {0x01, 0x78, 0x56, 0x34, 0x12, 0xff, 0xff, 0xff,
                               0xff, 0x00, 0x00, 0x80, 0x3f, 9,    9};
  BoundedReader reader({reinterpret_cast<const std::byte*>(raw), sizeof raw}, "f.bin");
  EXPECT_EQ(reader.u8(), 1u);
  EXPECT_EQ(reader.u32(), 0x12345678u);
  EXPECT_EQ(reader.i32(), -1);
  EXPECT_EQ(reader.f32(), 1.0f);
  EXPECT_EQ(reader.remaining(), 2u);
  EXPECT_EQ(error_of(ErrorKind::BadInput, [&] { reader.u32(); }),
            "f.bin: at byte 13: wanted 4 bytes, 2 remain");
  EXPECT_EQ(error_of(ErrorKind::BadInput, [&] { reader.take(~std::size_t{0}); }),
            "f.bin: at byte 13: wanted 18446744073709551615 bytes, 2 remain");
  EXPECT_EQ(reader.take(2).size(), 2u);
  EXPECT_EQ(reader.offset(), 15u);
}

TEST(Printable, NothingReachesTheTerminalRaw) {
  EXPECT_EQ(printable("a b/ü/日本"), "a b/ü/日本");
  EXPECT_EQ(printable("\x1b[31m\n\t\x7f"), "\\x1b[31m\\x0a\\x09\\x7f");
  EXPECT_EQ(printable("\xc2\x9b\xff\xc0\xaf"), "\\xc2\\x9b\\xff\\xc0\\xaf");
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");
}

}  // namespace
}  // namespace lacuna
