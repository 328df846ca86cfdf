#include "src/text/added_tokens.h"

#include <algorithm>

#include "src/base/error.h"
#include "src/text/unicode.h"
#include "src/text/utf8.h"

namespace lacuna {
namespace {

bool word_before(std::string_view text, std::size_t at) {
  if (at == 0) return false;
  std::size_t begin = previous_code_point(text, at);
  return is_word(next_code_point(text, begin));
}

bool word_after(std::string_view text, std::size_t at) {
  return at < text.size() && is_word(next_code_point(text, at));
}

std::size_t space_begin(std::string_view text, std::size_t at) {
  while (at > 0) {
    const std::size_t before = previous_code_point(text, at);
    std::size_t probe = before;
    if (!is_white_space(next_code_point(text, probe))) break;
    at = before;
  }
  return at;
}

std::size_t space_end(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    std::size_t next = at;
    if (!is_white_space(next_code_point(text, next))) break;
    at = next;
  }
  return at;
}

}  // namespace

void TokenFinder::add(const std::string& content, const AddedToken& token) {
  LACUNA_ASSERT(!content.empty());
  if (at_node_.empty()) at_node_.push_back(-1);
  std::uint32_t node = 0;
  for (const char c : content) {
    std::uint32_t& child = children_[static_cast<std::uint64_t>(node) << 8 | static_cast<std::uint8_t>(c)];
    if (child == 0) {
      child = static_cast<std::uint32_t>(at_node_.size());
      at_node_.push_back(-1);
    }
    node = child;
  }
  if (at_node_[node] >= 0) return;  // the first of two equal ones counts
  at_node_[node] = static_cast<std::int64_t>(tokens_.size());
  tokens_.push_back(token);
  starts_[static_cast<std::uint8_t>(content[0])] = true;
}

bool TokenFinder::next_match(std::string_view text, std::size_t from, Match& match) const {
  for (std::size_t begin = from; begin < text.size(); ++begin) {
    if (!starts_[static_cast<std::uint8_t>(text[begin])]) continue;
    std::uint32_t node = 0;
    bool found = false;
    for (std::size_t at = begin; at < text.size(); ++at) {
      const auto* child =
          children_.find(static_cast<std::uint64_t>(node) << 8 | static_cast<std::uint8_t>(text[at]));
      if (!child) break;
      node = *child;
      if (at_node_[node] < 0) continue;
      match = {begin, at + 1, static_cast<std::size_t>(at_node_[node])};
      found = true;
    }
    if (found) return true;
  }
  return false;
}

void TokenFinder::split(std::string_view text, const std::function<void(std::string_view)>& part,
                        const std::function<void(std::int32_t)>& found) const {
  std::size_t done = 0;
  Match match;
  for (std::size_t from = 0; next_match(text, from, match); from = match.end) {
    const AddedToken& token = tokens_[match.token];
    if (token.single_word && (word_before(text, match.begin) || word_after(text, match.end))) continue;
    std::size_t begin = match.begin, end = match.end;
    if (token.lstrip) begin = std::max(space_begin(text, begin), done);
    if (token.rstrip) end = space_end(text, end);
    if (done < begin) part(text.substr(done, begin - done));
    found(token.id);
    done = end;
  }
  if (done < text.size()) part(text.substr(done));
}

}  // namespace lacuna
