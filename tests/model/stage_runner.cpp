#include "tests/model/stage_runner.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cstring>

#include "src/base/rng.h"

namespace lacuna::test {

namespace {

constexpr std::size_t kGuard = 64;
constexpr int kSentinel = 0xa5;

// The pieces of one stash, each between guards.
class GuardedStash {
 public:
  GuardedStash(const Stage& stage, int index, int pieces, unsigned char fill) {
    for (int piece = 0; piece < pieces; ++piece) {
      const std::size_t bytes = stage.piece_bytes(index, piece);
      at::Tensor memory = at::full({static_cast<std::int64_t>(bytes + 2 * kGuard)}, kSentinel, at::kByte);
      std::byte* begin = static_cast<std::byte*>(memory.data_ptr()) + kGuard;
      std::memset(begin, fill, bytes);
      memory_.push_back(memory);
      pieces_.push_back(begin);
    }
  }
  StashPieces pieces() const { return pieces_; }
  void check() const {
    for (const at::Tensor& memory : memory_) {
      const auto* bytes = memory.const_data_ptr<std::uint8_t>();
      for (std::size_t i = 0; i < kGuard; ++i) {
        ASSERT_EQ(bytes[i], kSentinel) << "written before the piece";
        ASSERT_EQ(bytes[memory.nbytes() - 1 - i], kSentinel) << "written behind the piece";
      }
    }
  }

 private:
  std::vector<at::Tensor> memory_;
  std::vector<std::byte*> pieces_;
};

std::byte* bytes_of(const at::Tensor& tensor) {
  return static_cast<std::byte*>(tensor.data_ptr());
}

// One step's memory and its walk over stages and micro-batches.
class Walk {
 public:
  Walk(Stage& stage, const Problem& problem) : stage_(stage), problem_(problem) {
    stages_ = problem.cuts.empty() ? 1 : static_cast<int>(problem.cuts.size());
    for (int micro = 0; micro < problem.micros; ++micro)
      for (int s = 0; s < stages_; ++s) stashes_.emplace_back(stage, s, problem.pieces, problem.stash_fill);
  }

  void forward(int micro) {
    at::Tensor carried;
    for (int s = 0; s < stages_; ++s) {
      const at::Tensor out = s + 1 < stages_ ? boundary() : at::Tensor{};
      stage_.forward(s, micro, carried.defined() ? bytes_of(carried) : nullptr,
                     out.defined() ? bytes_of(out) : nullptr, stash(s, micro).pieces());
      carried = out;
    }
  }

  void input_grads(int micro, bool with_weights, std::vector<at::Tensor>& kept) {
    at::Tensor carried;
    for (int s = stages_ - 1; s >= 0; --s) {
      const at::Tensor out = s > 0 ? boundary() : at::Tensor{};
      const std::byte* from = carried.defined() ? bytes_of(carried) : nullptr;
      std::byte* to = out.defined() ? bytes_of(out) : nullptr;
      if (with_weights)
        stage_.backward(s, micro, from, to, stash(s, micro).pieces());
      else
        stage_.input_grad(s, micro, from, to, stash(s, micro).pieces());
      if (out.defined()) kept.push_back(out);
      carried = out;
    }
  }

  void weight_grads(int micro) {
    for (int s = stages_ - 1; s >= 0; --s) stage_.weight_grad(s, micro, stash(s, micro).pieces());
  }

  void check() const {
    for (const GuardedStash& one : stashes_) one.check();
  }

 private:
  GuardedStash& stash(int s, int micro) { return stashes_[static_cast<std::size_t>(micro * stages_ + s)]; }
  at::Tensor boundary() const {
    return at::empty({problem_.shape.local_tokens(), problem_.config.hidden},
                     at::TensorOptions().dtype(scalar_type(problem_.shape.compute)));
  }

  Stage& stage_;
  const Problem& problem_;
  int stages_ = 1;
  std::vector<GuardedStash> stashes_;
};

}  // namespace

ModelConfig small_config() {
  ModelConfig c;
  c.hidden = 24;
  c.layers = 2;
  c.heads = 4;
  c.kv_heads = 2;
  c.head_dim = 6;
  c.ffn = 20;
  c.vocab = 37;
  return c;
}

LlamaStageOptions Problem::options(Communicator* tp) const {
  LlamaStageOptions out;
  out.config = config;
  out.config.complete_and_check("test");
  out.shape = shape;
  out.stash = stash;
  out.cuts = cuts.empty() ? std::vector<LayerRange>{{0, static_cast<int>(config.layers)}} : cuts;
  for (int i = 0; i < static_cast<int>(out.cuts.size()); ++i) out.my_stages.push_back(i);
  out.pieces = pieces;
  out.tp = tp;
  return out;
}

StepBatch Problem::batch() const {
  StepBatch out;
  out.micros = micros;
  const std::int64_t n = micros * shape.tokens();
  std::int64_t valid = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const auto index = static_cast<std::uint64_t>(i);
    const auto vocab = static_cast<std::uint64_t>(config.vocab);
    out.tokens.push_back(static_cast<std::int32_t>(rng_below(11, index, vocab)));
    const bool skipped = rng_below(13, index, 5) == 0 && n > 1;
    out.targets.push_back(skipped ? -1 : static_cast<std::int32_t>(rng_below(12, index, vocab)));
    valid += skipped ? 0 : 1;
  }
  out.loss_scale = 1.0 / static_cast<double>(std::max<std::int64_t>(valid, 1));
  out.l1 = l1;
  out.l1_knee = l1_knee;
  out.soft = soft;
  out.global_tokens = n;
  return out;
}

void enliven(ParameterStore& store, double gain) {
  for (LocalParameter& p : store.all()) {
    if (p.tied_copy) continue;  // aliases the embedding here
    if (p.spec.decays) {
      p.weight.mul_(gain);
      continue;
    }
    const std::uint64_t key = rng_key(7, p.spec.name);
    for (std::int64_t i = 0; i < p.local.slab.extent[0]; ++i) {
      const double noise = 0.3 * rng_normal(key, static_cast<std::uint64_t>(p.local.slab.offset[0] + i));
      p.weight[i] += noise;
    }
  }
}

Outcome run_step(Stage& stage, ParameterStore& store, const Problem& problem,
                 const std::function<double(int)>& micro_loss) {
  store.zero_grads();
  Walk walk(stage, problem);
  Outcome out;
  for (int micro = 0; micro < problem.micros; ++micro) walk.forward(micro);
  const bool split = problem.order == Problem::Order::Split;
  for (int micro = 0; micro < problem.micros; ++micro) walk.input_grads(micro, !split, out.boundary_grads);
  for (int micro = 0; split && micro < problem.micros; ++micro) walk.weight_grads(micro);
  walk.check();
  for (int micro = 0; micro < problem.micros; ++micro) out.losses.push_back(micro_loss(micro));
  for (const LocalParameter& p : store.all())
    out.grads[p.spec.name + (p.tied_copy ? " (tied)" : "")] = p.grad.clone();
  return out;
}

Outcome run_llama(LlamaStage& stage, const Problem& problem) {
  stage.begin_step(problem.batch());
  return run_step(stage, stage.parameters(), problem, [&](int micro) { return stage.micro_loss(micro); });
}

Outcome run_autograd(AutogradStage& stage, const Problem& problem) {
  stage.begin_step(problem.batch());
  Problem single = problem;
  single.pieces = 1;
  single.order = Problem::Order::Split;
  return run_step(stage, stage.parameters(), single, [&](int micro) { return stage.micro_loss(micro); });
}

Outcome run_llama(const Problem& problem, double gain) {
  LlamaStage stage(problem.options());
  stage.parameters().initialise(3);
  enliven(stage.parameters(), gain);
  return run_llama(stage, problem);
}

Outcome run_autograd(const Problem& problem, double gain) {
  AutogradStage stage(problem.options());
  stage.parameters().initialise(3);
  enliven(stage.parameters(), gain);
  return run_autograd(stage, problem);
}

double relative_difference(const at::Tensor& a, const at::Tensor& b, double size_of_zero) {
  const double largest = b.abs().max().item<double>(), size = largest > 0 ? largest : size_of_zero;
  const double error = (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
  return error == 0 ? 0 : error / size;
}

double worst_difference(const Outcome& a, const Outcome& b, std::string* worst) {
  double largest = 0, size = 0;
  for (const auto& [name, grad] : b.grads) size = std::max(size, grad.abs().max().item<double>());
  const auto consider = [&](const std::string& name, double difference) {
    if (difference <= largest) return;
    largest = difference;
    *worst = name;
  };
  EXPECT_EQ(a.grads.size(), b.grads.size());
  for (const auto& [name, grad] : a.grads) consider(name, relative_difference(grad, b.grads.at(name), size));
  EXPECT_EQ(a.boundary_grads.size(), b.boundary_grads.size());
  for (std::size_t i = 0; i < a.boundary_grads.size(); ++i)
    consider("boundary " + std::to_string(i),
             relative_difference(a.boundary_grads[i], b.boundary_grads[i], size));
  return largest;
}

void expect_equal_bits(const Outcome& a, const Outcome& b, const std::string& what) {
  EXPECT_EQ(a.losses, b.losses) << what;
  ASSERT_EQ(a.grads.size(), b.grads.size()) << what;
  for (const auto& [name, grad] : a.grads)
    EXPECT_TRUE(at::equal(grad, b.grads.at(name))) << what << ": " << name;
}

}  // namespace lacuna::test
