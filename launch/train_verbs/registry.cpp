#include "launch/train_verbs/train_verb.h"

namespace lacuna {

const std::vector<Verb>& train_verbs() {
  static const std::vector<Verb> all = {train_verb, recipe_verb};
  return all;
}

}  // namespace lacuna
