#include "tests/train/support/small_run.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "launch/train_verbs/planned_training.h"
#include "parallel/run/local_communicator.h"
#include "src/base/rng.h"
#include "src/model/cuda/ops.h"

namespace lacuna::test {

ModelConfig small_model() {
  ModelConfig config;
  config.hidden = 32;
  config.ffn = 48;
  config.layers = 9;
  config.heads = 8;
  config.kv_heads = 2;
  config.head_dim = 6;  // heads · head_dim is not hidden
  config.vocab = 37;
  config.tied_embeddings = true;
  config.complete_and_check("small model");
  return config;
}

ModelConfig small_teacher() {
  ModelConfig config = small_model();
  config.layers = 5;
  config.hidden = 24;
  config.ffn = 40;
  config.complete_and_check("small teacher");
  return config;
}

SlabSource weights_by_element(const ModelConfig& config, const ElementValue& value) {
  return [config, value](const std::string& name, const Slab& slab, DType dtype, void* dst) {
    for (const Parameter& p : parameters(config)) {
      if (p.name != name) continue;
      const bool matrix = p.shape.size() > 1;
      const std::int64_t cols = matrix ? p.shape[1] : 1, run = matrix ? slab.extent[1] : 1;
      std::size_t to = 0;
      for (std::int64_t r = 0; r < slab.extent[0]; ++r)
        for (std::int64_t c = 0; c < run; ++c) {
          const double element = value(p, (slab.offset[0] + r) * cols + (matrix ? slab.offset[1] : 0) + c);
          if (dtype == DType::F64)
            static_cast<double*>(dst)[to++] = element;
          else
            static_cast<float*>(dst)[to++] = static_cast<float>(element);
        }
    }
  };
}

SlabSource made_up_weights(const ModelConfig& config) {
  return weights_by_element(config, [](const Parameter& p, std::int64_t at) {
    const double mean = p.shape.size() > 1 ? 0.0 : 1.0;
    return mean + 0.2 * rng_normal(rng_key(17, p.name), static_cast<std::uint64_t>(at));
  });
}

TrainOptions small_options(int pp, int tp, int dp) {
  TrainOptions options;
  options.pp = pp;
  options.tp = tp;
  options.dp = dp;
  options.dtype = "fp64";
  options.device = "cpu";
  options.seq_len = 8;
  options.micro_batch = 1;
  options.global_batch = 8;
  options.lr = 3e-3;
  options.seed = 5;
  return options;
}

StepBatch MadeUpBatches::batch(std::int64_t first_sample, std::int64_t sequences) const {
  StepBatch out;
  out.micros = static_cast<int>(sequences / (options_.micro_batch * options_.dp));
  const std::uint64_t key = rng_key(options_.seed, "made-up tokens");
  for (std::int64_t micro = 0; micro < out.micros; ++micro)
    for (std::int64_t k = 0; k < options_.micro_batch; ++k) {
      const std::int64_t sample = first_sample + (micro * options_.dp + dp_rank_) * options_.micro_batch + k;
      const auto token = [&](std::int64_t at) {
        const auto index = static_cast<std::uint64_t>(sample * 1000 + at / 2);  // pairs: something to learn
        return static_cast<std::int32_t>(
            (rng_below(key, index, static_cast<std::uint64_t>(vocab_)) + static_cast<std::uint64_t>(at % 2)) %
            static_cast<std::uint64_t>(vocab_));
      };
      for (std::int64_t at = 0; at < options_.seq_len; ++at) {
        out.tokens.push_back(token(at));
        out.targets.push_back(sample % 3 == 1 && at == 2 ? -1 : token(at + 1));  // some are not scored
      }
    }
  return out;
}

StepBatch MadeUpBatches::train(std::int64_t step) const {
  return batch(step * options_.global_batch, options_.global_batch);
}
StepBatch MadeUpBatches::validation(std::int64_t sequences) const {
  return batch(1 << 20, sequences);
}

std::vector<std::vector<std::int32_t>> MadeUpBatches::probe_sequences(int count, std::int64_t length) const {
  std::vector<std::vector<std::int32_t>> out(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i)
    for (std::int64_t at = 0; at < length; ++at)
      out[static_cast<std::size_t>(i)].push_back(static_cast<std::int32_t>((i * 11 + at * 3) % vocab_));
  return out;
}

namespace {

void put(GlobalTensors& global, const OwnedPart& part, const at::Tensor& tensor, DType dtype) {
  const at::Tensor host = tensor.to(at::kCPU);
  const void* data = host.const_data_ptr();
  const std::vector<std::int64_t>& shape = part.parameter->spec.shape;
  std::vector<double>& whole = global[part.parameter->spec.name];
  whole.resize(static_cast<std::size_t>(part.parameter->spec.elements()));
  const std::int64_t cols = shape.size() > 1 ? shape[1] : 1;
  const std::int64_t run = shape.size() > 1 ? part.slab.extent[1] : 1,
                     left = shape.size() > 1 ? part.slab.offset[1] : 0;
  std::size_t from = 0;
  for (std::int64_t r = 0; r < part.slab.extent[0]; ++r)
    for (std::int64_t c = 0; c < run; ++c)
      whole[static_cast<std::size_t>((part.slab.offset[0] + r) * cols + left + c)] =
          load_as_double(data, dtype, from++);
}

}  // namespace

void add_weights(GlobalTensors& global, ModelRunner& runner) {
  for (const OwnedPart& part : runner.optimizer().owned_parts())
    if (part.writes) put(global, part, part.master, runner.optimizer().accumulation());
}

void run_rank(Communicator& world, const TrainOptions& options, int steps, const ModelConfig& config,
              RunNumbers& out, std::mutex& mutex) {
  at::set_num_threads(1);
  Progress progress;
  world.report_to(&progress);
  ParallelContext context(world, {options.pp, options.tp, options.dp}, progress, options.device);
  if (context.model_device.is_cuda()) on_cuda::set_deterministic(options.deterministic);
  ModelRunner runner(context, options, config);
  runner.initialise(options.seed);
  if (options.distil > 0)
    runner.distil_from(small_teacher(), made_up_weights(small_teacher()), options.distil);
  const MadeUpBatches batches(options, config.vocab, context.place.dp);
  for (int step = 0; step < steps; ++step) {
    StepBatch batch = batches.train(step);
    batch.l1 = options.l1;
    batch.l1_knee = options.l1_knee;
    const StepNumbers numbers = runner.accumulate(std::move(batch), {});
    if (step == 0) {
      const std::lock_guard lock(mutex);
      for (const OwnedPart& part : runner.optimizer().owned_parts())
        if (part.writes) put(out.first_gradients, part, part.grad, runner.optimizer().accumulation());
    }
    runner.update(options.lr, options.clip, numbers.grad_norm, step + 1);
    if (world.rank() == 0) {
      out.loss.push_back(numbers.loss);
      out.norm.push_back(numbers.grad_norm);
      out.divergence.push_back(numbers.divergence);
    }
  }
  const RankBytes held = runner.memory()[static_cast<std::size_t>(context.place.pp)];
  const ExecutorStats stats = runner.stats();
  runner.close();
  context.close();
  world.report_to(nullptr);  // the progress word ends here, an MPI world goes on
  const std::lock_guard lock(mutex);
  add_weights(out.weights, runner);
  out.stats.resize(static_cast<std::size_t>(world.size()));
  out.memory.resize(static_cast<std::size_t>(world.size()));
  out.stats[static_cast<std::size_t>(world.rank())] = stats;
  out.memory[static_cast<std::size_t>(world.rank())] = held;
  if (world.rank() == 0) {
    const ModelConfig teacher = small_teacher();
    out.planned = predict_memory(options, config, context.model_device.is_cuda(),
                                 options.distil > 0 ? &teacher : nullptr);
  }
}

RunNumbers run_layout(const TrainOptions& options, int steps, const ModelConfig& config) {
  RunNumbers out;
  std::mutex mutex;
  run_local(options.pp * options.tp * options.dp,
            [&](Communicator& world, int) { run_rank(world, options, steps, config, out, mutex); });
  return out;
}

double largest_difference(const GlobalTensors& a, const GlobalTensors& b) {
  double largest = a.size() == b.size() ? 0 : std::numeric_limits<double>::infinity();
  for (const auto& [name, wanted] : b) {
    const auto found = a.find(name);
    if (found == a.end() || found->second.size() != wanted.size())
      return std::numeric_limits<double>::infinity();
    double difference = 0, size = 0;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      difference = std::max(difference, std::fabs(found->second[i] - wanted[i]));
      size = std::max(size, std::fabs(wanted[i]));
    }
    if (difference > 0 || size > 0) largest = std::max(largest, difference / size);
  }
  return largest;
}

bool same_bits(const GlobalTensors& a, const GlobalTensors& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [name, wanted] : b) {
    const auto found = a.find(name);
    if (found == a.end() || found->second.size() != wanted.size()) return false;
    if (std::memcmp(found->second.data(), wanted.data(), wanted.size() * sizeof(double)) != 0) return false;
  }
  return true;
}

}  // namespace lacuna::test
