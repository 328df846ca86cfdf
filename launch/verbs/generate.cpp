// lacuna generate: continues a prompt; streams the text, or prints one JSON object. With --samples: continues
// many prompts cut from a text, which makes text to train or distil on.
#include "src/infer/generate.h"

#include "launch/output.h"
#include "launch/verb.h"
#include "launch/verbs/model_flags.h"
#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/log.h"
#include "src/base/rng.h"

namespace lacuna {

namespace {

struct Request {
  ModelFlags model;
  GenerateOptions options;
  std::string prompt, text;
  std::int64_t samples = 0, prompt_tokens = 8;
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

// Prompt i starts at a token drawn by (seed, i); its continuation is drawn with seed + i. So any range of
// samples can be made apart, and for the same seed they are the same.
void write_samples(Request& request, Engine& engine, const Tokenizer& tokenizer) {
  const std::vector<std::int32_t> text =
      tokenizer.encode(read_file(request.text, std::size_t{1} << 32), false);
  const auto length = static_cast<std::size_t>(request.prompt_tokens);
  LACUNA_CHECK(text.size() > length, ErrorKind::BadInput, "{} has {} tokens, prompts of {} want more",
               request.text, text.size(), length);
  const std::uint64_t first_seed = request.options.sampler.seed;
  std::int64_t tokens = 0;
  double seconds = 0;
  for (std::int64_t i = 0; i < request.samples; ++i) {
    const std::uint64_t seed = first_seed + static_cast<std::uint64_t>(i);
    const std::uint64_t at = rng_below(rng_key(seed, "prompt"), 0, text.size() - length);
    std::vector<std::int32_t> ids(text.begin() + static_cast<std::ptrdiff_t>(at),
                                  text.begin() + static_cast<std::ptrdiff_t>(at + length));
    request.options.sampler.seed = seed;
    const Generation made = generate(engine, tokenizer, ids, request.options);
    ids.insert(ids.end(), made.ids.begin(), made.ids.end());
    print_text(tokenizer.decode(ids) + "\n");  // in one: a piece may want to know what stands before it
    tokens += static_cast<std::int64_t>(made.ids.size());
    seconds += made.prefill_seconds + made.decode_seconds;
  }
  log_info("{} samples, {} new tokens at {:.0f} tokens/s", request.samples, tokens,
           static_cast<double>(tokens) / seconds);
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
      .flag("samples", request.samples,
            "continue this many prompts cut from --text, one after the other; sample i is that of --seed + i")
      .flag("text", request.text, "text file that the prompts of --samples are cut from")
      .flag("prompt-tokens", request.prompt_tokens, "length of a prompt of --samples")
      .flag("json", request.json, "print one JSON object at the end instead of streaming");
  if (!options.parse(arguments)) return 0;
  options.require("model");
  options.require(request.samples > 0 ? "text" : "prompt");
  if (request.samples < 0) options.problem("--samples wants a positive number");
  if (request.samples > 0 && (request.json || !request.prompt.empty()))
    options.problem(
        "--samples prints text alone and takes its prompts from --text: leave out --json, --prompt");
  if (request.prompt_tokens < 1) options.problem("--prompt-tokens wants a positive number");
  options.finish();
  const OpenedModel model = open_model(request.model);
  const Tokenizer& tokenizer = tokenizer_of(model, request.model);
  if (request.samples > 0) {
    write_samples(request, *model.engine, tokenizer);
    return 0;
  }
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
