// The folder of a run: what may become one or be replaced, who holds it, how its end is recorded.
#pragma once

#include "launch/train_verbs/training_job.h"
#include "src/checkpoint/run_lock.h"

namespace lacuna {

// Whether --out may be used; writes nothing. Error(Usage).
void check_run_folder(const TrainingJob& job);

// Makes the folder, takes its lock, removes the status of an earlier end, with --force empties it, and leaves
// the configuration there. Rank 0 alone. Error(Permission) when another process holds it; nothing is deleted
// then.
RunLock take_run_folder(const TrainingJob& job);

// status.json of a run that failed, naming the newest committed checkpoint; by the rank that failed,
// whichever it is. Nothing before the folder is this job's, nor when there is one already: the first failure
// counts, those of other ranks follow from it. Never throws.
void record_failure(const TrainingJob& job, int code, std::int64_t step, const std::string& message) noexcept;

}  // namespace lacuna
