// Text forms: one action ("2F0", "1SF3", "0EV3.0>1"), the compute orders as CSV in the form of PyTorch's
// compute-only files, and the grid that `lacuna plan` prints.
#pragma once

#include <string>
#include <vector>

#include "parallel/plan/event_walk.h"
#include "parallel/plan/schedule.h"

namespace lacuna {

// Stage, short name, micro-batch: "2F0", "2R" for a Reduce; for copies also ".piece>guest slot".
std::string to_text(const Action& action);

// One line a rank, its compute row comma separated: "0F0,0F1,0B0,...": what torch.distributed.pipelining
// calls a compute-only CSV. Reduce is left out.
std::string compute_csv(const Schedule& schedule);
// The inverse, for files of PyTorch too: empty cells (idle steps) and REDUCE_GRAD are skipped, OVERLAP_F_B is
// its two actions in turn. Names the schedule `name`; stages and micro-batches follow from the actions; a
// Reduce of each stage is added at the end. Error(BadInput) names line and cell.
Schedule read_compute_csv(const std::string& text, const std::string& name);

// One line a rank, time to the right, to scale; below a rank that evicts, a line of its copies: "E3" leaves,
// "L3" comes back. Stages are named where a rank holds several ("2F0"). At most `max_columns` wide, cut with
// ">".
std::vector<std::string> grid(const Schedule& schedule, const EventTimes& times, int max_columns = 100'000);

}  // namespace lacuna
