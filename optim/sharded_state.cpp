#include "optim/sharded_state.h"

#include <ATen/ATen.h>

#include <map>
#include <optional>

#include "optim/cuda/fused_update.h"
#include "src/base/error.h"

namespace lacuna {

namespace {

std::size_t row_elements(const LocalParameter& p) {
  std::size_t n = 1;
  for (std::size_t d = 1; d < p.local.shape.size(); ++d) n *= static_cast<std::size_t>(p.local.shape[d]);
  return n;
}

// A stage's parameters and where each owner's rows of them lie.
struct Bucket {
  int stage = 0;
  std::vector<std::size_t> members;                 // indices into the parameter list
  std::vector<std::size_t> counts;                  // elements per data-parallel owner
  std::vector<std::vector<std::size_t>> place;      // [member][owner]: offset inside the owner's part
  std::size_t total = 0, first_mine = 0, mine = 0;  // elements; first_mine: start in the flat state
  // With data parallelism: gradients by owner, the owned weights in the compute type, all weights by owner.
  at::Tensor gradients, my_weights, weights;
};

}  // namespace

struct ShardedOptimizer::State {
  std::vector<LocalParameter>& parameters;
  OptimizerComms comms;
  AdamWOptions options;
  DType compute, accumulation;
  at::TensorOptions memory;  // of the state: accumulation type, the parameters' device
  std::vector<Bucket> buckets;
  std::vector<std::size_t> offset_mine;  // [parameter]: start of the owned rows in the flat state
  std::map<int, std::unique_ptr<Communicator>> replica_groups;  // key: number of replicas
  at::Tensor master, exp_avg, exp_avg_sq;                       // flat, the owned rows of all buckets
  at::Tensor summed;                                            // gradients; only with data parallelism
  std::optional<FusedUpdate> fused;                             // CUDA

  State(std::vector<LocalParameter>& p, const OptimizerComms& c, const AdamWOptions& o, DType type)
      : parameters(p),
        comms(c),
        options(o),
        compute(type),
        accumulation(type == DType::F64 ? DType::F64 : DType::F32) {
    LACUNA_ASSERT(!parameters.empty());
    memory = parameters.front().grad.options();
  }

  bool alone() const { return comms.dp->size() == 1; }
  // A tied copy beside its original shares the weight and needs no state of its own (with data parallelism it
  // has one, because its gradient is summed apart).
  bool has_state(std::size_t parameter) const {
    const LocalParameter& p = parameters[parameter];
    if (!p.tied_copy || !alone()) return true;
    for (const LocalParameter& other : parameters)
      if (!other.tied_copy && other.spec.name == p.spec.name) return false;
    return true;
  }
  RowRange rows_of(std::size_t parameter, int owner) const {
    if (!has_state(parameter)) return {0, 0};
    return owned_rows(parameters[parameter].local, owner, comms.dp->size());
  }
  std::size_t owned_elements(std::size_t parameter, int owner) const {
    const RowRange rows = rows_of(parameter, owner);
    return static_cast<std::size_t>(rows.end - rows.begin) * row_elements(parameters[parameter]);
  }
  // The owned rows of a parameter: in a flat state tensor, or in a tensor of the parameter itself.
  at::Tensor mine(const at::Tensor& flat, std::size_t i) const {
    return flat.narrow(0, static_cast<std::int64_t>(offset_mine[i]),
                       static_cast<std::int64_t>(owned_elements(i, comms.dp->rank())));
  }
  at::Tensor rows(const at::Tensor& whole, std::size_t i, int owner) const {
    const RowRange range = rows_of(i, owner);
    return whole.narrow(0, range.begin, range.end - range.begin).view({-1});
  }
  at::Tensor grad_of(std::size_t i) const {
    return alone() ? rows(parameters[i].grad, i, 0) : mine(summed, i);
  }
  // A member's rows in one of the bucket's tensors by owner.
  at::Tensor in_bucket(const Bucket& bucket, const at::Tensor& by_owner, std::size_t member,
                       int owner) const {
    std::size_t start = bucket.place[member][static_cast<std::size_t>(owner)];
    for (int before = 0; before < owner; ++before) start += bucket.counts[static_cast<std::size_t>(before)];
    return by_owner.narrow(0, static_cast<std::int64_t>(start),
                           static_cast<std::int64_t>(owned_elements(bucket.members[member], owner)));
  }
  // Where the update leaves the owned weights in the compute type.
  at::Tensor new_weight(const Bucket& bucket, std::size_t member) const {
    const std::size_t i = bucket.members[member];
    if (alone()) return rows(parameters[i].weight, i, 0);
    return bucket.my_weights.narrow(
        0, static_cast<std::int64_t>(bucket.place[member][static_cast<std::size_t>(comms.dp->rank())]),
        static_cast<std::int64_t>(owned_elements(i, comms.dp->rank())));
  }

  void lay_out();
  void allocate(std::size_t flat_size);
  void fuse();
  void make_replica_groups();
  void sum_replicas(const Bucket& bucket);
  void reduce_bucket(const Bucket& bucket);
  void spread_weights(const Bucket& bucket);
};

void ShardedOptimizer::State::lay_out() {
  const int owners = comms.dp->size();
  std::map<int, std::size_t> bucket_of_stage;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto [at, fresh] = bucket_of_stage.try_emplace(parameters[i].stage, buckets.size());
    if (fresh) {
      buckets.push_back({});
      buckets.back().stage = parameters[i].stage;
      buckets.back().counts.assign(static_cast<std::size_t>(owners), 0);
    }
    Bucket& bucket = buckets[at->second];
    bucket.members.push_back(i);
    bucket.place.emplace_back();
    for (int owner = 0; owner < owners; ++owner) {
      bucket.place.back().push_back(bucket.counts[static_cast<std::size_t>(owner)]);
      bucket.counts[static_cast<std::size_t>(owner)] += owned_elements(i, owner);
    }
  }
  offset_mine.resize(parameters.size());
  std::size_t flat_size = 0;
  for (Bucket& bucket : buckets) {
    const std::size_t me = static_cast<std::size_t>(comms.dp->rank());
    for (std::size_t count : bucket.counts) bucket.total += count;
    bucket.first_mine = flat_size;
    bucket.mine = bucket.counts[me];
    for (std::size_t m = 0; m < bucket.members.size(); ++m)
      offset_mine[bucket.members[m]] = flat_size + bucket.place[m][me];
    flat_size += bucket.mine;
  }
  allocate(flat_size);
}

void ShardedOptimizer::State::allocate(std::size_t flat_size) {
  const auto flat = static_cast<std::int64_t>(flat_size);
  for (at::Tensor* each : {&master, &exp_avg, &exp_avg_sq}) *each = at::zeros({flat}, memory);
  if (alone()) return;
  summed = at::zeros({flat}, memory);
  for (Bucket& bucket : buckets) {
    const at::TensorOptions weights = parameters[bucket.members.front()].weight.options();
    bucket.gradients = at::empty({static_cast<std::int64_t>(bucket.total)}, memory);
    bucket.my_weights = at::empty({static_cast<std::int64_t>(bucket.mine)}, weights);
    bucket.weights = at::empty({static_cast<std::int64_t>(bucket.total)}, weights);
  }
}

void ShardedOptimizer::State::fuse() {
  if (!memory.device().is_cuda()) return;
  std::vector<UpdatePart> parts(parameters.size());
  for (const Bucket& bucket : buckets)
    for (std::size_t m = 0; m < bucket.members.size(); ++m) {
      const std::size_t i = bucket.members[m];
      const LocalParameter& p = parameters[i];
      parts[i] = {mine(master, i),
                  mine(exp_avg, i),
                  mine(exp_avg_sq, i),
                  grad_of(i),
                  new_weight(bucket, m),
                  !p.tied_copy && p.local.replica == 0,
                  p.spec.decays ? options.weight_decay : 0.0};
    }
  fused.emplace(parts, compute);
}

void ShardedOptimizer::State::make_replica_groups() {
  // Every rank of tp meets the same parameters in the same order, so the splits match.
  for (const LocalParameter& p : parameters) {
    const int replicas = p.local.replicas;
    if (replicas == 1 || replica_groups.count(replicas)) continue;
    replica_groups[replicas] =
        comms.tp->split(comms.tp->rank() / replicas, comms.tp->rank(), comms.tp->name() + " replicas");
  }
}

void ShardedOptimizer::State::sum_replicas(const Bucket& bucket) {
  for (const auto& [replicas, group] : replica_groups) {
    std::vector<at::Tensor> flat;
    for (std::size_t i : bucket.members)
      if (parameters[i].local.replicas == replicas) flat.push_back(parameters[i].grad.reshape({-1}));
    if (flat.empty()) continue;
    at::Tensor all = at::cat(flat);
    group->all_reduce_sum(all.data_ptr(), static_cast<std::size_t>(all.numel()), accumulation);
    std::int64_t at = 0;
    for (at::Tensor& part : flat) {
      part.copy_(all.narrow(0, at, part.numel()));
      at += part.numel();
    }
  }
}

void ShardedOptimizer::State::reduce_bucket(const Bucket& bucket) {
  if (alone()) return;
  for (int owner = 0; owner < comms.dp->size(); ++owner)
    for (std::size_t m = 0; m < bucket.members.size(); ++m)
      in_bucket(bucket, bucket.gradients, m, owner)
          .copy_(rows(parameters[bucket.members[m]].grad, bucket.members[m], owner));
  const at::Tensor mine_summed =
      summed.narrow(0, static_cast<std::int64_t>(bucket.first_mine), static_cast<std::int64_t>(bucket.mine));
  comms.dp->reduce_scatter_sum(bucket.gradients.const_data_ptr(), bucket.counts, mine_summed.data_ptr(),
                               accumulation);
}

// The owners' new weights reach every rank.
void ShardedOptimizer::State::spread_weights(const Bucket& bucket) {
  if (alone()) return;
  const std::size_t element = static_cast<std::size_t>(bucket.weights.element_size());
  std::vector<std::size_t> bytes;
  for (std::size_t count : bucket.counts) bytes.push_back(count * element);
  comms.dp->all_gather_v(
      {static_cast<const std::byte*>(bucket.my_weights.const_data_ptr()), bucket.mine * element}, bytes,
      {static_cast<std::byte*>(bucket.weights.data_ptr()), bucket.total * element});
  for (int owner = 0; owner < comms.dp->size(); ++owner)
    for (std::size_t m = 0; m < bucket.members.size(); ++m)
      rows(parameters[bucket.members[m]].weight, bucket.members[m], owner)
          .copy_(in_bucket(bucket, bucket.weights, m, owner));
}

ShardedOptimizer::ShardedOptimizer(std::vector<LocalParameter>& parameters, const OptimizerComms& comms,
                                   const AdamWOptions& options, DType compute)
    : state_(std::make_unique<State>(parameters, comms, options, compute)) {
  state_->make_replica_groups();
  state_->lay_out();
  state_->fuse();
}

ShardedOptimizer::~ShardedOptimizer() = default;

void ShardedOptimizer::reduce(int stage) {
  for (const Bucket& bucket : state_->buckets) {
    if (bucket.stage != stage) continue;
    state_->sum_replicas(bucket);
    state_->reduce_bucket(bucket);
  }
}

void ShardedOptimizer::add_tied() {
  State& s = *state_;
  at::Tensor embedding, head;
  for (std::size_t i = 0; i < s.parameters.size(); ++i) {
    const LocalParameter& p = s.parameters[i];
    if (p.spec.role != Role::Embedding) continue;
    (p.tied_copy ? head : embedding) = s.has_state(i) ? s.grad_of(i) : p.grad.view({-1});
  }
  if (!embedding.defined() && !head.defined()) return;
  if (embedding.defined() && head.defined()) {
    embedding.add_(head);
    head.copy_(embedding);
    return;
  }
  const at::Tensor mine = embedding.defined() ? embedding : head;
  LACUNA_ASSERT(s.comms.tied);
  s.comms.tied->all_reduce_sum(mine.data_ptr(), static_cast<std::size_t>(mine.numel()), s.accumulation);
}

void ShardedOptimizer::fetch_norms() {
  if (state_->fused) state_->fused->fetch_squares();
}

std::vector<double> ShardedOptimizer::squared_norms() const {
  const State& s = *state_;
  if (s.fused) return s.fused->squares();
  std::vector<double> sums(s.parameters.size(), 0.0);
  const auto squares = [](const auto* grad, std::int64_t count) {
    double sum = 0;
    for (std::int64_t k = 0; k < count; ++k)
      sum += static_cast<double>(grad[k]) * static_cast<double>(grad[k]);
    return sum;
  };
  for (std::size_t i = 0; i < s.parameters.size(); ++i) {
    if (s.parameters[i].tied_copy || s.parameters[i].local.replica != 0) continue;
    const at::Tensor grad = s.grad_of(i);
    sums[i] = s.accumulation == DType::F64 ? squares(grad.const_data_ptr<double>(), grad.numel())
                                           : squares(grad.const_data_ptr<float>(), grad.numel());
  }
  return sums;
}

void ShardedOptimizer::step(double lr, double grad_scale, std::int64_t step_number) {
  State& s = *state_;
  if (s.fused) {
    s.fused->step(lr, grad_scale, step_number, s.options);
    for (const Bucket& bucket : s.buckets) s.spread_weights(bucket);
    return;
  }
  for (std::size_t i = 0; i < s.parameters.size(); ++i) {
    const at::Tensor master = s.mine(s.master, i), grad = s.grad_of(i), exp_avg = s.mine(s.exp_avg, i),
                     exp_avg_sq = s.mine(s.exp_avg_sq, i);
    const auto update = [&]<class T>(T) {
      adamw(master.data_ptr<T>(), grad.const_data_ptr<T>(), exp_avg.data_ptr<T>(), exp_avg_sq.data_ptr<T>(),
            static_cast<std::size_t>(master.numel()), lr,
            s.parameters[i].spec.decays ? s.options.weight_decay : 0.0, grad_scale, step_number, s.options);
    };
    if (s.accumulation == DType::F64)
      update(double{});
    else
      update(float{});
  }
  publish_weights();
}

std::vector<OwnedPart> ShardedOptimizer::owned_parts() {
  State& s = *state_;
  std::vector<OwnedPart> parts;
  for (std::size_t i = 0; i < s.parameters.size(); ++i) {
    const LocalParameter& p = s.parameters[i];
    if (!s.has_state(i)) continue;
    OwnedPart part;
    part.parameter = &p;
    part.slab = slab_of_rows(p.local, s.rows_of(i, s.comms.dp->rank()));
    part.writes = !p.tied_copy && p.local.replica == 0 && part.slab.elements() > 0;
    part.master = s.mine(s.master, i);
    part.exp_avg = s.mine(s.exp_avg, i);
    part.exp_avg_sq = s.mine(s.exp_avg_sq, i);
    part.grad = s.grad_of(i);
    parts.push_back(std::move(part));
  }
  return parts;
}

void ShardedOptimizer::publish_weights() {
  State& s = *state_;
  for (const Bucket& bucket : s.buckets) {
    for (std::size_t m = 0; m < bucket.members.size(); ++m)
      s.new_weight(bucket, m).copy_(s.mine(s.master, bucket.members[m]));
    s.spread_weights(bucket);
  }
}

void ShardedOptimizer::adopt_weights() {
  State& s = *state_;
  for (std::size_t i = 0; i < s.parameters.size(); ++i)
    s.mine(s.master, i).copy_(s.rows(s.parameters[i].weight, i, s.comms.dp->rank()));
}

DType ShardedOptimizer::accumulation() const {
  return state_->accumulation;
}

std::size_t ShardedOptimizer::state_bytes() const {
  const State& s = *state_;
  std::size_t bytes = 3 * s.master.nbytes();
  if (s.summed.defined()) bytes += s.summed.nbytes();
  for (const Bucket& bucket : s.buckets)
    for (const at::Tensor* each : {&bucket.gradients, &bucket.my_weights, &bucket.weights})
      if (each->defined()) bytes += each->nbytes();
  return bytes;
}

}  // namespace lacuna
