// Where something outside the trainer (a recipe) may act on a run. The trainer calls; it does not know whom.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace lacuna {

// What may be changed for one step.
struct StepControl {
  std::int64_t step = 0, steps = 1;
  double l1 = 0;            // see StepBatch::l1; starts as what the options say
  bool stop_after = false;  // save and stop when this step is done; one rank's wish is enough
};

class TrainHooks {
 public:
  virtual ~TrainHooks() = default;
  virtual void before_step(StepControl& /*control*/) {}
  // Part of every checkpoint, restored on resume.
  virtual std::map<std::string, std::string> state() const { return {}; }
  virtual void restore(const std::map<std::string, std::string>& /*state*/) {}
};

}  // namespace lacuna
