// Batches out of a token file.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "src/data/loader.h"
#include "src/train/batches.h"
#include "src/train/options.h"

namespace lacuna {

class TokenBatches : public BatchSource {
 public:
  TokenBatches(const TrainOptions& options, int dp_rank);
  StepBatch train(std::int64_t step) const override;
  StepBatch validation(std::int64_t sequences) const override;
  std::vector<std::vector<std::int32_t>> probe_sequences(int count, std::int64_t length) const override;

  std::int64_t vocab() const { return file_->meta().vocab_size; }
  std::int64_t eos_id() const { return file_->meta().eos_id; }
  const std::map<std::string, std::string>& tokenizer_files() const { return file_->meta().tokenizer_files; }
  // What a resumed run must find unchanged.
  std::string identity() const { return file_->fingerprint(); }

 private:
  std::unique_ptr<TokenFile> file_;
  LoaderOptions options_;
  std::unique_ptr<Loader> loader_;
};

}  // namespace lacuna
