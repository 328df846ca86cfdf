// Splits argv into flags with their values and positionals. Which tokens belong to a flag depends only on its
// arity; whether the values make sense is somebody else's question.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace lacuna {

// How many values a flag takes: a switch takes none (or yes/no/true/false/on/off), a list takes every token
// up to the next flag.
enum class Arity { Switch, One, Many };

struct FlagUse {
  std::string name;                 // canonical
  std::string spelled;              // as typed, for messages
  std::vector<std::string> values;  // a switch without a value has "yes"
};

struct CommandLine {
  std::vector<FlagUse> flags;  // in order
  std::vector<std::string> positionals;
  std::vector<std::string> problems;
};

// The flags of one verb: every spelling ("--model", "-m", "--optim.lr") with its canonical name and arity.
class FlagTable {
 public:
  // Two flags that share a spelling are a mistake of ours: Error(Internal).
  void add(const std::string& spelling, const std::string& name, Arity arity);
  // "--name value", "--name=value", "-m value", "-mvalue", and "--" before what is positional although it
  // starts with a dash. A token is a flag if it starts with "--" and a letter, or with a dash and a known
  // short flag; so -1 is a value. Values that look like flags go behind "=".
  CommandLine split(const std::vector<std::string>& arguments) const;
  // The spelling closest to `typed`, or "".
  std::string suggestion(const std::string& typed) const;

 private:
  struct Flag {
    std::string name;
    Arity arity;
  };
  bool looks_like_flag(const std::string& token) const;
  std::map<std::string, Flag> flags_;
};

// Number of insertions, deletions, replacements and swaps of neighbours between two words.
int edit_distance(const std::string& a, const std::string& b);

// The candidates closest to `typed`, nearest first; only those within a third of its length.
std::vector<std::string> closest(const std::string& typed, const std::vector<std::string>& candidates);

}  // namespace lacuna
