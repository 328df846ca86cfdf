// From tokens back to text: what a tokenizer's decoder does to each token, and a stream that emits text as
// soon as it is certain. The concatenation of a stream's output equals decoding all ids at once.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lacuna {

struct DecoderSpec {
  bool byte_level = false;     // tokens are written in the byte alphabet
  bool byte_fallback = false;  // <0xHH> tokens are bytes; a run of them that is not UTF-8 gives U+FFFD a byte
  bool join_with_space = false;                              // no decoder at all: tokens are joined by spaces
  std::vector<std::pair<std::string, std::string>> replace;  // in every token, in order
  std::string
      drop_in_first;  // Metaspace: this text vanishes from the first token instead of becoming a space
  std::string strip;  // removed from the start of the whole text, up to strip_count times
  int strip_count = 0;
};

// One token, ready to be put out.
struct TokenText {
  std::string bytes;       // after `replace`, or the raw bytes; not always UTF-8 by itself
  std::string first;       // what it becomes as the first token of a text
  int fallback_byte = -1;  // >= 0: it stands for this byte
};

TokenText make_token_text(const DecoderSpec& spec, const std::string& token);

class TextStream {
 public:
  TextStream(const DecoderSpec& spec, const std::vector<TokenText>& tokens) : spec_(spec), tokens_(tokens) {}
  // The text that became certain with this token; valid UTF-8, may be empty.
  std::string push(std::int32_t id);
  // What was still held back.
  std::string finish();

 private:
  std::string release(std::string_view bytes, bool at_end);
  std::string release_fallback();
  std::string stripped(std::string text);
  const DecoderSpec& spec_;
  const std::vector<TokenText>& tokens_;
  std::string held_;      // the beginning of a UTF-8 sequence
  std::string fallback_;  // the current run of fallback bytes
  int stripped_ = 0;
  bool first_ = true, stripping_ = true;
};

}  // namespace lacuna
