#include "src/data/loader.h"

#include <algorithm>

#include "src/base/error.h"

namespace lacuna {
namespace {

std::int64_t all_windows(const TokenFile& file, const LoaderOptions& options) {
  LACUNA_CHECK(options.seq_len >= 1, ErrorKind::Usage, "--seq-len {}: wanted at least 1", options.seq_len);
  return (file.tokens() - 1) / options.seq_len;
}

std::int64_t windows_for_validation(const TokenFile& file, const LoaderOptions& options) {
  LACUNA_CHECK(options.valid_fraction >= 0 && options.valid_fraction < 1, ErrorKind::Usage,
               "--valid-fraction {}: wanted 0 or more and less than 1", options.valid_fraction);
  if (options.valid_fraction == 0) return 0;
  const double share = static_cast<double>(all_windows(file, options)) * options.valid_fraction;
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(share));
}

std::int64_t windows_for_training(const TokenFile& file, const LoaderOptions& options) {
  const std::int64_t per_round = options.micro_batch * options.dp;
  LACUNA_CHECK(options.micro_batch >= 1 && options.dp >= 1 && options.dp_rank >= 0 &&
                   options.dp_rank < options.dp && options.global_batch >= 1 &&
                   options.global_batch % per_round == 0,
               ErrorKind::Usage, "--global-batch {} is not a multiple of --micro-batch {} times {} replicas",
               options.global_batch, options.micro_batch, options.dp);
  const std::int64_t train = all_windows(file, options) - windows_for_validation(file, options);
  LACUNA_CHECK(
      train >= options.global_batch, ErrorKind::BadInput,
      "{}: {} tokens give {} training windows of {}, one batch takes {}: give more text, or a smaller "
      "--global-batch or --seq-len",
      file.path(), file.tokens(), std::max<std::int64_t>(train, 0), options.seq_len, options.global_batch);
  return train;
}

}  // namespace

Loader::Loader(const TokenFile& file, const LoaderOptions& options)
    : file_(file),
      options_(options),
      valid_windows_(windows_for_validation(file, options)),
      order_(windows_for_training(file, options), options.seed) {}

std::int64_t Loader::micro_batches() const {
  return options_.global_batch / (options_.micro_batch * options_.dp);
}

Batch Loader::train(std::int64_t step, std::int64_t micro) const {
  LACUNA_ASSERT(step >= 0 && micro >= 0 && micro < micro_batches());
  Batch out{options_.micro_batch, options_.seq_len, {}, {}};
  const std::int64_t first =
      step * options_.global_batch + (micro * options_.dp + options_.dp_rank) * options_.micro_batch;
  for (std::int64_t k = 0; k < options_.micro_batch; ++k) read_window(order_.window(first + k), out);
  return out;
}

Batch Loader::valid(std::int64_t first, std::int64_t count) const {
  LACUNA_ASSERT(first >= 0 && count >= 0 && first + count <= valid_windows_);
  Batch out{count, options_.seq_len, {}, {}};
  for (std::int64_t k = 0; k < count; ++k) read_window(order_.windows() + first + k, out);
  return out;
}

void Loader::read_window(std::int64_t window, Batch& batch) const {
  const std::int64_t length = options_.seq_len, first = window * length;
  std::vector<std::int32_t> ids(static_cast<std::size_t>(length) + 1);
  file_.read(first, length + 1, ids.data());
  batch.tokens.insert(batch.tokens.end(), ids.begin(), ids.end() - 1);
  const auto targets = static_cast<std::ptrdiff_t>(batch.targets.size());
  batch.targets.insert(batch.targets.end(), ids.begin() + 1, ids.end());
  if (!options_.document_mask) return;
  const auto& offsets = file_.doc_offsets();
  // Documents that begin at a target of this window: tokens first + 1 .. first + length.
  for (auto at = std::upper_bound(offsets.begin(), offsets.end(), first);
       at != offsets.end() && *at <= first + length; ++at)
    batch.targets[static_cast<std::size_t>(targets + (*at - first - 1))] = -1;
}

}  // namespace lacuna
