#include "launch/command_line.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "src/base/error.h"
#include "src/base/file.h"

namespace lacuna {
namespace {

bool is_switch_value(const std::string& token) {
  static const std::set<std::string> words = {"yes", "no", "true", "false", "on", "off"};
  return words.count(token) > 0;
}

bool letter(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) != 0;
}

}  // namespace

void FlagTable::add(const std::string& spelling, const std::string& name, Arity arity) {
  const bool fresh = flags_.emplace(spelling, Flag{name, arity}).second;
  LACUNA_CHECK(fresh, ErrorKind::Internal, "the flag {} is declared twice", spelling);
}

bool FlagTable::looks_like_flag(const std::string& token) const {
  if (token.size() >= 3 && token[0] == '-' && token[1] == '-') return letter(token[2]);
  return token.size() >= 2 && token[0] == '-' && flags_.count(token.substr(0, 2)) > 0;
}

CommandLine FlagTable::split(const std::vector<std::string>& arguments) const {
  CommandLine out;
  std::size_t i = 0;
  const auto next_is_value = [&] {
    return i < arguments.size() && !looks_like_flag(arguments[i]) && arguments[i] != "--";
  };
  while (i < arguments.size()) {
    const std::string& token = arguments[i++];
    if (token == "--") {
      out.positionals.insert(out.positionals.end(), arguments.begin() + static_cast<std::ptrdiff_t>(i),
                             arguments.end());
      break;
    }
    if (!looks_like_flag(token)) {
      const bool unknown_short = token.size() >= 2 && token[0] == '-' && letter(token[1]);
      if (unknown_short)
        out.problems.push_back(fmt::format("unknown flag {}", printable(token)));
      else
        out.positionals.push_back(token);
      continue;
    }
    const bool is_long = token[1] == '-';
    const std::size_t equals = is_long ? token.find('=') : std::string::npos;
    const std::string spelled = is_long ? token.substr(0, equals) : token.substr(0, 2);
    const auto found = flags_.find(spelled);
    if (found == flags_.end()) {
      const std::string near = suggestion(spelled);
      out.problems.push_back(fmt::format("unknown flag {}{}", printable(spelled),
                                         near.empty() ? "" : fmt::format(" (did you mean {}?)", near)));
      while (equals == std::string::npos && next_is_value()) ++i;  // its values are not positionals
      continue;
    }
    FlagUse use{found->second.name, spelled, {}};
    const Arity arity = found->second.arity;
    if (equals != std::string::npos) {
      use.values.push_back(token.substr(equals + 1));
    } else if (!is_long && token.size() > 2) {
      use.values.push_back(token.substr(token[2] == '=' ? 3 : 2));
    } else if (arity == Arity::Switch) {
      use.values.push_back(next_is_value() && is_switch_value(arguments[i]) ? arguments[i++] : "yes");
    } else if (next_is_value()) {
      do use.values.push_back(arguments[i++]);
      while (arity == Arity::Many && next_is_value());
    } else {
      out.problems.push_back(
          i < arguments.size()
              ? fmt::format("{0} needs a value, found {1} (if that is the value, write {0}={1})", spelled,
                            printable(arguments[i]))
              : fmt::format("{} needs a value", spelled));
      continue;
    }
    out.flags.push_back(std::move(use));
  }
  return out;
}

std::string FlagTable::suggestion(const std::string& typed) const {
  std::vector<std::string> all;
  for (const auto& [spelling, flag] : flags_)
    if (spelling.size() > 2) all.push_back(spelling.substr(2));
  const auto near = closest(typed.substr(std::min<std::size_t>(2, typed.size())), all);
  return near.empty() ? "" : "--" + near.front();
}

int edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::vector<int>> cost(a.size() + 1, std::vector<int>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = static_cast<int>(i + j);
        continue;
      }
      const bool same = a[i - 1] == b[j - 1];
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, cost[i - 1][j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
    }
  }
  return cost[a.size()][b.size()];
}

std::vector<std::string> closest(const std::string& typed, const std::vector<std::string>& candidates) {
  if (typed.size() > 64) return {};
  std::vector<std::pair<int, std::string>> ranked;
  const int limit = std::max(1, static_cast<int>(typed.size()) / 3);
  for (const std::string& candidate : candidates) {
    const int distance = edit_distance(typed, candidate);
    const bool prefix = typed.size() >= 2 && candidate.compare(0, typed.size(), typed) == 0;
    if (distance <= limit || prefix) ranked.emplace_back(prefix ? 0 : distance, candidate);
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> out;
  for (auto& [distance, candidate] : ranked) out.push_back(std::move(candidate));
  if (out.size() > 3) out.resize(3);
  return out;
}

}  // namespace lacuna
