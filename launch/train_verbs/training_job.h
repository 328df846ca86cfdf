// A training run as a job of ranks: MPI from start to end, set-up that fails on all ranks together, the run
// folder with its lock, configuration and status, the result.
#pragma once

#include <memory>
#include <string>

#include "recipes/recipe.h"
#include "src/train/options.h"

namespace lacuna {

struct TrainingJob {
  std::string verb;  // "train", "recipe drelu"
  TrainOptions options;
  std::string model, parent, arch, out;
  bool force = false, json = false, quiet = false;
  bool holds_folder = false;                           // on every rank, from when rank 0 has taken `out`
  std::string config_ini;                              // what config.resolved.ini will hold
  Recipe* recipe = nullptr;                            // null: plain training
  std::unique_ptr<Recipe> (*make_recipe)() = nullptr;  // another of its kind: virtual ranks have one each
};

// Runs on every rank; exit code of the program. Rank 0 prints the result.
int run_training_job(TrainingJob& job);

}  // namespace lacuna
