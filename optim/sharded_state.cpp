#include "optim/sharded_state.h"

#include <ATen/ATen.h>

#include <cstring>
#include <map>

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
};

// State of the owned rows of all buckets, flat; T is the accumulation type.
template <class T>
struct Flat {
  std::vector<T> master, exp_avg, exp_avg_sq, grad;
};

}  // namespace

struct ShardedOptimizer::State {
  std::vector<LocalParameter>& parameters;
  OptimizerComms comms;
  AdamWOptions options;
  DType compute, accumulation;
  std::vector<Bucket> buckets;
  std::vector<std::size_t> offset_mine;  // [parameter]: start of the owned rows in the flat state
  std::map<int, std::unique_ptr<Communicator>> replica_groups;  // key: number of replicas
  Flat<float> f32;
  Flat<double> f64;

  State(std::vector<LocalParameter>& p, const OptimizerComms& c, const AdamWOptions& o, DType type)
      : parameters(p),
        comms(c),
        options(o),
        compute(type),
        accumulation(type == DType::F64 ? DType::F64 : DType::F32) {}

  template <class Body>
  void typed(Body&& body) {
    if (accumulation == DType::F64)
      body(f64);
    else
      body(f32);
  }

  RowRange rows_of(std::size_t parameter, int owner) const {
    return owned_rows(parameters[parameter].local, owner, comms.dp->size());
  }
  std::size_t owned_elements(std::size_t parameter, int owner) const {
    const RowRange rows = rows_of(parameter, owner);
    return static_cast<std::size_t>(rows.end - rows.begin) * row_elements(parameters[parameter]);
  }

  void lay_out();
  void make_replica_groups();
  void sum_replicas(const Bucket& bucket);
  template <class T>
  void reduce_bucket(const Bucket& bucket, Flat<T>& flat);
  template <class T>
  void gather_bucket(const Bucket& bucket, Flat<T>& flat);
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
  typed([&](auto& flat) {
    flat.master.assign(flat_size, 0);
    flat.exp_avg.assign(flat_size, 0);
    flat.exp_avg_sq.assign(flat_size, 0);
    flat.grad.assign(flat_size, 0);
  });
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
    std::vector<at::Tensor> parts;
    for (std::size_t i : bucket.members)
      if (parameters[i].local.replicas == replicas) parts.push_back(parameters[i].grad);
    if (parts.empty()) continue;
    std::vector<at::Tensor> flat;
    for (const at::Tensor& part : parts) flat.push_back(part.reshape({-1}));
    at::Tensor all = at::cat(flat);
    group->all_reduce_sum(all.data_ptr(), static_cast<std::size_t>(all.numel()), accumulation);
    std::int64_t at = 0;
    for (std::size_t k = 0; k < parts.size(); ++k) {
      flat[k].copy_(all.narrow(0, at, flat[k].numel()));
      at += flat[k].numel();
    }
  }
}

template <class T>
void ShardedOptimizer::State::reduce_bucket(const Bucket& bucket, Flat<T>& flat) {
  std::vector<T> all(bucket.total);
  std::size_t owner_start = 0;
  for (int owner = 0; owner < comms.dp->size(); ++owner) {
    for (std::size_t m = 0; m < bucket.members.size(); ++m) {
      const std::size_t i = bucket.members[m];
      const T* grad = parameters[i].grad.template const_data_ptr<T>();
      const std::size_t first =
          static_cast<std::size_t>(rows_of(i, owner).begin) * row_elements(parameters[i]);
      std::memcpy(all.data() + owner_start + bucket.place[m][static_cast<std::size_t>(owner)], grad + first,
                  owned_elements(i, owner) * sizeof(T));
    }
    owner_start += bucket.counts[static_cast<std::size_t>(owner)];
  }
  comms.dp->reduce_scatter_sum(all.data(), bucket.counts, flat.grad.data() + bucket.first_mine, accumulation);
}

// The owned rows in the compute type, gathered from all owners into the working weights.
template <class T>
void ShardedOptimizer::State::gather_bucket(const Bucket& bucket, Flat<T>& flat) {
  const at::ScalarType type = parameters[bucket.members.front()].weight.scalar_type();
  const at::ScalarType accumulate = accumulation == DType::F64 ? at::kDouble : at::kFloat;
  const at::Tensor mine = at::from_blob(flat.master.data() + bucket.first_mine,
                                        {static_cast<std::int64_t>(bucket.mine)}, accumulate)
                              .to(type)
                              .contiguous();
  const at::Tensor all = at::empty({static_cast<std::int64_t>(bucket.total)}, type);
  const std::size_t element = static_cast<std::size_t>(mine.element_size());
  std::vector<std::size_t> bytes;
  for (std::size_t count : bucket.counts) bytes.push_back(count * element);
  comms.dp->all_gather_v({static_cast<const std::byte*>(mine.const_data_ptr()), bucket.mine * element}, bytes,
                         {static_cast<std::byte*>(all.data_ptr()), bucket.total * element});
  const auto* from = static_cast<const std::byte*>(all.const_data_ptr());
  std::size_t owner_start = 0;
  for (int owner = 0; owner < comms.dp->size(); ++owner) {
    for (std::size_t m = 0; m < bucket.members.size(); ++m) {
      LocalParameter& p = parameters[bucket.members[m]];
      auto* weight = static_cast<std::byte*>(p.weight.data_ptr());
      const std::size_t first =
          static_cast<std::size_t>(rows_of(bucket.members[m], owner).begin) * row_elements(p);
      std::memcpy(weight + first * element,
                  from + (owner_start + bucket.place[m][static_cast<std::size_t>(owner)]) * element,
                  owned_elements(bucket.members[m], owner) * element);
    }
    owner_start += bucket.counts[static_cast<std::size_t>(owner)];
  }
}

ShardedOptimizer::ShardedOptimizer(std::vector<LocalParameter>& parameters, const OptimizerComms& comms,
                                   const AdamWOptions& options, DType compute)
    : state_(std::make_unique<State>(parameters, comms, options, compute)) {
  state_->make_replica_groups();
  state_->lay_out();
}

ShardedOptimizer::~ShardedOptimizer() = default;

void ShardedOptimizer::reduce(int stage) {
  for (const Bucket& bucket : state_->buckets) {
    if (bucket.stage != stage) continue;
    state_->sum_replicas(bucket);
    state_->typed([&](auto& flat) { state_->reduce_bucket(bucket, flat); });
  }
}

void ShardedOptimizer::add_tied(int rank_of_embedding, int rank_of_head) {
  State& s = *state_;
  s.typed([&](auto& flat) {
    using T = std::decay_t<decltype(flat.grad[0])>;
    T *embedding = nullptr, *head = nullptr;
    std::size_t count = 0;
    for (std::size_t i = 0; i < s.parameters.size(); ++i) {
      if (s.parameters[i].spec.role != Role::Embedding) continue;
      (s.parameters[i].tied_copy ? head : embedding) = flat.grad.data() + s.offset_mine[i];
      count = s.owned_elements(i, s.comms.dp->rank());
    }
    if (embedding && head) {
      for (std::size_t k = 0; k < count; ++k) embedding[k] = head[k] = embedding[k] + head[k];
      return;
    }
    if (!embedding && !head) return;
    T* mine = embedding ? embedding : head;
    const int peer = embedding ? rank_of_head : rank_of_embedding;
    std::vector<T> theirs(count);
    constexpr int kTag = 77;
    const std::size_t bytes = count * sizeof(T);
    auto receive = s.comms.pp->irecv(peer, kTag, {reinterpret_cast<std::byte*>(theirs.data()), bytes});
    auto send = s.comms.pp->isend(peer, kTag, {reinterpret_cast<const std::byte*>(mine), bytes});
    s.comms.pp->wait(*receive);
    s.comms.pp->wait(*send);
    for (std::size_t k = 0; k < count; ++k) mine[k] = embedding ? mine[k] + theirs[k] : theirs[k] + mine[k];
  });
}

std::vector<double> ShardedOptimizer::squared_norms() const {
  State& s = *state_;
  std::vector<double> sums(s.parameters.size(), 0.0);
  s.typed([&](auto& flat) {
    for (std::size_t i = 0; i < s.parameters.size(); ++i) {
      if (s.parameters[i].tied_copy || s.parameters[i].local.replica != 0) continue;
      const auto* grad = flat.grad.data() + s.offset_mine[i];
      const std::size_t count = s.owned_elements(i, s.comms.dp->rank());
      double sum = 0;
      for (std::size_t k = 0; k < count; ++k)
        sum += static_cast<double>(grad[k]) * static_cast<double>(grad[k]);
      sums[i] = sum;
    }
  });
  return sums;
}

void ShardedOptimizer::step(double lr, double grad_scale, std::int64_t step_number) {
  State& s = *state_;
  s.typed([&](auto& flat) {
    for (std::size_t i = 0; i < s.parameters.size(); ++i) {
      const std::size_t at = s.offset_mine[i], count = s.owned_elements(i, s.comms.dp->rank());
      adamw(flat.master.data() + at, flat.grad.data() + at, flat.exp_avg.data() + at,
            flat.exp_avg_sq.data() + at, count, lr,
            s.parameters[i].spec.decays ? s.options.weight_decay : 0.0, grad_scale, step_number, s.options);
    }
  });
  publish_weights();
}

std::vector<OwnedPart> ShardedOptimizer::owned_parts() {
  State& s = *state_;
  std::vector<OwnedPart> parts;
  s.typed([&](auto& flat) {
    for (std::size_t i = 0; i < s.parameters.size(); ++i) {
      const LocalParameter& p = s.parameters[i];
      OwnedPart part;
      part.parameter = &p;
      part.slab = slab_of_rows(p.local, s.rows_of(i, s.comms.dp->rank()));
      part.writes = !p.tied_copy && p.local.replica == 0 && part.slab.elements() > 0;
      part.master = flat.master.data() + s.offset_mine[i];
      part.exp_avg = flat.exp_avg.data() + s.offset_mine[i];
      part.exp_avg_sq = flat.exp_avg_sq.data() + s.offset_mine[i];
      part.grad = flat.grad.data() + s.offset_mine[i];
      parts.push_back(std::move(part));
    }
  });
  return parts;
}

void ShardedOptimizer::publish_weights() {
  for (const Bucket& bucket : state_->buckets)
    state_->typed([&](auto& flat) { state_->gather_bucket(bucket, flat); });
}

void ShardedOptimizer::adopt_weights() {
  State& s = *state_;
  s.typed([&](auto& flat) {
    using T = std::decay_t<decltype(flat.master[0])>;
    for (std::size_t i = 0; i < s.parameters.size(); ++i) {
      const LocalParameter& p = s.parameters[i];
      const at::Tensor full =
          p.weight.to(s.accumulation == DType::F64 ? at::kDouble : at::kFloat).contiguous();
      const std::size_t first =
          static_cast<std::size_t>(s.rows_of(i, s.comms.dp->rank()).begin) * row_elements(p);
      std::memcpy(flat.master.data() + s.offset_mine[i], full.template const_data_ptr<T>() + first,
                  s.owned_elements(i, s.comms.dp->rank()) * sizeof(T));
    }
  });
}

DType ShardedOptimizer::accumulation() const {
  return state_->accumulation;
}

std::size_t ShardedOptimizer::state_bytes() const {
  std::size_t elements = 0;
  state_->typed([&](auto& flat) { elements = flat.master.size(); });
  return 4 * elements * size_of(state_->accumulation);
}

}  // namespace lacuna
