#include "src/text/vocab_trainer.h"

#include <algorithm>
#include <map>
#include <queue>

#include "src/base/error.h"
#include "src/base/json.h"
#include "src/text/byte_level.h"
#include "src/text/pipeline.h"
#include "src/text/utf8.h"

namespace lacuna {
namespace {

constexpr std::int64_t smallest = 258;

std::string_view pattern_of(const std::string& split) {
  LACUNA_CHECK(split == "llama3" || split == "gpt2", ErrorKind::Usage, "--split {}: wanted llama3 or gpt2",
               split);
  return split == "gpt2" ? gpt2_pattern : llama3_pattern;
}

// The growing vocabulary and the words as they look under it.
class Merger {
 public:
  explicit Merger(const std::unordered_map<std::string, std::int64_t>& words) {
    tokens_ = {std::string(begin_of_text), std::string(end_of_text)};
    // Bytes in the order of their characters.
    std::map<std::string, int> order;
    for (int byte = 0; byte < 256; ++byte) order[byte_character(static_cast<std::uint8_t>(byte))] = byte;
    std::vector<std::int32_t> byte_ids(256);
    for (const auto& [character, byte] : order) {
      byte_ids[static_cast<std::size_t>(byte)] = add_token(character);
    }
    // A fixed order of the words, though no result depends on it.
    std::vector<std::pair<std::string_view, std::int64_t>> sorted(words.begin(), words.end());
    std::sort(sorted.begin(), sorted.end());
    for (const auto& [text, count] : sorted) {
      Word& word = words_.emplace_back();
      word.count = count;
      for (const char c : text) word.symbols.push_back(byte_ids[static_cast<std::uint8_t>(c)]);
    }
    for (std::size_t i = 0; i < words_.size(); ++i) count_pairs(i);
    for (const auto& [key, slot] : slots_) enqueue(key, slot);
  }

  void run(std::int64_t size, std::int64_t min_count) {
    while (static_cast<std::int64_t>(tokens_.size()) < size && !queue_.empty()) {
      const Candidate top = queue_.top();
      queue_.pop();
      Pair& pair = pairs_[slots_.at(top.key)];
      if (top.count != pair.count) {  // it has changed since
        if (pair.count > 0) queue_.push({pair.count, top.key});
        continue;
      }
      if (top.count < std::max<std::int64_t>(min_count, 1)) break;
      merge(top.key, std::move(pair.words));
    }
  }

  const std::vector<std::string>& tokens() const { return tokens_; }
  const std::vector<std::pair<std::int32_t, std::int32_t>>& merges() const { return merges_; }

 private:
  struct Word {
    std::vector<std::int32_t> symbols;
    std::int64_t count = 0;
  };
  struct Pair {
    std::int64_t count = 0;
    std::vector<std::size_t> words;  // where it has occurred; may hold words twice or too many
  };
  struct Candidate {
    std::int64_t count;
    std::uint64_t key;
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : key > other.key;
    }
  };
  static std::uint64_t key_of(std::int32_t left, std::int32_t right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
           static_cast<std::uint32_t>(right);
  }

  std::int32_t add_token(const std::string& text) {
    const auto [at, fresh] = ids_.emplace(text, static_cast<std::int32_t>(tokens_.size()));
    if (fresh) tokens_.push_back(text);
    return at->second;
  }
  void enqueue(std::uint64_t key, std::size_t slot) {
    if (pairs_[slot].count > 0) queue_.push({pairs_[slot].count, key});
  }
  Pair& pair_at(std::uint64_t key) {
    const auto [at, fresh] = slots_.emplace(key, pairs_.size());
    if (fresh) pairs_.emplace_back();
    return pairs_[at->second];
  }
  void count_pairs(std::size_t index) {
    const Word& word = words_[index];
    for (std::size_t i = 0; i + 1 < word.symbols.size(); ++i) {
      Pair& pair = pair_at(key_of(word.symbols[i], word.symbols[i + 1]));
      pair.count += word.count;
      if (pair.words.empty() || pair.words.back() != index) pair.words.push_back(index);
    }
  }

  void merge(std::uint64_t key, std::vector<std::size_t> where) {
    const auto left = static_cast<std::int32_t>(key >> 32),
               right = static_cast<std::int32_t>(key & 0xffffffffu);
    const std::int32_t token =
        add_token(tokens_[static_cast<std::size_t>(left)] + tokens_[static_cast<std::size_t>(right)]);
    merges_.emplace_back(left, right);
    std::sort(where.begin(), where.end());
    where.erase(std::unique(where.begin(), where.end()), where.end());
    std::vector<std::uint64_t> touched;
    for (const std::size_t index : where) merge_in_word(index, left, right, token, touched);
    std::sort(touched.begin(), touched.end());
    touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
    for (const std::uint64_t fresh : touched) enqueue(fresh, slots_.at(fresh));
  }

  // Replaces the pair from left to right and moves the counts of its neighbours.
  void merge_in_word(std::size_t index, std::int32_t left, std::int32_t right, std::int32_t token,
                     std::vector<std::uint64_t>& touched) {
    Word& word = words_[index];
    std::vector<std::int32_t>& symbols = word.symbols;
    const auto change = [&](std::int32_t a, std::int32_t b, std::int64_t by) {
      const std::uint64_t key = key_of(a, b);
      Pair& pair = pair_at(key);
      pair.count += by * word.count;
      if (by < 0) return;
      pair.words.push_back(index);
      touched.push_back(key);
    };
    std::size_t kept = 0;
    for (std::size_t i = 0; i < symbols.size(); ++i, ++kept) {
      if (i + 1 == symbols.size() || symbols[i] != left || symbols[i + 1] != right) {
        symbols[kept] = symbols[i];
        continue;
      }
      change(left, right, -1);
      if (kept > 0) {
        change(symbols[kept - 1], left, -1);
        change(symbols[kept - 1], token, 1);
      }
      if (i + 2 < symbols.size()) {
        change(right, symbols[i + 2], -1);
        change(token, symbols[i + 2], 1);
      }
      symbols[kept] = token;
      ++i;
    }
    symbols.resize(kept);
  }

  std::vector<std::string> tokens_;
  std::unordered_map<std::string, std::int32_t> ids_;
  std::vector<std::pair<std::int32_t, std::int32_t>> merges_;
  std::vector<Word> words_;
  std::vector<Pair> pairs_;
  std::unordered_map<std::uint64_t, std::size_t> slots_;  // pair -> place in pairs_
  std::priority_queue<Candidate> queue_;
};

Json special_token(std::int32_t id, std::string_view content) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

std::string tokenizer_json(const Merger& merger, const std::string& split) {
  Json vocab = Json::object(), merges = Json::array();
  auto& members = vocab.get_ref<Json::object_t&>();  // operator[] would search the list each time
  const auto& tokens = merger.tokens();
  for (std::size_t id = 0; id < tokens.size(); ++id) members.emplace_back(tokens[id], id);
  for (const auto& [left, right] : merger.merges())
    merges.push_back(tokens[static_cast<std::size_t>(left)] + " " + tokens[static_cast<std::size_t>(right)]);
  Json cut = {{"type", "ByteLevel"},
              {"add_prefix_space", false},
              {"trim_offsets", true},
              {"use_regex", split == "gpt2"}};
  if (split == "llama3") {
    const Json pattern = {{"type", "Split"},
                          {"pattern", {{"Regex", llama3_pattern}}},
                          {"behavior", "Isolated"},
                          {"invert", false}};
    cut = {{"type", "Sequence"}, {"pretokenizers", Json::array({pattern, cut})}};
  }
  const std::string bos(begin_of_text);
  const Json sequence = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  Json second = sequence;
  second["Sequence"]["id"] = "B";
  const Json front = {{"SpecialToken", {{"id", bos}, {"type_id", 0}}}};
  Json root = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", Json::array({special_token(0, begin_of_text), special_token(1, end_of_text)})},
      {"normalizer", nullptr},
      {"pre_tokenizer", cut},
      {"post_processor",
       {{"type", "TemplateProcessing"},
        {"single", Json::array({front, sequence})},
        {"pair", Json::array({front, sequence, second})},
        {"special_tokens",
         {{bos, {{"id", bos}, {"ids", Json::array({0})}, {"tokens", Json::array({bos})}}}}}}},
      {"decoder",
       {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}}},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", nullptr},
        {"continuing_subword_prefix", nullptr},
        {"end_of_word_suffix", nullptr},
        {"fuse_unk", false},
        {"byte_fallback", false},
        {"ignore_merges", false}}}};
  root["model"].get_ref<Json::object_t&>().emplace_back("vocab", std::move(vocab));
  root["model"].get_ref<Json::object_t&>().emplace_back("merges", std::move(merges));
  return root.dump(1) + "\n";
}

}  // namespace

VocabTrainer::VocabTrainer(const VocabOptions& options)
    : options_(options), split_(pattern_of(options.split)) {
  LACUNA_CHECK(options.size >= smallest && options.size <= 2'000'000, ErrorKind::Usage,
               "--train-vocab {}: wanted {} (two special tokens and 256 bytes) to 2000000", options.size,
               smallest);
  for (const std::string_view content : {begin_of_text, end_of_text})
    separators_.add(std::string(content), {.content = std::string(content), .special = true});
}

void VocabTrainer::add(std::string_view text) {
  std::string repaired;
  if (!is_utf8(text)) text = repaired = to_valid_utf8(text);
  PreTokenizer cutter;
  cutter.add(SplitStep{split_, SplitBehavior::Isolated, false});
  std::string word;
  const auto count = [&](std::string_view piece) {
    word.assign(piece);
    ++words_[word];
  };
  separators_.split(
      text, [&](std::string_view part) { cutter.cut(part, false, count); }, [](std::int32_t) {});
}

TokenizerFiles VocabTrainer::train() const {
  LACUNA_CHECK(!words_.empty(), ErrorKind::BadInput, "no text to train a vocabulary on");
  Merger merger(words_);
  merger.run(options_.size, options_.min_count);
  const Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                       {"bos_token", begin_of_text},
                       {"eos_token", end_of_text},
                       {"clean_up_tokenization_spaces", false}};
  return {{"tokenizer.json", tokenizer_json(merger, options_.split)},
          {"tokenizer_config.json", config.dump(1) + "\n"}};
}

}  // namespace lacuna
