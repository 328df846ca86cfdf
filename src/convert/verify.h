// Reads all of a model, checkpoint, run, token file or tokenizer and proves that it is whole.
#pragma once

#include <string>
#include <vector>

namespace lacuna {

struct VerifyReport {
  std::string kind;
  std::vector<std::string> checks;    // what was found good, one line each
  std::vector<std::string> problems;  // what was found bad
  bool good() const { return problems.empty(); }
};

// Checkpoint: every hash. Run: that of every committed step. Model folder: its checksums when it has any,
// header, shapes, finite values, tokenizer, sparsity.json. Token file: every id. Error(BadInput) only when
// `path` is none of these.
VerifyReport verify(const std::string& path);

}  // namespace lacuna
