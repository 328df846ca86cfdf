#include "launch/train_verbs/failure.h"

#include <c10/util/Exception.h>

#include <string_view>

#include "parallel/run/device.h"

namespace lacuna {

namespace {

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

// What the allocator says before it goes on about its GPU, and what helps.
std::string out_of_memory_text(const std::string& text) {
  return fmt::format(
      "the GPU's memory is exhausted: {}; smaller --micro-batch, --recompute, more --tp or --pp, or --bpipe "
      "need less (lacuna plan shows the bytes of each class)",
      first_line(text.substr(0, text.find(". GPU "))));
}

// Ours, that of libtorch's allocator, and where it asks the driver directly there is only the text.
bool is_out_of_memory(const std::exception& any) {
  return dynamic_cast<const DeviceMemoryError*>(&any) || dynamic_cast<const c10::OutOfMemoryError*>(&any) ||
         std::string_view(any.what()).find("CUDA error: out of memory") != std::string_view::npos;
}

}  // namespace

Failure describe(const std::exception& any) {
  if (is_out_of_memory(any)) return {ErrorKind::NoFit, out_of_memory_text(any.what())};
  if (const auto* error = dynamic_cast<const Error*>(&any)) return {error->kind(), error->what()};
  return {ErrorKind::Internal, first_line(any.what())};
}

}  // namespace lacuna
