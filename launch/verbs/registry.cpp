#include "launch/verb.h"

namespace lacuna {

extern const Verb encode_verb, stories_verb, tokenize_verb;
extern const Verb bench_verb, eval_verb, export_verb, generate_verb, import_verb, inspect_verb, plan_verb,
    verify_verb;

// One line a verb: extern declaration in its own file, entry here.
const std::vector<Verb>& verbs() {
  static const std::vector<Verb> all = {stories_verb, tokenize_verb, encode_verb, plan_verb,
                                        import_verb,  export_verb,   eval_verb,   generate_verb,
                                        bench_verb,   inspect_verb,  verify_verb};
  return all;
}

}  // namespace lacuna
