// Micro-batches for one data-parallel rank. The corpus is cut into windows of seq_len + 1 tokens with stride
// seq_len; the last part of them is kept for validation. Sample k of micro-batch m of step t on replica r is
// global sample t·B + (m·dp + r)·b + k, so the union over replicas does not depend on dp.
#pragma once

#include <cstdint>
#include <vector>

#include "src/data/sample_order.h"
#include "src/data/token_file.h"

namespace lacuna {

struct LoaderOptions {
  std::int64_t seq_len = 256;
  std::int64_t global_batch = 8, micro_batch = 1;  // sequences
  int dp = 1, dp_rank = 0;
  std::uint64_t seed = 1;
  double valid_fraction = 0;   // of the windows, the last ones; at least one window when > 0
  bool document_mask = false;  // a token is not predicted from the document before it: target -1
};

// [sequences, seq_len], row-major.
struct Batch {
  std::int64_t sequences = 0, seq_len = 0;
  std::vector<std::int32_t> tokens;
  std::vector<std::int32_t> targets;  // the token behind each; -1: not scored
};

class Loader {
 public:
  // Keeps a reference to the file. Error(Usage) when the batches do not divide, Error(BadInput) when the
  // corpus has fewer training windows than one batch takes; both say what to change.
  Loader(const TokenFile& file, const LoaderOptions& options);

  std::int64_t micro_batches() const;  // per step and replica
  std::int64_t train_windows() const { return order_.windows(); }
  std::int64_t valid_windows() const { return valid_windows_; }
  // Micro-batch `micro` of `step` for this replica.
  Batch train(std::int64_t step, std::int64_t micro) const;
  // Validation windows first .. first + count - 1, in order, the same for every rank.
  Batch valid(std::int64_t first, std::int64_t count) const;
  // The window that a global sample reads, for tests and reports.
  std::int64_t window_of(std::int64_t sample) const { return order_.window(sample); }

 private:
  void read_window(std::int64_t window, Batch& batch) const;
  const TokenFile& file_;
  LoaderOptions options_;
  std::int64_t valid_windows_;
  SampleOrder order_;
};

}  // namespace lacuna
