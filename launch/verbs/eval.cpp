// lacuna eval: perplexity and sparsity of a model on a text, or the logits after given ids.
#include <algorithm>
#include <optional>

#include "launch/output.h"
#include "launch/verb.h"
#include "launch/verbs/model_flags.h"
#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/log.h"
#include "src/data/token_file.h"
#include "src/eval/divergence.h"
#include "src/eval/perplexity.h"
#include "src/text/bigram.h"

namespace lacuna {

namespace {

struct Request {
  ModelFlags model;
  PerplexityOptions windows;
  std::string text, ids, parent, bigram;
  bool json = false;
};

// A JSON array of whole numbers, or an object with such an array under "ids".
std::vector<std::int32_t> read_ids(const std::string& path) {
  const Json file = parse_json(read_file(path, 100'000'000), path);
  const Json& list = file.is_object() && file.contains("ids") ? file["ids"] : file;
  LACUNA_CHECK(list.is_array(), ErrorKind::BadInput, "{}: wanted an array of token ids or {{\"ids\": [...]}}",
               path);
  std::vector<std::int32_t> out;
  for (const Json& id : list) {
    LACUNA_CHECK(id.is_number_integer() && id.get<std::int64_t>() >= 0 && id.get<std::int64_t>() < (1 << 30),
                 ErrorKind::BadInput, "{}: entry {} is not a token id", path, out.size());
    out.push_back(id.get<std::int32_t>());
  }
  LACUNA_CHECK(!out.empty(), ErrorKind::BadInput, "{}: no token ids", path);
  return out;
}

int eval_ids(const Request& request) {
  const std::vector<std::int32_t> ids = read_ids(request.ids);
  const OpenedModel model = open_model(request.model);
  const std::span<const float> logits = model.engine->prefill(ids);
  const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
  if (!request.json) {
    print_text(fmt::format("after {} tokens: argmax {} with logit {}\n", ids.size(), best,
                           logits[static_cast<std::size_t>(best)]));
    return 0;
  }
  Json out;
  out["logits"] = std::vector<double>(logits.begin(), logits.end());
  out["argmax"] = best;
  print_json(out, "lacuna.eval.ids/1");
  return 0;
}

std::optional<Divergence> compare(const Request& request, Engine& model, std::span<const std::int32_t> ids) {
  if (request.parent.empty()) return {};
  EngineOptions options;
  options.threads = request.model.engine.threads;
  const std::unique_ptr<Engine> parent = load_engine(request.parent, request.model, options);
  return divergence(*parent, model, ids, request.windows);
}

// The yardstick below every language model: a bigram model of the training tokens, under the same windows.
std::optional<BigramScore> bigram_score(const Request& request, std::span<const std::int32_t> ids) {
  if (request.bigram.empty()) return {};
  const TokenFile file(request.bigram);
  std::vector<std::int32_t> train(static_cast<std::size_t>(file.tokens()));
  file.read(0, file.tokens(), train.data());
  return Bigram(train, file.meta().vocab_size).score(ids, request.windows.seq_len);
}

int eval_text(const Request& request) {
  const OpenedModel model = open_model(request.model);
  const std::vector<std::int32_t> ids = encode_file(tokenizer_of(model, request.model), request.text);
  const Perplexity result = perplexity(*model.engine, ids, request.windows);
  const std::optional<Divergence> moved = compare(request, *model.engine, ids);
  const std::optional<BigramScore> neighbours = bigram_score(request, ids);
  if (!request.json) {
    print_text(
        fmt::format("nll {:.6f} nats, perplexity {:.4f}; {} predictions in {} windows of {} from {} tokens; "
                    "{:.2f} % of FFN products are exactly zero\n",
                    result.nll, result.ppl, result.predicted, result.windows, request.windows.seq_len,
                    result.tokens, 100 * result.ffn_sparsity));
    return 0;
  }
  Json out;
  out["nll"] = result.nll;
  out["ppl"] = result.ppl;
  out["predicted"] = result.predicted;
  out["windows"] = result.windows;
  out["tokens"] = result.tokens;
  out["ffn_sparsity"] = result.ffn_sparsity;
  out["ffn_sparsity_per_layer"] = result.ffn_sparsity_per_layer;
  if (moved) {
    out["kl"] = moved->kl;
    out["same_top1"] = moved->same_top1;
  }
  if (neighbours) out["bigram_ppl"] = neighbours->ppl;
  print_json(out, "lacuna.eval/1");
  return 0;
}

int run_eval(const std::vector<std::string>& arguments) {
  Request request;
  Options options("eval", "perplexity and FFN sparsity of a model on a text",
                  "lacuna eval -m MODEL --text FILE --seq-len 512 --json");
  request.model.declare(options);
  options.flag("text", request.text, "text file; encoded once, without special tokens")
      .flag("seq-len", request.windows.seq_len, "tokens of a window; each window is scored alone")
      .flag("max-windows", request.windows.max_windows, "score at most so many windows; 0 = all")
      .flag("parent", request.parent, "model to compare with: KL divergence and same likeliest token")
      .flag("bigram", request.bigram,
            "tokens.h5: also the perplexity of a bigram model of these tokens (--json)")
      .flag("ids", request.ids, "JSON file of token ids: print the logits after the last one instead")
      .flag("json", request.json, "print one JSON object");
  if (!options.parse(arguments)) return 0;
  options.require("model");
  if (request.text.empty() == request.ids.empty()) options.problem("give either --text FILE or --ids FILE");
  if (!request.text.empty() && request.windows.seq_len < 2)
    options.problem("--text needs --seq-len of at least 2");
  options.finish();
  return request.ids.empty() ? eval_text(request) : eval_ids(request);
}

}  // namespace

extern const Verb eval_verb;
const Verb eval_verb = {"eval", "perplexity and FFN sparsity of a model on a text",
                        "lacuna eval -m MODEL --text FILE --seq-len 512 --json", run_eval};

}  // namespace lacuna
