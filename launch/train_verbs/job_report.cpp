#include "launch/train_verbs/job_report.h"

#include "launch/output.h"
#include "src/arch/parameters.h"
#include "src/base/log.h"
#include "src/checkpoint/status_file.h"
#include "src/train/throughput.h"

namespace lacuna {

namespace {

void report_gpu_memory(const std::vector<GpuMemory>& gpus) {
  for (const GpuMemory& gpu : gpus)
    log_info("GPU of rank {}{}: {} predicted, {} measured ({:+.1f} %)", gpu.first_rank,
             gpu.ranks > 1 ? fmt::format(" and {} more", gpu.ranks - 1) : "",
             short_bytes(static_cast<double>(gpu.predicted)), short_bytes(static_cast<double>(gpu.measured)),
             100 * (static_cast<double>(gpu.measured) / static_cast<double>(gpu.predicted) - 1));
}

Json result_json(const TrainResult& result, const Json& report, const std::vector<GpuMemory>& gpus) {
  Json json;
  for (const GpuMemory& gpu : gpus)
    json["gpu_memory"].push_back({{"first_rank", gpu.first_rank},
                                  {"ranks", gpu.ranks},
                                  {"predicted", gpu.predicted},
                                  {"measured", gpu.measured}});
  if (!report.empty()) json["report"] = report;
  json["steps"] = result.steps;
  json["first_step"] = result.first_step;
  json["loss"] = result.loss;
  json["grad_norm"] = result.grad_norm;
  json["valid_loss"] = result.valid_loss;
  json["ffn_zeros_per_layer"] = result.zeros_per_layer;
  json["skipped"] = result.skipped;
  json["stopped"] = result.stopped;
  json["tokens_per_s"] = result.tokens_per_s;
  json["content_hash"] = result.content_hash;
  json["checkpoint"] = result.checkpoint;
  return json;
}

}  // namespace

void report_start(const TrainingJob& job, const std::string& parent, const ModelConfig& child,
                  const ParallelContext& context) {
  const int ranks = context.world.size();
  log_info("{}: {}, {} parameters, {} x {} tokens a step on {} rank{} (pp {}, tp {}, dp {}), {} on {}",
           job.verb, parent, short_count(static_cast<double>(parameter_count(child))),
           job.options.global_batch, job.options.seq_len, ranks, ranks == 1 ? "" : "s", context.topology.pp,
           context.topology.tp, context.topology.dp, job.options.dtype, context.device_text());
}

void report_teacher(const std::string& description, const ModelConfig& config, double share) {
  log_info("teacher: {}, {} parameters, {:g} of the loss", description,
           short_count(static_cast<double>(parameter_count(config))), share);
}

void report_memory(const std::vector<RankBytes>& stages) {
  const auto text = [](std::size_t bytes) { return short_bytes(static_cast<double>(bytes)); };
  for (std::size_t stage = 0; stage < stages.size(); ++stage) {
    const RankBytes& m = stages[stage];
    log_info(
        "stage {}: {} a rank = weights {} + gradients {} + optimizer {} + stashes {} + guests {} + "
        "boundaries {} + workspace {}{}",
        stage, text(m.total()), text(m.weights), text(m.gradients), text(m.optimizer), text(m.own_stashes),
        text(m.guest_area), text(m.boundaries), text(m.workspace),
        m.teacher ? " + teacher " + text(m.teacher) : "");
  }
}

void report_end(const TrainingJob& job, const TrainResult& result, const Json& report,
                const std::vector<GpuMemory>& gpus, int code) {
  report_gpu_memory(gpus);
  write_status(job.out, {code, result.steps, result.checkpoint,
                         result.stopped ? "stopped on request, saved" : "done"});
  if (job.json)
    print_json(result_json(result, report, gpus), "lacuna.train.v1");
  else if (result.checkpoint.empty())
    log_info("{} steps done, nothing saved", result.steps);
  else
    log_info("{} steps done; {}\nnext: lacuna export -m {} -o MODEL", result.steps, result.checkpoint,
             job.out);
}

}  // namespace lacuna
