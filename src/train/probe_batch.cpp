#include "src/train/probe_batch.h"

#include <algorithm>
#include <span>

#include "src/base/error.h"
#include "src/base/math.h"

namespace lacuna {

ProbeShape probe_shape(const ProbeSequences& sequences, std::size_t per_micro, std::size_t width) {
  const ProbeShape shape{sequences.size(), sequences.empty() ? 0 : sequences.front().size(), per_micro,
                         width};
  LACUNA_ASSERT(shape.length > 0 && shape.length <= width);
  for (const auto& sequence : sequences) LACUNA_ASSERT(sequence.size() == shape.length);
  return shape;
}

// What follows a sequence cannot reach it, attention is causal.
StepBatch probe_batch(const ProbeSequences& sequences, const ProbeShape& shape) {
  StepBatch batch;
  batch.micros = static_cast<int>(shape.micros());
  batch.tokens.assign(shape.micros() * shape.per_micro * shape.width, 0);
  batch.targets.assign(batch.tokens.size(), -1);
  batch.targets[0] = 0;
  for (std::size_t i = 0; i < sequences.size(); ++i)
    std::copy(sequences[i].begin(), sequences[i].end(),
              batch.tokens.begin() + static_cast<std::ptrdiff_t>(i * shape.width));
  return batch;
}

std::vector<std::int64_t> last_tokens(const ProbeShape& shape) {
  std::vector<std::int64_t> out;
  for (std::size_t k = 0; k < shape.per_micro; ++k)
    out.push_back(static_cast<std::int64_t>(k * shape.width + shape.length - 1));
  return out;
}

std::vector<std::vector<double>> gather_logits(Communicator& tp, const std::vector<std::vector<double>>& kept,
                                               const ProbeShape& shape, std::int64_t vocab) {
  const auto local = static_cast<std::size_t>(ceil_div(vocab, static_cast<std::int64_t>(tp.size())));
  std::vector<std::vector<double>> out;
  for (std::size_t i = 0; i < shape.sequences; ++i) {
    const double* mine = kept.at(i / shape.per_micro).data() + i % shape.per_micro * local;
    std::vector<double> all(local * static_cast<std::size_t>(tp.size()));
    tp.all_gather(std::as_bytes(std::span(mine, local)), std::as_writable_bytes(std::span(all)));
    all.resize(static_cast<std::size_t>(vocab));
    out.push_back(std::move(all));
  }
  return out;
}

}  // namespace lacuna
