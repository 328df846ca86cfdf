// A continuation of a prompt, token by token.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "src/infer/engine.h"
#include "src/infer/sampler.h"
#include "src/text/tokenizer.h"

namespace lacuna {

struct GenerateOptions {
  std::int64_t max_tokens = 128;
  SamplerOptions sampler;
  std::vector<std::string> stop;  // text that ends the continuation and is not part of it
  bool ignore_eos = false;
};

struct Generation {
  std::vector<std::int32_t> ids;  // new tokens; an end-of-text token that ended it is the last
  std::string text;               // without special tokens, cut before a stop text
  std::string finish;             // "eos", "length", "stop" or "context"
  double prefill_seconds = 0, decode_seconds = 0;
  std::int64_t decode_steps = 0;
  double tokens_per_second() const {
    return decode_seconds > 0 ? static_cast<double>(decode_steps) / decode_seconds : 0;
  }
};

// Holds back the end of a text while it may still become one of the stop texts.
class StopWatch {
 public:
  explicit StopWatch(std::vector<std::string> stops) : stops_(std::move(stops)) {}
  // Text that is now certain. After found() nothing more comes.
  std::string push(std::string_view text);
  std::string finish();
  bool found() const { return found_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool found_ = false;
};

// Resets the engine, runs `prompt` (at least one token), then draws. `on_text`, when given, gets the text as
// it becomes certain; its pieces joined are Generation::text. Error(Usage): empty prompt, or one that fills
// the context.
Generation generate(Engine& engine, const Tokenizer& tokenizer, std::span<const std::int32_t> prompt,
                    const GenerateOptions& options,
                    const std::function<void(std::string_view)>& on_text = {});

}  // namespace lacuna
