#include "launch/train_verbs/failure.h"

#include <c10/util/Exception.h>

namespace lacuna {

namespace {

// One line of what the allocator says, and what helps.
std::string out_of_memory_text(const std::string& from_torch) {
  return fmt::format(
      "the GPU's memory is exhausted: {}; smaller --micro-batch, --recompute, more --tp or --pp, or --bpipe "
      "need less "
      "(lacuna plan shows the bytes of each class)",
      from_torch.substr(0, from_torch.find(". GPU ") == std::string::npos ? from_torch.find('\n')
                                                                          : from_torch.find(". GPU ")));
}

}  // namespace

Failure describe(const std::exception& any) {
  if (const auto* error = dynamic_cast<const Error*>(&any)) return {error->kind(), error->what()};
  if (dynamic_cast<const c10::OutOfMemoryError*>(&any))
    return {ErrorKind::NoFit, out_of_memory_text(any.what())};
  return {ErrorKind::Internal, any.what()};
}

}  // namespace lacuna
