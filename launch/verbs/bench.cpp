// lacuna bench: decoding speed of the dense and the sparse path against the memory's measured read speed.
#include "launch/output.h"
#include "launch/verb.h"
#include "launch/verbs/model_flags.h"
#include "src/base/error.h"
#include "src/base/json.h"
#include "src/base/rng.h"
#include "src/infer/measure.h"

namespace lacuna {

namespace {

struct Request {
  ModelFlags model;
  std::int64_t prompt = 64, tokens = 64, stream_mib = 512;
  bool json = false;
};

struct Row {
  std::string path;
  DecodeSpeed speed;
};

Row measure(const Request& request, const std::string& path) {
  EngineOptions options = request.model.engine;
  options.path = path;
  const std::unique_ptr<Engine> engine = load_engine(request.model.model, options);
  std::vector<std::int32_t> prompt;
  for (std::int64_t i = 0; i < request.prompt; ++i)
    prompt.push_back(static_cast<std::int32_t>(
        rng_below(1, static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(engine->config().vocab))));
  return {path, measure_decode(*engine, prompt, request.tokens)};
}

Json json_of(const Row& row, double stream) {
  Json out;
  out["path"] = row.path;
  out["tokens_per_s"] = row.speed.tokens_per_s;
  out["prefill_tokens_per_s"] = row.speed.prefill_tokens_per_s;
  out["bytes_per_token"] = row.speed.bytes_per_token;
  out["gb_per_s"] = row.speed.bytes_per_s() / 1e9;
  out["share_of_stream"] = row.speed.bytes_per_s() / stream;
  out["up_rows"] = row.speed.up_rows;
  out["down_rows"] = row.speed.down_rows;
  out["ffn_sparsity"] = row.speed.ffn_sparsity;
  return out;
}

std::string table_of(const std::vector<Row>& rows, double stream) {
  std::string out =
      "| path | tokens/s | prefill tokens/s | MB/token | GB/s | % of stream | up rows | down rows | "
      "FFN zeros |\n|---|---|---|---|---|---|---|---|---|\n";
  for (const auto& [path, speed] : rows)
    out += fmt::format("| {} | {:.1f} | {:.0f} | {:.1f} | {:.1f} | {:.0f} | {:.0f} | {:.0f} | {:.1f} % |\n",
                       path, speed.tokens_per_s, speed.prefill_tokens_per_s, speed.bytes_per_token / 1e6,
                       speed.bytes_per_s() / 1e9, 100 * speed.bytes_per_s() / stream, speed.up_rows,
                       speed.down_rows, 100 * speed.ffn_sparsity);
  return out + fmt::format("\nmemory read stream: {:.1f} GB/s\n", stream / 1e9);
}

int run_bench(const std::vector<std::string>& arguments) {
  Request request;
  Options options("bench", "decoding speed, dense and sparse", "lacuna bench -m MODEL");
  options.flag("model,m", request.model.model, "HF folder, exported folder, llama2.c file, checkpoint or run")
      .flag("threads", request.model.engine.threads, "CPU threads; 0 = as many as this process may run on")
      .flag("prompt-tokens", request.prompt, "random tokens that are run first")
      .flag("max-tokens,n", request.tokens, "tokens to decode; the median counts")
      .flag("stream-mib", request.stream_mib, "memory that the read stream walks through")
      .flag("json", request.json, "print one JSON object");
  if (!options.parse(arguments)) return 0;
  options.require("model");
  if (request.prompt < 1 || request.tokens < 1)
    options.problem("--prompt-tokens and --max-tokens start at 1");
  if (request.stream_mib < 1 || request.stream_mib > 65536)
    options.problem("--stream-mib goes from 1 to 65536");
  options.finish();
  const double stream =
      read_stream(request.model.engine.threads, static_cast<std::size_t>(request.stream_mib) << 20, 5);
  std::vector<Row> rows = {measure(request, "dense")};
  if (load_engine(request.model.model, {1})->config().activation != Activation::Silu)
    rows.push_back(measure(request, "sparse"));
  if (!request.json) {
    print_text(table_of(rows, stream));
    return 0;
  }
  Json out;
  out["stream_gb_per_s"] = stream / 1e9;
  out["rows"] = Json::array();
  for (const Row& row : rows) out["rows"].push_back(json_of(row, stream));
  print_json(out, "lacuna.bench/1");
  return 0;
}

}  // namespace

extern const Verb bench_verb;
const Verb bench_verb = {"bench", "decoding speed, dense and sparse", "lacuna bench -m MODEL", run_bench};

}  // namespace lacuna
