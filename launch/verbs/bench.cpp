// lacuna bench: decoding speed of the dense and the sparse path against the memory's measured read speed, of
// a model or of random weights of any shape, share of zeros and cut into experts.
#include <unistd.h>

#include <algorithm>
#include <numeric>

#include "launch/output.h"
#include "launch/verb.h"
#include "launch/verbs/bench_table.h"
#include "launch/verbs/model_flags.h"
#include "src/arch/parameters.h"
#include "src/arch/presets.h"
#include "src/base/error.h"
#include "src/base/fields.h"
#include "src/base/log.h"
#include "src/base/rng.h"
#include "src/infer/cuda/cuda_inference.h"

namespace lacuna {

namespace {

struct Request {
  ModelFlags model;
  std::string arch, activation = "drelu";
  std::vector<std::string> zeros;
  std::int64_t experts = 0, shared = 0, active = 0;  // equal parts of an FFN; experts 0: as --arch says
  std::int64_t prompt = 64, tokens = 64, stream_mib = 0;
  bool csv = false, json = false;
};

std::vector<std::int32_t> random_prompt(const Request& request, std::int64_t vocab) {
  std::vector<std::int32_t> out;
  for (std::int64_t i = 0; i < request.prompt; ++i)
    out.push_back(static_cast<std::int32_t>(
        rng_below(1, static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(vocab))));
  return out;
}

// ---- a model

// Returns the model's config.
ModelConfig measure_model(const Request& request, const std::string& path, BenchTable& table) {
  EngineOptions options = request.model.engine;
  options.path = path;
  const std::unique_ptr<Engine> engine = load_engine(request.model.model, request.model, options);
  table.rows.push_back(
      {path, measure_decode(*engine, random_prompt(request, engine->config().vocab), request.tokens)});
  return engine->config();
}

ModelConfig bench_model(const Request& request, BenchTable& table) {
  const ModelConfig config = measure_model(request, "dense", table);
  if (config.activation != Activation::Silu || config.is_routed()) measure_model(request, "sparse", table);
  return config;
}

// ---- random weights

// As carving cuts an FFN: so many equal parts, of which the first ones are always on.
RoutedFfn routed_of(const Request& request, std::int64_t ffn) {
  LACUNA_CHECK(request.experts <= ffn, ErrorKind::Usage, "{} experts in an FFN of {} neurons",
               request.experts, ffn);
  const std::vector<std::int64_t> sizes = even_sizes(ffn, request.experts, 1);
  const auto first = sizes.begin() + static_cast<std::ptrdiff_t>(request.shared);
  RoutedFfn out;
  out.experts = request.experts - request.shared;
  out.active = {request.active};
  out.shared = {std::accumulate(sizes.begin(), first, std::int64_t{0})};
  out.neurons.assign(first, sizes.end());
  return out;
}

ModelConfig arch_of(const Request& request, Activation activation) {
  ModelConfig config = read_arch(request.arch);
  if (config.vocab == 0) config.vocab = 32000;
  config.activation = activation;
  if (request.experts > 0) config.routed = routed_of(request, config.ffn);
  config.complete_and_check("--arch " + request.arch);
  return config;
}

std::vector<double> curve(const Request& request) {
  if (request.zeros.empty()) return {0.75, 0.8, 0.85, 0.9, 0.95, 0.975};
  std::vector<double> out;
  for (const std::string& text : request.zeros) {
    double share = 0;
    with_context("reading --zeros", [&] { from_text(text, share); });
    LACUNA_CHECK(share >= 0 && share <= 1, ErrorKind::Usage, "--zeros {}: wanted shares from 0 to 1", text);
    out.push_back(share);
  }
  return out;
}

void check_host_memory(const ModelConfig& config, DType dtype) {
  const double wanted = static_cast<double>(parameter_count(config)) * static_cast<double>(size_of(dtype));
  const double there =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGE_SIZE));
  LACUNA_CHECK(
      wanted < 0.8 * there, ErrorKind::NoFit,
      "random weights of {:.1f} GB do not fit into {:.1f} GB of memory; a smaller --arch, or --device cuda",
      wanted / 1e9, there / 1e9);
}

std::unique_ptr<RandomModel> make_model(const Request& request, const ModelConfig& config, const char* path) {
  const DType dtype = request.model.dtype == "fp32" ? DType::F32 : DType::BF16;
  const std::int64_t context = std::min(config.max_positions, request.prompt + request.tokens);
  if (request.model.on_gpu(config))
    return make_random_gpu_model(config, request.model.gpu_options(), path, context);
  check_host_memory(config, dtype);
  return make_random_model(config, dtype, path, request.model.engine.threads, context);
}

DecodeSpeed measure_random(const Request& request, const ModelConfig& config, RandomModel& model) {
  return measure_decode({model.backend(), model.context(),
                         [&](double up, double down) { return model.bytes_per_token(up, down); }},
                        random_prompt(request, config.vocab), request.tokens);
}

ModelConfig bench_routed(const Request& request, const ModelConfig& config, BenchTable& table) {
  log_info("{}: random weights, routed", request.arch);
  const std::unique_ptr<RandomModel> model = make_model(request, config, "sparse");
  table.rows.push_back({"routed", measure_random(request, config, *model)});
  return config;
}

// The dense row is the silu model of the shape: what a user would run instead.
ModelConfig bench_arch(const Request& request, BenchTable& table) {
  const std::vector<double> shares = curve(request);
  const ModelConfig shape = arch_of(request, Activation::Silu);
  ModelConfig dense = shape;
  dense.routed = {};
  {
    log_info("{}: random weights, dense", request.arch);
    const std::unique_ptr<RandomModel> model = make_model(request, dense, "dense");
    table.rows.push_back({"dense", measure_random(request, dense, *model)});
  }
  if (shape.is_routed()) return bench_routed(request, shape, table);
  const Activation activation = parse_activation(request.activation);
  if (activation == Activation::Silu) return dense;
  const ModelConfig sparse = arch_of(request, activation);
  log_info("{}: random weights, {}", request.arch, request.activation);
  const std::unique_ptr<RandomModel> model = make_model(request, sparse, "sparse");
  for (const double zeros : shares) {
    model->set_zeros(zeros);
    table.rows.push_back(
        {fmt::format("{} {:g} %", request.activation, 100 * zeros), measure_random(request, sparse, *model)});
  }
  return dense;
}

// ---- the verb

void declare(Request& request, Options& options) {
  options.flag("model,m", request.model.model, "HF folder, exported folder, llama2.c file, checkpoint or run")
      .flag("arch", request.arch, "random weights of this shape instead: a preset or an INI file")
      .flag("activation", request.activation, "of random weights: silu | relu | drelu")
      .flag("zeros", request.zeros, "shares of FFN zeros of random weights, e.g. 0.8 0.9; none: a curve")
      .flag("experts", request.experts,
            "random weights as carved: equal parts of each FFN, shared ones included")
      .flag("shared", request.shared, "of them, parts that are always on")
      .flag("active", request.active, "of the others, parts that a linear router has on for a token");
  request.model.declare_device(options);
  options.flag("prompt-tokens", request.prompt, "random tokens that are run first")
      .flag("max-tokens,n", request.tokens, "tokens to decode; the median counts")
      .flag("stream-mib", request.stream_mib,
            "memory that the read stream walks through; 0 = 512, on a GPU 16384 or half of what is free")
      .flag("csv", request.csv, "comma-separated values instead of a table")
      .flag("json", request.json, "print one JSON object");
}

void check(const Request& request, Options& options) {
  if (request.model.model.empty() == request.arch.empty())
    options.problem("give either -m MODEL or --arch PRESET");
  if (request.prompt < 1 || request.tokens < 1)
    options.problem("--prompt-tokens and --max-tokens start at 1");
  if (request.stream_mib < 0 || request.stream_mib > 65536)
    options.problem("--stream-mib goes from 1 to 65536");
  if (request.arch.empty() && (options.given("zeros") || options.given("activation")))
    options.problem("--zeros and --activation are for --arch; a model has its own");
  const bool carved = options.given("experts") || options.given("shared") || options.given("active");
  if (request.arch.empty() && carved) options.problem("--experts, --shared and --active are for --arch");
  if (carved && (request.shared < 0 || request.active < 0 || request.experts <= request.shared ||
                 request.active > request.experts - request.shared))
    options.problem(
        "--experts, --shared and --active: wanted more parts than shared ones, and no more active "
        "than the others");
  if (carved && (options.given("zeros") || options.given("activation")))
    options.problem("--experts is for silu: without --zeros and --activation");
  options.finish();
}

int run_bench(const std::vector<std::string>& arguments) {
  Request request;
  Options options("bench", "decoding speed, dense and sparse", "lacuna bench -m MODEL");
  declare(request, options);
  if (!options.parse(arguments)) return 0;
  check(request, options);
  BenchTable table;
  table.model = request.arch.empty() ? request.model.model : request.arch;
  table.prompt = request.prompt;
  const ModelConfig config = request.arch.empty() ? bench_model(request, table) : bench_arch(request, table);
  const bool gpu = request.model.on_gpu(config);
  const std::size_t bytes = request.stream_mib > 0 ? static_cast<std::size_t>(request.stream_mib) << 20
                            : gpu                  ? gpu_stream_bytes()
                                                   : std::size_t{512} << 20;
  table.device = gpu ? gpu_name() : "cpu";
  table.stream = gpu ? gpu_read_stream(bytes, 9) : read_stream(request.model.engine.threads, bytes, 5);
  if (request.json)
    print_json(json_of(table), "lacuna.bench/1");
  else
    print_text(request.csv ? csv_of(table) : markdown_of(table));
  return 0;
}

}  // namespace

extern const Verb bench_verb;
const Verb bench_verb = {"bench", "decoding speed, dense and sparse",
                         "lacuna bench --arch mistral-7b --activation drelu --zeros 0.9 --device cuda",
                         run_bench};

}  // namespace lacuna
