// The command line that `train` and `recipe NAME` share.
#pragma once

#include <string>
#include <vector>

#include "launch/train_verbs/training_job.h"
#include "launch/verb.h"

namespace lacuna {

extern const Verb train_verb, recipe_verb;

// Parses the flags into `job` (its verb and recipe are set) and runs it. Usage errors come before MPI starts;
// where several ranks were started, one of them prints.
int parse_and_run(TrainingJob& job, const std::string& summary, const std::string& example,
                  const std::vector<std::string>& arguments);

}  // namespace lacuna
