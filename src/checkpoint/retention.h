// Which steps of a run folder stay, and what is left over from interrupted saves.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/checkpoint/checkpoint.h"

namespace lacuna {

// The steps to delete. Kept are the newest `keep_last` (at least one), the multiples of keep_every, the one
// just saved and the one resumed from.
std::vector<std::int64_t> steps_to_delete(const std::vector<std::int64_t>& steps, std::int64_t saved,
                                          const SaveOptions& options);

// Deletes them: first all are renamed to .trash-*, so that a step is either whole or not there, then emptied.
void delete_steps(const std::string& run_folder, const std::vector<std::int64_t>& steps);

// Removes .trash-* and the temporary folders of other generations, and of this one for `step`.
void remove_left_overs(const std::string& run_folder, std::int64_t step, const std::string& generation);

}  // namespace lacuna
