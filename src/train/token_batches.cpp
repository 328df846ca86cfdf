#include "src/train/token_batches.h"

#include <algorithm>

#include "src/base/error.h"

namespace lacuna {

namespace {

void append(StepBatch& all, const Batch& micro) {
  all.tokens.insert(all.tokens.end(), micro.tokens.begin(), micro.tokens.end());
  all.targets.insert(all.targets.end(), micro.targets.begin(), micro.targets.end());
  ++all.micros;
}

}  // namespace

TokenBatches::TokenBatches(const TrainOptions& o, int dp_rank)
    : file_(std::make_unique<TokenFile>(o.data)),
      options_{o.seq_len, o.global_batch, o.micro_batch, o.dp, dp_rank, o.seed, o.valid_fraction, false},
      loader_(std::make_unique<Loader>(*file_, options_)) {}

StepBatch TokenBatches::train(std::int64_t step) const {
  StepBatch batch;
  for (std::int64_t micro = 0; micro < loader_->micro_batches(); ++micro)
    append(batch, loader_->train(step, micro));
  return batch;
}

// Sequence (micro·dp + rank)·b + k of the kept-out windows, starting over when there are fewer.
StepBatch TokenBatches::validation(std::int64_t sequences) const {
  LACUNA_ASSERT(loader_->valid_windows() > 0);
  StepBatch batch;
  const std::int64_t group = options_.micro_batch * options_.dp;
  for (std::int64_t micro = 0; micro < sequences / group; ++micro) {
    Batch joined;
    for (std::int64_t k = 0; k < options_.micro_batch; ++k) {
      const std::int64_t sequence = micro * group + options_.dp_rank * options_.micro_batch + k;
      const Batch one = loader_->valid(sequence % loader_->valid_windows(), 1);
      joined.tokens.insert(joined.tokens.end(), one.tokens.begin(), one.tokens.end());
      joined.targets.insert(joined.targets.end(), one.targets.begin(), one.targets.end());
    }
    append(batch, joined);
  }
  return batch;
}

std::vector<std::vector<std::int32_t>> TokenBatches::probe_sequences(int count, std::int64_t length) const {
  std::vector<std::vector<std::int32_t>> out;
  const std::int64_t stride = std::max<std::int64_t>((file_->tokens() - length) / count, 0);
  for (int i = 0; i < count; ++i) {
    out.emplace_back(static_cast<std::size_t>(length));
    file_->read(i * stride, length, out.back().data());
  }
  return out;
}

}  // namespace lacuna
