// lacuna generate: continues a prompt; streams the text, or prints one JSON object.
#include "src/infer/generate.h"

#include "launch/output.h"
#include "launch/verb.h"
#include "launch/verbs/model_flags.h"
#include "src/base/error.h"
#include "src/base/json.h"
#include "src/base/log.h"

namespace lacuna {

namespace {

struct Request {
  ModelFlags model;
  GenerateOptions options;
  std::string prompt;
  bool special = false, json = false;
};

void report(const Request& request, std::span<const std::int32_t> prompt, const Generation& made,
            const Engine& engine) {
  const double sparsity = engine.statistics().sparsity();
  if (!request.json) {
    print_text("\n");
    log_info("{} prompt tokens in {:.2f} s, {} new tokens at {:.1f} tokens/s, {:.2f} % FFN zeros, finish: {}",
             prompt.size(), made.prefill_seconds, made.ids.size(), made.tokens_per_second(), 100 * sparsity,
             made.finish);
    return;
  }
  Json out;
  out["prompt_ids"] = std::vector<std::int32_t>(prompt.begin(), prompt.end());
  out["ids"] = made.ids;
  out["text"] = made.text;
  out["finish"] = made.finish;
  out["tokens_per_s"] = made.tokens_per_second();
  out["ffn_sparsity"] = sparsity;
  print_json(out, "lacuna.generate/1");
}

int run_generate(const std::vector<std::string>& arguments) {
  Request request;
  SamplerOptions& sampler = request.options.sampler;
  Options options("generate", "continues a prompt", "lacuna generate -m MODEL -p 'Once upon a time' -n 100");
  request.model.declare(options);
  options.flag("prompt,p", request.prompt, "text to continue")
      .flag("max-tokens,n", request.options.max_tokens, "new tokens at most")
      .flag("temperature", sampler.temperature, "0 = the likeliest token always")
      .flag("top-k", sampler.top_k, "draw among the k likeliest; 0 = all")
      .flag("top-p", sampler.top_p, "draw among the likeliest that reach this probability")
      .flag("seed", sampler.seed, "of the draws")
      .flag("stop", request.options.stop, "text that ends the continuation; several are possible")
      .flag("ignore-eos", request.options.ignore_eos, "go on after an end-of-text token")
      .flag("special", request.special, "put the model's begin-of-text token in front of the prompt")
      .flag("json", request.json, "print one JSON object at the end instead of streaming");
  if (!options.parse(arguments)) return 0;
  options.require("model");
  options.require("prompt");
  options.finish();
  const OpenedModel model = open_model(request.model);
  const Tokenizer& tokenizer = tokenizer_of(model, request.model);
  const std::vector<std::int32_t> prompt = tokenizer.encode(request.prompt, request.special);
  std::function<void(std::string_view)> stream;
  if (!request.json) {
    print_text(request.prompt);
    stream = [](std::string_view text) { print_text(std::string(text)); };
  }
  report(request, prompt, generate(*model.engine, tokenizer, prompt, request.options, stream), *model.engine);
  return 0;
}

}  // namespace

extern const Verb generate_verb;
const Verb generate_verb = {"generate", "continues a prompt",
                            "lacuna generate -m MODEL -p 'Once upon a time' -n 100", run_generate};

}  // namespace lacuna
