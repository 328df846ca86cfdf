#include <string_view>
#include <unordered_map>

#include "src/text/tokenizer_readers.h"

namespace lacuna {

std::vector<BpeMerge> merges_by_rank(const std::vector<std::string>& texts,
                                     const std::vector<std::uint32_t>& rank_of) {
  std::unordered_map<std::string_view, std::int32_t> ids;
  ids.reserve(texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i)
    if (rank_of[i] != no_merge_rank) ids.emplace(texts[i], static_cast<std::int32_t>(i));
  std::vector<BpeMerge> out;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (rank_of[i] == no_merge_rank) continue;
    const std::string_view text = texts[i];
    for (std::size_t cut = 1; cut < text.size(); ++cut) {
      const auto left = ids.find(text.substr(0, cut));
      if (left == ids.end()) continue;
      const auto right = ids.find(text.substr(cut));
      if (right != ids.end())
        out.push_back({left->second, right->second, static_cast<std::int32_t>(i), rank_of[i]});
    }
  }
  return out;
}

}  // namespace lacuna
