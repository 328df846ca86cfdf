#include "src/train/allocation_check.h"

#include <fmt/format.h>

#include <algorithm>

namespace lacuna {

namespace {

std::string text_of(const std::vector<on_cuda::AllocationEvent>& trace, std::size_t index) {
  if (index >= trace.size()) return "ends";
  constexpr const char* kCalls[] = {"allocates", "frees", "takes from the driver"};
  return fmt::format("{} {} bytes", kCalls[static_cast<std::size_t>(trace[index].call)], trace[index].bytes);
}

}  // namespace

std::string first_difference(const std::vector<on_cuda::AllocationEvent>& wanted,
                             const std::vector<on_cuda::AllocationEvent>& got) {
  const std::size_t most = std::max(wanted.size(), got.size());
  for (std::size_t i = 0; i < most; ++i)
    if (i >= wanted.size() || i >= got.size() || wanted[i] != got[i])
      return fmt::format("call {} to the allocator {}, where it {}", i, text_of(got, i), text_of(wanted, i));
  return "";
}

void AllocationCheck::begin() {
  if (!reported_) on_cuda::record_allocations();
}

void AllocationCheck::drop() {
  if (!reported_) on_cuda::take_allocations();
}

std::string AllocationCheck::end(std::int64_t step) {
  if (reported_) return "";
  std::vector<on_cuda::AllocationEvent> trace = on_cuda::take_allocations();
  if (++steps_ < kReference) return "";
  if (steps_ == kReference) {
    reference_ = std::move(trace);
    return "";
  }
  const std::string difference = first_difference(reference_, trace);
  if (difference.empty()) return "";
  reported_ = true;
  return fmt::format("step {} asks for GPU memory in another way than the third step: {} there", step,
                     difference);
}

}  // namespace lacuna
