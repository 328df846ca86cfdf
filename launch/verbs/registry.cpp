#include "launch/verb.h"

namespace lacuna {

// One line a verb: extern declaration in its own file, entry here.
const std::vector<Verb>& verbs() {
  static const std::vector<Verb> all = {};
  return all;
}

}  // namespace lacuna
