#include "launch/train_verbs/train_verb.h"

#include <unistd.h>

#include <cstdlib>

#include "launch/options.h"
#include "launch/output.h"
#include "src/base/error.h"

namespace lacuna {

namespace {

// The rank that the launcher gave this process; 0 when it was started alone.
int rank_before_mpi() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID"})
    if (const char* value = std::getenv(name)) return std::atoi(value);
  return 0;
}

bool parse(TrainingJob& job, Options& options, const std::vector<std::string>& arguments, bool& dry_run) {
  options
      .flag("model,m", job.model, "start from: HF folder, llama2.c file, exported folder, checkpoint or run")
      .flag("parent", job.parent, "model to distil from (with --distil); without it --model")
      .flag("arch", job.arch, "new weights: a preset (tiny, 124m, 1b, llama2-7b, mistral-7b) or an INI file")
      .flag("out,o", job.out, "the run's folder")
      .flag("force", job.force, "replace an existing run folder")
      .flag("json", job.json, "print the result as one JSON object")
      .flag("quiet", job.quiet, "no progress lines")
      .flag("dry-run", dry_run, "print the resolved configuration and stop")
      .fields(job.options);
  if (job.recipe) options.field_refs(job.recipe->fields());
  if (!options.parse(arguments)) return false;
  options.require("out");
  options.require("data");
  if (job.recipe) {
    options.require("model");
    for (const std::string& problem : job.recipe->problems()) options.problem(problem);
  } else if (job.model.empty() == job.arch.empty()) {
    options.problem("give either --model (more training) or --arch (new weights)");
  }
  if (job.options.distil > 0 && job.parent.empty() && job.model.empty())
    options.problem("--distil wants a model to learn from: give --parent");
  if (job.options.distil == 0 && !job.parent.empty())
    options.problem("--parent is a model to distil from: give --distil SHARE too");
  options.finish();
  job.config_ini = options.resolved_ini();
  return true;
}

}  // namespace

int parse_and_run(TrainingJob& job, const std::string& summary, const std::string& example,
                  const std::vector<std::string>& arguments) {
  Options options(job.verb, summary, example);
  bool dry_run = false;
  try {
    if (!parse(job, options, arguments, dry_run)) return 0;
  } catch (const Error& error) {
    if (rank_before_mpi() == 0) throw;
    ::sleep(10);  // rank 0 prints, which may take a while to start; its end makes mpirun kill this one
    return error.exit_code();
  }
  if (dry_run) {
    if (rank_before_mpi() == 0) print_text(job.config_ini);
    return 0;
  }
  return run_training_job(job);
}

}  // namespace lacuna
