// From the third step on, every step asks the GPU's allocator for the same in the same order: then it gives
// the same memory, nothing grows, and a step that runs once runs always.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/model/cuda/ops.h"

namespace lacuna {

class AllocationCheck {
 public:
  // Around the work of one step on this thread's stream.
  void begin();
  // "" while all is equal; else one line that names the first difference, once.
  std::string end(std::int64_t step);
  // In place of end() where the step did what others do not.
  void drop();

 private:
  static constexpr int kReference = 3;
  int steps_ = 0;
  bool reported_ = false;
  std::vector<on_cuda::AllocationEvent> reference_;
};

// The first difference of two traces as text, "" without one.
std::string first_difference(const std::vector<on_cuda::AllocationEvent>& wanted,
                             const std::vector<on_cuda::AllocationEvent>& got);

}  // namespace lacuna
