// lacuna plan: what a pipeline schedule does before anything runs: grid, bubble, stashes, bytes per rank.
#include <algorithm>
#include <cmath>
#include <optional>

#include "launch/options.h"
#include "launch/output.h"
#include "launch/plan_memory.h"
#include "launch/verb.h"
#include "parallel/plan/make_schedule.h"
#include "parallel/plan/simulate.h"
#include "parallel/plan/text.h"
#include "parallel/plan/topology.h"
#include "parallel/plan/trace.h"
#include "src/arch/parameters.h"
#include "src/arch/presets.h"
#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/log.h"
#include "src/convert/checkpoint_source.h"

namespace lacuna {
namespace {

struct Request {
  std::string schedule = "1f1b", bpipe = "off", model, arch, dtype = "fp32", trace;
  int pp = 4, micro_batches = 8, pieces = 1, columns = 160;
  Costs costs;
  int tp = 1, dp = 1;
  std::int64_t micro_batch = 1, seq_len = 256, vocab = 0;
  bool split_backward = false, recompute = false, json = false;
  std::string device = "cpu";
  std::vector<std::int64_t> cuts;

  bool has_model() const { return !model.empty() || !arch.empty(); }
};

void declare(Options& options, Request& r) {
  options.flag("schedule", r.schedule, "1f1b | gpipe")
      .flag("bpipe", r.bpipe, "off | tight | loose: balance stashes between paired stages")
      .flag("split-backward", r.split_backward,
            "gradients of inputs and of weights as two actions: the stage before waits for the first only")
      .flag("pp", r.pp, "pipeline stages")
      .flag("micro-batches", r.micro_batches, "micro-batches of a step")
      .flag("pieces", r.pieces, "pieces of a stash that BPipe moves one by one")
      .flag("tf", r.costs.forward, "time of a forward of one micro-batch on one stage")
      .flag("tb", r.costs.backward, "time of a backward; its two halves take half of it each")
      .flag("tau", r.costs.move, "time to move one stash to the paired stage or back")
      .flag("latency", r.costs.latency, "time of a transfer between stages")
      .flag("duplex", r.costs.duplex, "a stash may leave while another comes back")
      .flag("arch", r.arch, "model whose bytes are planned: an INI file or a preset's name")
      .flag("model,m", r.model, "the same from a model folder, checkpoint or run")
      .flag("vocab", r.vocab, "vocabulary, where --arch leaves it open")
      .flag("tp", r.tp, "tensor-parallel ranks")
      .flag("dp", r.dp, "data-parallel replicas")
      .flag("cuts", r.cuts, "layers of each stage, e.g. 3,5,4; none = even")
      .flag("micro-batch", r.micro_batch, "sequences of a micro-batch")
      .flag("seq-len", r.seq_len, "tokens of a sequence")
      .flag("dtype", r.dtype, "fp64 | fp32 | bf16")
      .flag("device", r.device, "cpu | cuda: whose workspace is counted")
      .flag("recompute", r.recompute, "keep only block inputs, run blocks forward again in the backward")
      .flag("trace", r.trace, "write a trace for Perfetto or chrome://tracing to this file")
      .flag("columns", r.columns, "width of the printed grid; 0 = all of it")
      .flag("json", r.json, "one JSON object on stdout");
}

void check_schedule(Options& options, const Request& r) {
  constexpr std::int64_t kMaxCells = 1 << 20;
  const auto one_of = [&](const char* flag, const std::string& value,
                          const std::vector<std::string>& allowed) {
    if (std::find(allowed.begin(), allowed.end(), value) == allowed.end())
      options.problem(fmt::format("--{} {}: wanted {}", flag, printable(value), fmt::join(allowed, ", ")));
  };
  one_of("schedule", r.schedule, {"1f1b", "gpipe"});
  one_of("bpipe", r.bpipe, {"off", "tight", "loose"});
  one_of("device", r.device, {"cpu", "cuda"});
  const auto positive = [&](const char* flag, std::int64_t value) {
    if (value < 1) options.problem(fmt::format("--{} {}: wanted at least 1", flag, value));
    return value >= 1;
  };
  bool sized = positive("pp", r.pp);
  sized = positive("micro-batches", r.micro_batches) && sized;
  sized = positive("pieces", r.pieces) && sized;
  // Two steps, so that the product cannot overflow.
  const std::int64_t cells = static_cast<std::int64_t>(r.pp) * r.micro_batches;
  if (sized && (cells > kMaxCells || cells * r.pieces > kMaxCells))
    options.problem(fmt::format("--pp {} x --micro-batches {} x --pieces {}: wanted at most {} together",
                                r.pp, r.micro_batches, r.pieces, kMaxCells));
  const auto time = [&](const char* flag, double value, bool zero) {
    if (!std::isfinite(value) || value < 0 || (value == 0 && !zero))
      options.problem(fmt::format("--{} {}: wanted a time {} 0", flag, value, zero ? "from" : "above"));
  };
  time("tf", r.costs.forward, false), time("tb", r.costs.backward, false);
  time("tau", r.costs.move, true), time("latency", r.costs.latency, true);
  if (r.split_backward && r.recompute)
    options.problem(
        "--split-backward and --recompute exclude each other: recomputing makes both gradients at once");
  if (r.columns < 0 || (r.columns > 0 && r.columns < 20))
    options.problem(fmt::format("--columns {}: wanted 0 or at least 20", r.columns));
}

ModelConfig model_config(const Request& r) {
  if (!r.model.empty()) return open_any_model(r.model).config();
  ModelConfig config = read_arch(r.arch);
  if (r.vocab > 0) config.vocab = r.vocab;
  LACUNA_CHECK(config.vocab > 0, ErrorKind::Usage, "--arch {}: leaves the vocabulary open, give --vocab",
               printable(r.arch));
  config.complete_and_check(r.arch);
  return config;
}

// The part of the request that speaks of bytes; none without a model.
std::optional<PlannedRun> check_run(Options& options, const Request& r) {
  if (!r.model.empty() && !r.arch.empty()) options.problem("--model and --arch: give one of them");
  if (!r.has_model()) {
    for (const char* flag :
         {"tp", "dp", "cuts", "micro-batch", "seq-len", "dtype", "recompute", "device", "vocab"})
      if (options.given(flag)) options.problem(fmt::format("--{}: needs --arch or --model", flag));
    return std::nullopt;
  }
  PlannedRun run;
  const auto collect = [&](auto&& body) {
    try {
      body();
      return true;
    } catch (const Error& error) {
      options.problem(error.what());
      return false;
    }
  };
  for (const auto& [flag, value] : {std::pair<const char*, std::int64_t>{"tp", r.tp},
                                    {"dp", r.dp},
                                    {"micro-batch", r.micro_batch},
                                    {"seq-len", r.seq_len}})
    if (value < 1 || value > (1 << 24))
      options.problem(fmt::format("--{} {}: wanted 1 to {}", flag, value, 1 << 24));
  collect([&] { run.shape.compute = parse_dtype(r.dtype); });
  if (run.shape.compute != DType::F64 && run.shape.compute != DType::F32 && run.shape.compute != DType::BF16)
    options.problem(fmt::format("--dtype {}: wanted fp64, fp32 or bf16", r.dtype));
  run.shape.sequences = r.micro_batch, run.shape.seq_len = r.seq_len, run.shape.tp = r.tp, run.dp = r.dp;
  run.stash = r.recompute ? StashKind::Recompute : StashKind::Full;
  run.cuda = r.device == "cuda";
  for (const std::int64_t layers : r.cuts)
    run.cuts.push_back(static_cast<int>(std::clamp<std::int64_t>(layers, -1, 1 << 24)));
  if (!collect([&] { run.model = model_config(r); }) || r.tp < 1 || r.pp < 1) return run;
  for (const std::string& problem : tp_problems(run.model, r.tp)) options.problem(problem);
  if (run.shape.tokens() % r.tp != 0)
    options.problem(
        fmt::format("--tp {}: {} tokens of a micro-batch do not divide by it", r.tp, run.shape.tokens()));
  collect([&] { cut_layers(static_cast<int>(run.model.layers), r.pp, run.cuts); });
  return run;
}

std::string number(double value) {
  return to_text(std::round(value * 1e6) / 1e6);
}

std::string peaks(const Simulation& simulation) {
  std::string text;
  for (const double peak : simulation.peak_stashes) text += (text.empty() ? "" : " ") + number(peak);
  return text;
}

std::string memory_table(const std::vector<RankBytes>& memory) {
  std::string text =
      fmt::format("\nMiB        {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}\n", "weights",
                  "gradients", "optimizer", "stashes", "guests", "boundaries", "workspace", "total");
  const auto mib = [](std::size_t bytes) { return static_cast<double>(bytes) / (1 << 20); };
  for (std::size_t rank = 0; rank < memory.size(); ++rank) {
    const RankBytes& b = memory[rank];
    text += fmt::format(
        "stage {:<4} {:>10.2f} {:>10.2f} {:>10.2f} {:>10.2f} {:>10.2f} {:>10.2f} {:>10.2f} {:>10.2f}\n", rank,
        mib(b.weights), mib(b.gradients), mib(b.optimizer), mib(b.own_stashes), mib(b.guest_area),
        mib(b.boundaries), mib(b.workspace), mib(b.total()));
  }
  return text;
}

void print_plan(const Request& r, const Schedule& schedule, const Simulation& run,
                const std::vector<RankBytes>& memory) {
  std::string text = fmt::format("{}, {} stages, {} micro-batches: legal, no deadlock without buffering\n\n",
                                 schedule.name, r.pp, r.micro_batches);
  for (const std::string& line : grid(schedule, run.times, r.columns == 0 ? 1 << 30 : r.columns))
    text += line + "\n";
  text += fmt::format("\nbubble {:.2f} %, makespan {}, peak stashes by rank {}\n", 100 * run.bubble,
                      number(run.makespan), peaks(run));
  if (r.bpipe != "off") {
    const Simulation plain = simulate(
        make_schedule(r.schedule, r.pp, r.micro_batches, "off", r.pieces, r.split_backward), r.costs);
    text += fmt::format(
        "{} evictions, {:.2f} a micro-batch; costs {:+.2f} %: without BPipe makespan {}, peaks {}\n",
        run.evictions, static_cast<double>(run.evictions) / r.micro_batches,
        100 * (run.makespan / plain.makespan - 1), number(plain.makespan), peaks(plain));
  }
  print_text(memory.empty() ? text : text + memory_table(memory));
}

Json memory_json(const std::vector<RankBytes>& memory) {
  Json list = Json::array();
  for (const RankBytes& b : memory)
    list.push_back({{"weights", b.weights},
                    {"gradients", b.gradients},
                    {"optimizer", b.optimizer},
                    {"own_stashes", b.own_stashes},
                    {"guest_area", b.guest_area},
                    {"one_stash", b.one_stash},
                    {"boundaries", b.boundaries},
                    {"workspace", b.workspace},
                    {"total", b.total()}});
  return list;
}

void print_plan_json(const Request& r, const Schedule& schedule, const Simulation& run,
                     const std::vector<RankBytes>& memory) {
  Json out;
  out["schedule"] = schedule.name;
  out["pp"] = r.pp;
  out["micro_batches"] = r.micro_batches;
  out["pieces"] = r.pieces;
  out["bubble"] = run.bubble;
  out["makespan"] = run.makespan;
  out["peak_stashes"] = Json::array();
  for (const double peak : run.peak_stashes) {
    const bool whole = peak == std::floor(peak);
    out["peak_stashes"].push_back(whole ? Json(static_cast<std::int64_t>(peak)) : Json(peak));
  }
  out["evictions"] = run.evictions;
  out["grid"] = grid(schedule, run.times, 1 << 30);
  if (!memory.empty()) out["memory"] = memory_json(memory);
  print_json(out, "lacuna.plan/1");
}

int plan(const std::vector<std::string>& arguments) {
  Request r;
  Options options("plan", "schedule grid, bubble, stashes and bytes per rank; no GPU, no torch",
                  "lacuna plan --schedule 1f1b --bpipe tight --pp 8 --micro-batches 16");
  declare(options, r);
  if (!options.parse(arguments)) return 0;
  check_schedule(options, r);
  const std::optional<PlannedRun> planned = check_run(options, r);
  options.finish();
  const Schedule schedule =
      make_schedule(r.schedule, r.pp, r.micro_batches, r.bpipe, r.pieces, r.split_backward);
  const Simulation run = simulate(schedule, r.costs);
  const std::vector<RankBytes> memory =
      planned ? planned_memory(schedule, *planned) : std::vector<RankBytes>();
  if (!r.trace.empty()) {
    write_file_atomic(r.trace, trace_json(schedule, run.times));
    log_info("trace written to {}", printable(r.trace));
  }
  r.json ? print_plan_json(r, schedule, run, memory) : print_plan(r, schedule, run, memory);
  return 0;
}

}  // namespace

extern const Verb plan_verb;
const Verb plan_verb = {"plan", "schedule grid, bubble, stashes and bytes per rank, before anything runs",
                        "lacuna plan --schedule 1f1b --bpipe tight --pp 8 --micro-batches 16", plan};

}  // namespace lacuna
