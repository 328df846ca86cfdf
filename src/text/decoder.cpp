#include "src/text/decoder.h"

#include "src/text/byte_level.h"
#include "src/text/utf8.h"

namespace lacuna {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

}  // namespace

TokenText make_token_text(const DecoderSpec& spec, const std::string& token) {
  TokenText out;
  if (spec.byte_level) {
    const auto raw = bytes_of_characters(token);
    out.bytes = out.first = raw ? *raw : token;
    return out;
  }
  const bool names_byte = token.size() == 6 && token.compare(0, 3, "<0x") == 0 && token[5] == '>';
  if (spec.byte_fallback && names_byte) {
    const std::size_t high = std::string_view("0123456789ABCDEF").find(token[3]);
    const std::size_t low = std::string_view("0123456789ABCDEF").find(token[4]);
    if (high < 16 && low < 16) out.fallback_byte = static_cast<int>(high * 16 + low);
  }
  out.bytes = out.first = token;
  if (!spec.drop_in_first.empty()) replace_all(out.first, spec.drop_in_first, "");
  for (const auto& [from, to] : spec.replace) {
    replace_all(out.bytes, from, to);
    replace_all(out.first, from, to);
  }
  return out;
}

std::string TextStream::push(std::int32_t id) {
  if (id < 0 || static_cast<std::size_t>(id) >= tokens_.size()) return {};
  const TokenText& token = tokens_[static_cast<std::size_t>(id)];
  const bool first = first_;
  first_ = false;
  if (token.fallback_byte >= 0) {
    fallback_ += static_cast<char>(token.fallback_byte);
    return {};
  }
  std::string out = release_fallback();
  if (spec_.join_with_space && !first) out += ' ';
  out += first ? token.first : token.bytes;
  return stripped(spec_.byte_level ? release(out, false) : std::move(out));
}

std::string TextStream::finish() {
  std::string out = release_fallback();
  return stripped(spec_.byte_level ? release(out, true) : std::move(out));
}

std::string TextStream::release_fallback() {
  std::string out;
  if (is_utf8(fallback_)) {
    out = fallback_;
  } else {
    for (std::size_t i = 0; i < fallback_.size(); ++i) out += replacement_character;
  }
  fallback_.clear();
  return out;
}

// Passes on complete sequences; an unfinished one at the end waits for the next token.
std::string TextStream::release(std::string_view bytes, bool at_end) {
  held_ += bytes;
  std::string out;
  std::size_t at = 0;
  while (at < held_.size()) {
    const Utf8Step step = utf8_step(held_, at);
    if (step.state == Utf8State::Truncated && !at_end) break;
    out += step.state == Utf8State::Valid ? std::string_view(held_).substr(at, step.length)
                                          : replacement_character;
    at += step.length;
  }
  held_.erase(0, at);
  return out;
}

std::string TextStream::stripped(std::string text) {
  if (!stripping_ || spec_.strip.empty()) return text;
  while (stripped_ < spec_.strip_count && text.compare(0, spec_.strip.size(), spec_.strip) == 0) {
    text.erase(0, spec_.strip.size());
    ++stripped_;
  }
  if (!text.empty() || stripped_ == spec_.strip_count) stripping_ = false;
  return text;
}

}  // namespace lacuna
