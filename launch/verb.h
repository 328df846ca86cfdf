// A verb of the command line: one file in launch/verbs (or train_verbs), one line in the registry.
#pragma once

#include <string>
#include <vector>

namespace lacuna {

struct Verb {
  const char* name;                                       // "eval"
  const char* summary;                                    // one line of `lacuna --help`
  const char* example;                                    // a command that works
  int (*run)(const std::vector<std::string>& arguments);  // exit code; throws Error
};

// The verbs of `lacuna` and of `lacuna-train`, in the order of the help.
const std::vector<Verb>& verbs();        // launch/verbs/registry.cpp
const std::vector<Verb>& train_verbs();  // launch/train_verbs/registry.cpp

}  // namespace lacuna
