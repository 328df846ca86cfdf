// lacuna train: pretraining, or more training of an existing model.
#include "launch/train_verbs/train_verb.h"

namespace lacuna {

namespace {

int run_train(const std::vector<std::string>& arguments) {
  TrainingJob job;
  job.verb = "train";
  return parse_and_run(job, "pretrains or fine-tunes a model, pipeline x tensor x data parallel",
                       train_verb.example, arguments);
}

}  // namespace

const Verb train_verb = {"train", "pretrains or fine-tunes a model, pipeline x tensor x data parallel",
                         "mpirun -n 4 lacuna train --arch tiny --data tokens.h5 -o RUN --pp 2 --tp 2 "
                         "--global-batch 16 --steps 300",
                         run_train};

}  // namespace lacuna
