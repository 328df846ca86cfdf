// Where the time of one step goes: a trace for Perfetto (trace.json) and a table of the work by kind,
// recorded by the profiler that libtorch brings (Kineto; on a GPU through CUPTI).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lacuna {

// One kind of work: GPU kernels and copies where there are any, operations of libtorch on the CPU otherwise.
struct ProfileRow {
  std::string name;
  double milliseconds = 0;
  std::int64_t count = 0;
};

class StepProfile {
 public:
  // Records everything from here to finish(). One at a time.
  explicit StepProfile(bool cuda);
  // Writes the trace to `path`; rows with the longest first, the rest as one row. What was queued must have
  // ended.
  std::vector<ProfileRow> finish(const std::string& path);

 private:
  bool cuda_;
};

// "matrix products", "attention", or the kernel's own short name.
std::string kind_of_kernel(const std::string& name);

}  // namespace lacuna
