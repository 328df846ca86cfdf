#include "src/model/stage_checks.h"

#include "src/base/error.h"

namespace lacuna {

void check_shape(const LlamaStageOptions& options) {
  const int tp = options.tp ? options.tp->size() : 1;
  LACUNA_ASSERT(options.shape.tp == tp);
  LACUNA_ASSERT(options.pieces >= 1 && !options.cuts.empty() &&
                options.cuts.back().end == options.config.layers);
  LACUNA_CHECK(
      options.shape.tokens() % tp == 0, ErrorKind::Usage,
      "a micro-batch of {} sequences of {} tokens does not divide over tp {}: choose --micro-batch or "
      "--seq-len so that their product does",
      options.shape.sequences, options.shape.seq_len, tp);
  for (const std::string& problem : tp_problems(options.config, tp)) fail(ErrorKind::Usage, "{}", problem);
}

void check_ids(const std::vector<std::int32_t>& ids, std::int64_t tokens, std::int32_t least,
               std::int64_t vocab, const char* what) {
  for (std::size_t i = 0; i < ids.size(); ++i)
    LACUNA_CHECK(ids[i] >= least && ids[i] < vocab, ErrorKind::BadInput,
                 "micro-batch {}, position {}: {} is {}, wanted {} to {}: were these tokens made with this "
                 "model's tokenizer?",
                 static_cast<std::int64_t>(i) / tokens, static_cast<std::int64_t>(i) % tokens, what, ids[i],
                 least, vocab - 1);
}

}  // namespace lacuna
