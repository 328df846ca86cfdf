#include "recipes/common/variants.h"

#include <algorithm>

#include "src/base/error.h"
#include "src/base/log.h"
#include "src/base/math.h"
#include "src/data/token_file.h"
#include "src/train/model_runner.h"

namespace lacuna {

namespace {

struct Text {
  StepBatch batch;  // this replica's share; sequences beyond the text are not scored
  std::int64_t windows = 0;
};

Text read_text(const std::string& path, std::int64_t most, const ParallelContext& context,
               const TrainOptions& options) {
  const TokenFile file(path);
  Text text;
  const std::int64_t length = options.seq_len, group = options.micro_batch * options.dp;
  text.windows = std::min(most, file.tokens() / length);
  LACUNA_CHECK(text.windows > 0, ErrorKind::BadInput, "{}: {} tokens do not fill a window of {}", path,
               file.tokens(), length);
  text.batch.micros = static_cast<int>(ceil_div(text.windows, group));
  std::vector<std::int32_t> ids(static_cast<std::size_t>(length));
  for (std::int64_t micro = 0; micro < text.batch.micros; ++micro)
    for (std::int64_t k = 0; k < options.micro_batch; ++k) {
      const std::int64_t window = (micro * options.dp + context.place.dp) * options.micro_batch + k;
      const bool scored = window < text.windows;
      file.read((scored ? window : 0) * length, length, ids.data());
      text.batch.tokens.insert(text.batch.tokens.end(), ids.begin(), ids.end());
      for (std::size_t i = 0; i < ids.size(); ++i)
        text.batch.targets.push_back(scored && i + 1 < ids.size() ? ids[i + 1] : -1);
    }
  return text;
}

}  // namespace

std::vector<VariantScore> score_variants(const std::vector<Variant>& variants,
                                         const std::vector<std::string>& token_files, std::int64_t windows,
                                         ParallelContext& context, const TrainOptions& options) {
  std::vector<Text> texts;
  for (const std::string& path : token_files) texts.push_back(read_text(path, windows, context, options));
  std::vector<VariantScore> scores;
  for (const Variant& variant : variants) {
    ModelRunner model(context, options, variant.config, ModelUse::Frozen);
    model.load(variant.weights, false);
    VariantScore score{variant.name, {}, {}, {}};
    for (const Text& text : texts) {
      const StepNumbers numbers = model.evaluate(text.batch);
      score.nll.push_back(numbers.loss);
      double zeros = 0;
      for (const double share : numbers.report.zeros_per_layer)
        zeros += share / static_cast<double>(variant.config.layers);
      score.zeros.push_back(zeros);
      score.windows.push_back(text.windows);
    }
    model.close();
    if (context.is_main()) log_info("scored {}", variant.name);
    scores.push_back(std::move(score));
  }
  return scores;
}

}  // namespace lacuna
