#include "launch/train_verbs/failure.h"

#include <c10/util/Exception.h>

#include <new>
#include <string_view>

#include "parallel/run/device.h"

namespace lacuna {

namespace {

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

constexpr std::string_view kHostAllocator = "DefaultCPUAllocator: ";

std::string out_of_memory_text(std::string_view whose, std::string_view detail) {
  return fmt::format(
      "the {}'s memory is exhausted: {}; smaller --micro-batch, --recompute, more --tp or --pp, or --bpipe "
      "need less (lacuna plan shows the bytes of each class)",
      whose, detail);
}

// Ours, that of libtorch's allocator, and where it asks the driver directly there is only the text.
bool is_out_of_gpu_memory(const std::exception& any) {
  return dynamic_cast<const DeviceMemoryError*>(&any) || dynamic_cast<const c10::OutOfMemoryError*>(&any) ||
         std::string_view(any.what()).find("CUDA error: out of memory") != std::string_view::npos;
}

}  // namespace

Failure describe(const std::exception& any) {
  const std::string text = any.what();
  if (is_out_of_gpu_memory(any))  // without what the allocator says about its GPU
    return {ErrorKind::NoFit, out_of_memory_text("GPU", first_line(text.substr(0, text.find(". GPU "))))};
  if (const std::size_t at = text.find(kHostAllocator); at != std::string::npos)
    return {ErrorKind::NoFit,
            out_of_memory_text("machine", first_line(text.substr(at + kHostAllocator.size())))};
  if (dynamic_cast<const std::bad_alloc*>(&any))
    return {ErrorKind::NoFit, out_of_memory_text("machine", text)};
  if (const auto* error = dynamic_cast<const Error*>(&any)) return {error->kind(), error->what()};
  return {ErrorKind::Internal, first_line(text)};
}

}  // namespace lacuna
