// Every malformed safetensors file ends in one line, quickly, and without memory in proportion to its claims.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>

#include "src/format/safetensors.h"
#include "tests/format/fixtures.h"

namespace lacuna {
namespace {

using test::u64_bytes;
using test::with_header;

// One F32 tensor "a" of shape [2] with the given pieces replaced.
std::string one(const std::string& shape, const std::string& offsets, const std::string& dtype = "\"F32\"") {
  return R"({"a":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
}

struct Fixture {
  const char* id;
  std::string bytes;
  std::string part;  // of the message
};

std::string many_names(std::size_t count, const std::string& rest) {
  std::string header = "{";
  header.reserve(count * 70);
  for (std::size_t i = 0; i < count; ++i) header += (i ? ",\"" : "\"") + std::to_string(i) + "\":" + rest;
  return header + "}";
}

std::string nested(std::size_t depth) {
  return R"({"a":{"dtype":"F32","shape":)" + std::string(depth, '[') + std::string(depth, ']') + "}}";
}

std::vector<Fixture> fixtures() {
  const std::string good = one("[2]", "[0,8]"),
                    empty_u8 = R"({"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  const std::string four = R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  const std::string up_to_2_48 = "281474976710656";
  return {
      {"S01_empty_file", "", "0 bytes, too short"},
      {"S02_seven_bytes", "1234567", "7 bytes, too short"},
      {"S03_header_length_0", u64_bytes(0) + "{}", "header length is 0"},
      {"S04_length_beyond_file", u64_bytes(100) + good, "is more than the"},
      {"S05_length_all_ones", u64_bytes(~0ull) + good,
       "header length 18446744073709551615 is above 100000000"},
      {"S06_length_2_63", u64_bytes(1ull << 63) + good, "header length 9223372036854775808 is above"},
      {"S08_first_byte", with_header("x" + good, 8), "does not start with '{' but with 'x'"},
      {"S09_bom", with_header("\xef\xbb\xbf" + good, 8), "does not start with '{'"},
      {"S09_space", with_header(" " + good, 8), "does not start with '{'"},
      {"S10_utf8", with_header("{\"a\xff\":" + four + "}", 4), "invalid UTF-8 in a tensor name"},
      {"S10_overlong", with_header("{\"a\xc0\xaf\":" + four + "}", 4), "invalid UTF-8 in a tensor name"},
      {"S10_surrogate", with_header("{\"a\xed\xa0\x80\":" + four + "}", 4), "invalid UTF-8 in a tensor name"},
      {"S10_half_pair", with_header("{\"a\\ud800\":" + four + "}", 4), "half of a surrogate pair"},
      {"S11_nul", with_header(std::string("{\"a\0b\":", 7) + four + "}", 4), "control character in a string"},
      {"S11_nul_padding", with_header(good + std::string(3, '\0'), 8), "follows the header's closing brace"},
      {"S12_truncated", with_header(good.substr(0, good.size() - 5), 8), "the JSON ends"},
      {"S12_truncated_string", with_header("{\"abc", 8), "the JSON ends inside a string"},
      {"S13_garbage", with_header(good + " {}", 8), "follows the header's closing brace"},
      {"S14_array", with_header("[" + good + "]", 8), "does not start with '{'"},
      {"S14_string", with_header("\"a\"", 8), "does not start with '{'"},
      {"S15_nesting", with_header(nested(100'000), 8), "a dimension must be a whole number, found '['"},
      {"S15_nested_objects",
       with_header(
           [] {
             std::string text;
             for (int i = 0; i < 100'000; ++i) text += "{\"a\":";
             return text;
           }(),
           0),
       "has the unknown field 'a'"},
      {"S16_name_twice",
       with_header("{\"a\":" + four + R"(,"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8),
       "tensor 'a' is named twice"},
      {"S17_name_twice_by_escape",
       with_header("{\"a\":" + four + R"(,"\u0061":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8),
       "tensor 'a' is named twice"},
      {"S18_key_twice",
       with_header(R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8),
       "tensor 'a' has 'dtype' twice"},
      {"S18_key_twice_by_escape",
       with_header(R"({"a":{"dtype":"F32","shape":[2],"shap\u0065":[2],"data_offsets":[0,8]}})", 8),
       "tensor 'a' has 'shape' twice"},
      {"S19_dtype", with_header(one("[2]", "[0,8]", "\"F33\""), 8), "tensor 'a': unknown dtype 'F33'"},
      {"S20_dtype_number", with_header(one("[2]", "[0,8]", "32"), 8), "wanted a string (dtype), found '3'"},
      {"S21_extra_field", with_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"z":1}})", 8),
       "tensor 'a' has the unknown field 'z'"},
      {"S22_no_shape", with_header(R"({"a":{"dtype":"F32","data_offsets":[0,8]}})", 8),
       "tensor 'a' has no 'shape'"},
      {"S22_no_dtype", with_header(R"({"a":{"shape":[2],"data_offsets":[0,8]}})", 8),
       "tensor 'a' has no 'dtype'"},
      {"S22_no_offsets", with_header(R"({"a":{"dtype":"F32","shape":[2]}})", 8),
       "tensor 'a' has no 'data_offsets'"},
      {"S23_negative", with_header(one("[-2]", "[0,8]"), 8), "a dimension must be a whole number, found '-'"},
      {"S24_fraction", with_header(one("[2.0]", "[0,8]"), 8), "a dimension has a fraction or exponent"},
      {"S24_exponent", with_header(one("[1e3]", "[0,8]"), 8), "a dimension has a fraction or exponent"},
      {"S24_offset_exponent", with_header(one("[2]", "[0,8e0]"), 8),
       "a data offset has a fraction or exponent"},
      {"S25_dim_2_48", with_header(one("[" + up_to_2_48 + "]", "[0,8]"), 8),
       "a dimension is 281474976710656, above"},
      {"S25_dim_40_digits", with_header(one("[" + std::string(40, '9') + "]", "[0,8]"), 8),
       "a dimension is 999"},
      {"S26_product_wraps", with_header(one("[4294967296,4294967296,4]", "[0,8]"), 8), "overflows"},
      {"S27_bits_wrap", with_header(one("[268435456,4294967296,2]", "[0,8]"), 8), "overflows"},
      {"S28_zero_dim", with_header(one("[0]", "[0,8]"), 8), "shape and dtype want 0 bytes, its span has 8"},
      {"S28_zero_hides_wrap", with_header(one("[4294967296,4294967296,4,0]", "[0,8]"), 8), "overflows"},
      {"S29_rank_9", with_header(one("[1,1,1,1,1,1,1,1,2]", "[0,8]"), 8), "more than 8 dimensions"},
      {"S30_reversed", with_header(one("[2]", "[8,0]"), 8), "data offsets 8 and 0 are reversed"},
      {"S31_one_offset", with_header(one("[2]", "[0]"), 8), "wanted two data offsets, found ']'"},
      {"S31_three_offsets", with_header(one("[2]", "[0,8,8]"), 8),
       "wanted the end of two data offsets, found ','"},
      {"S32_past_data", with_header(one("[3]", "[0,12]"), 8), "ends at byte 12, past the 8 bytes"},
      {"S33_overlap",
       with_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                   R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
                   12),
       "tensors 'a' and 'b' overlap at byte 4"},
      {"S34_same_span_10000", with_header(many_names(10'000, four), 4), "overlap at byte 0"},
      {"S35_hole",
       with_header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                   R"("b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})",
                   12),
       "a hole of 4 bytes before tensor 'b'"},
      {"S35_hole_at_start", with_header(one("[1]", "[4,8]"), 8), "a hole of 4 bytes before tensor 'a'"},
      {"S36_trailing", with_header(good, 8) + "PK\x03\x04zip", "7 bytes follow the last tensor"},
      {"S36_trailing_without_tensors", with_header("{}", 3), "3 bytes follow the last tensor"},
      {"S37_span", with_header(one("[3]", "[0,8]"), 8), "shape and dtype want 12 bytes, its span has 8"},
      {"S38_half_byte", with_header(one("[3]", "[0,1]", "\"F4\""), 1), "3 elements of F4 are no whole bytes"},
      {"S39_metadata_number", with_header(R"({"__metadata__":{"k":1}})", 0),
       "wanted a string (a value of __metadata__)"},
      {"S39_metadata_twice", with_header(R"({"__metadata__":{"k":"1","k":"2"}})", 0),
       "__metadata__ has 'k' twice"},
      {"S39_metadata_list", with_header(R"({"__metadata__":[]})", 0), "wanted an object (__metadata__)"},
      {"S40_metadata_50MB",
       with_header(R"({"__metadata__":{"k":")" + std::string(50'000'000, 'x') + "\"}}", 0),
       "a value of __metadata__ is longer than 1048576 bytes"},
      {"S40_metadata_in_pieces",
       with_header(
           [] {
             std::string text = "{\"__metadata__\":{\"0\":\"\"";
             for (int i = 1; i < 3000; ++i)
               text += ",\"" + std::to_string(i) + "\":\"" + std::string(1000, 'x') + "\"";
             return text + "}}";
           }(),
           0),
       "__metadata__ is larger than 1048576 bytes"},
      {"S41_a_million_and_one", with_header(many_names(1'000'001, empty_u8), 0), "more than 1000000 tensors"},
      {"S42_no_name", with_header("{\"\":" + four + "}", 4), "an empty name"},
      {"S42_long_name", with_header("{\"" + std::string(1025, 'n') + "\":" + four + "}", 4),
       "a tensor name is longer than 1024 bytes"},
      {"S42_path", with_header("{\"a/../b\":" + four + "}", 4), "looks like a path"},
      {"S42_control", with_header("{\"a\\u0007b\":" + four + "}", 4),
       "control character in tensor name 'a\\x07b'"},
      {"S45_lfs", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
       "a git-lfs pointer"},
      {"I58_zip_pickle", std::string("PK\x03\x04\x00\x00\x08\x08", 8) + std::string(300, 'x'),
       "a PyTorch pickle"},
      {"I58_old_pickle", "\x80\x02\x8a\x0al\xfc\x9c" + std::string(300, 'x'), "a PyTorch pickle"},
  };
}

long peak_kib() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

#ifdef __SANITIZE_ADDRESS__
constexpr int kSlack = 4;  // red zones and checks cost time and memory of their own
#else
constexpr int kSlack = 1;
#endif

TEST(SafetensorsMalformed, EveryFixtureIsRefusedWithItsReason) {
  const test::TempFolder folder;
  for (const Fixture& fixture : fixtures()) {
    SCOPED_TRACE(fixture.id);
    const std::string path = folder / (std::string(fixture.id) + ".safetensors");
    test::put_file(path, fixture.bytes);
    const std::clock_t begin = std::clock();  // processor time: the machine may be busy
    const long before = peak_kib();
    test::expect_refused([&] { SafetensorsFile file(path); }, fixture.part);
    test::expect_refused([&] { SafetensorsFile file(path); }, path);
    EXPECT_LT(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC, 2.0 * kSlack) << "two readings";
    EXPECT_LT(peak_kib() - before, kSlack * (static_cast<long>(fixture.bytes.size() / 1024) + 64 * 1024));
  }
}

TEST(SafetensorsMalformed, S07_HeaderAboveTheCapInASparseFile) {
  const test::TempFolder folder;
  const std::string path = folder / "big.safetensors";
  test::put_file(path, u64_bytes(100'000'001) + "{");
  ASSERT_EQ(::truncate(path.c_str(), 200'000'000), 0);
  test::expect_refused([&] { SafetensorsFile file(path); }, "header length 100000001 is above 100000000");
}

TEST(SafetensorsMalformed, S43_S44_OnlyARegularFileOfTheRightLengthIsRead) {
  const test::TempFolder folder;
  const std::string good = folder / "good.safetensors", link = folder / "link.safetensors";
  const std::string whole = with_header(one("[2]", "[0,8]"), 8);
  test::put_file(good, whole.substr(0, whole.size() - 1));
  test::expect_refused([&] { SafetensorsFile file(good); }, "past the 7 bytes of data");
  test::put_file(good, whole);
  std::filesystem::create_symlink(good, link);
  EXPECT_NO_THROW(SafetensorsFile(link, true));
  test::expect_refused([&] { SafetensorsFile file(link, false); }, "symbolic link");
  test::expect_refused([&] { SafetensorsFile file(folder.path()); }, "folder");
  ASSERT_EQ(::mkfifo((folder / "fifo").c_str(), 0600), 0);
  test::expect_refused([&] { SafetensorsFile file(folder / "fifo"); }, "FIFO");
  test::expect_refused([&] { SafetensorsFile file("/dev/zero"); }, "device");
  test::expect_refused([&] { SafetensorsFile file(folder / "absent"); }, "absent");
}

TEST(Safetensors, HeaderLimitsAreInclusive) {
  const auto parse = [](const std::string& header, std::uint64_t data) {
    return parse_safetensors_header(header, data, "here");
  };
  EXPECT_EQ(parse(one("[1,1,1,1,1,1,1,2]", "[0,8]"), 8).entries.at(0).shape.size(), 8u);
  EXPECT_EQ(parse(one("[]", "[0,4]") + "   ", 4).entries.at(0).shape.size(), 0u);
  EXPECT_EQ(parse(one("[4]", "[0,2]", "\"F4\""), 2).entries.at(0).dtype, std::nullopt);
  EXPECT_EQ(parse(one("[0,5]", "[0,0]"), 0).entries.size(), 1u);
  EXPECT_EQ(parse("{}", 0).entries.size(), 0u);
  EXPECT_EQ(parse("{\"\\u00e9\\ud83d\\ude00\":" + one("[1]", "[0,4]").substr(5), 4).entries.at(0).name, "é😀");
}

// A header that starts like a pickle by chance (0x0280 bytes of JSON) is a header.
TEST(Safetensors, LengthThatLooksLikeAPickleIsRead) {
  const test::TempFolder folder;
  std::string header = one("[2]", "[0,8]");
  header.resize(0x0280, ' ');
  test::put_file(folder / "a", with_header(header, 8));
  EXPECT_EQ(SafetensorsFile(folder / "a").entries().size(), 1u);
}

// Any flip of a byte of the header is either refused or still describes exactly the same bytes.
TEST(Safetensors, FlippedHeaderBytesNeverLeadOutOfTheData) {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],)"
      R"("data_offsets":[0,24]},"b":{"dtype":"BF16","shape":[5],"data_offsets":[24,34]}})";
  int refused = 0;
  for (std::size_t at = 0; at < header.size(); ++at)
    for (int bit = 0; bit < 8; ++bit) {
      std::string mutant = header;
      mutant[at] = static_cast<char>(mutant[at] ^ (1 << bit));
      try {
        const SafetensorsHeader parsed = parse_safetensors_header(mutant, 34, "mutant");
        std::uint64_t end = 0;
        for (const SafetensorsEntry& entry : parsed.entries) {
          ASSERT_EQ(entry.begin, end);
          end = entry.end;
        }
        ASSERT_EQ(end, 34u);
      } catch (const Error& error) {
        ASSERT_EQ(error.exit_code(), 65);
        ++refused;
      }
    }
  EXPECT_GT(refused, 800);
  EXPECT_LT(refused, static_cast<int>(header.size() * 8));
}

}  // namespace
}  // namespace lacuna
