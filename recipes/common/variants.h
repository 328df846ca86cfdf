// Models side by side on the same texts: each is a configuration and a source of weights, scored by the
// trainer's own forward under the run's layout.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "src/train/options.h"
#include "src/train/parallel_context.h"
#include "src/train/snapshot.h"

namespace lacuna {

struct Variant {
  std::string name;
  ModelConfig config;
  SlabSource weights;
};

struct VariantScore {
  std::string name;
  std::vector<double> nll;            // of each text: mean nats a token
  std::vector<std::int64_t> windows;  // of each text
  std::vector<double> zeros;          // of each text: share of FFN products that are 0, mean over layers
};

// Scores each variant on each token file: windows of options.seq_len tokens from its beginning, at most
// `windows` of them, every window alone on all its tokens but the first. Collective over the world.
std::vector<VariantScore> score_variants(const std::vector<Variant>& variants,
                                         const std::vector<std::string>& token_files, std::int64_t windows,
                                         ParallelContext& context, const TrainOptions& options);

}  // namespace lacuna
