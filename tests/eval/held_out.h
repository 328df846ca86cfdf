// The held-out texts of books17m as its golden file scored them (SOURCES.md of the data folder).
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdio>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/eval/perplexity.h"
#include "tests/support/test_data.h"

namespace lacuna::test {

inline std::string unpacked(const std::string& path) {
  FILE* pipe = popen(("xz -dc '" + path + "'").c_str(), "r");
  if (pipe == nullptr) fail(ErrorKind::BadInput, "cannot run xz on {}", path);
  std::string out;
  std::array<char, 1 << 16> buffer;
  while (const std::size_t got = fread(buffer.data(), 1, buffer.size(), pipe)) out.append(buffer.data(), got);
  if (pclose(pipe) != 0) fail(ErrorKind::BadInput, "xz -dc {} failed", path);
  return out;
}

// The last `count` characters of a UTF-8 text.
inline std::string last_characters(const std::string& text, std::size_t count) {
  std::size_t at = text.size();
  while (at > 0 && count > 0)
    if ((static_cast<unsigned char>(text[--at]) & 0xc0) != 0x80) --count;
  return text.substr(at);
}

inline std::string book(const std::string& books, int index) {
  std::size_t at = 0;
  for (int i = 0; i < index; ++i) at = books.find('\f', at) + 1;
  return books.substr(at, books.find('\f', at) - at);
}

inline void expect_held_out(const std::string& name, const std::string& text) {
  const std::string folder = data_folder() + "/models/books17m";
  const Json golden = parse_json(read_file(folder + "/golden.json", 1 << 20), "golden");
  const Json& want = golden["held_out_ppl_window_512"][name];
  const std::unique_ptr<Engine> engine = Engine::load(folder, {});
  const std::vector<std::int32_t> ids = load_tokenizer(folder)->encode(text, false);
  const Perplexity got = perplexity(*engine, ids, {512, 64});
  EXPECT_EQ(got.windows, want["windows"].get<std::int64_t>());
  EXPECT_EQ(got.predicted, want["predicted"].get<std::int64_t>());
  EXPECT_NEAR(got.nll, want["nll"].get<double>(), 1e-4);
  EXPECT_NEAR(got.ppl, want["ppl"].get<double>(), 1e-4 * want["ppl"].get<double>());
}

}  // namespace lacuna::test
