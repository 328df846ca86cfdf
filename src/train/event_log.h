// What a run tells the world while it runs (rank 0 only): one JSON object a line in log.jsonl, the same
// numbers in a TensorBoard file, and a progress line (a bar on a terminal) on stderr.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "src/train/tensorboard.h"

namespace lacuna {

// Named numbers of one step, in the order they are printed.
using LogValues = std::vector<std::pair<std::string, double>>;

class EventLog {
 public:
  // Appends to the files in `folder`. After a resume the lines beyond `first_step` of an interrupted attempt
  // are dropped from log.jsonl, so that each step stands there once.
  EventLog(const std::string& folder, std::int64_t first_step, std::int64_t last_step);
  ~EventLog();
  // kind: "train", "eval", "checkpoint". `per_layer` (may be empty) goes to TensorBoard as tag/layer.
  void write(const std::string& kind, std::int64_t step, const LogValues& values,
             const std::vector<double>& zeros_per_layer = {});
  // The line for people; `text` has the figures, the bar and the remaining time are added here.
  void progress(std::int64_t steps_done, const std::string& text);
  void end_progress();

 private:
  std::string path_;
  std::FILE* file_ = nullptr;
  std::unique_ptr<TensorBoardFile> board_;
  std::int64_t first_step_, last_step_;
  double started_;
  bool terminal_, bar_open_ = false;
};

}  // namespace lacuna
