// A stage of whole-number arithmetic whose result proves a schedule: every word depends on stage,
// micro-batch, step and what arrived, every stash byte is checked before use, and gradients add in an order
// that shows.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "parallel/plan/schedule.h"
#include "parallel/run/executor.h"
#include "src/base/error.h"
#include "src/base/rng.h"

namespace lacuna::test {

inline std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  return rng_bits(a, b);
}

struct FakeSizes {
  bool uneven = false;  // pieces of differing size, over stages and within one
  std::size_t piece(int stage, int index) const {
    return 64 * (uneven ? 1 + static_cast<std::size_t>(stage * 3 + index) % 4 : 3);
  }
};

class FakeStage : public Stage {
 public:
  static constexpr std::size_t kWords = 11;  // at a boundary

  FakeStage(int stages, int pieces, FakeSizes sizes) : stages_(stages), pieces_(pieces), sizes_(sizes) {}

  void begin_step(int step) { step_ = step; }
  // Of each stage on this rank: order-sensitive sums over all steps.
  std::map<int, std::uint64_t> gradients;
  std::map<int, int> reductions;
  std::vector<std::uint64_t> losses;  // of the last stage, in the order of its forwards

  void forward(int stage, int micro, const std::byte* input, std::byte* output, StashPieces stash) override {
    LACUNA_CHECK((input == nullptr) == (stage == 0), ErrorKind::Internal, "input of stage {}", stage);
    LACUNA_CHECK((output == nullptr) == (stage == stages_ - 1), ErrorKind::Internal, "output of stage {}",
                 stage);
    std::uint64_t x[kWords];
    for (std::size_t i = 0; i < kWords; ++i) x[i] = mix(static_cast<std::uint64_t>(step_ * 1000 + micro), i);
    if (input) std::memcpy(x, input, sizeof x);
    std::uint64_t sum = 0;
    for (std::uint64_t& word : x) sum = mix(sum, word = mix(word, static_cast<std::uint64_t>(stage)));
    if (output) std::memcpy(output, x, sizeof x);
    if (stage == stages_ - 1) losses.push_back(sum);
    fill(stage, stash, sum);
    seen_[{stage, micro}] = sum;
  }

  void input_grad(int stage, int micro, const std::byte* output_grad, std::byte* input_grad,
                  StashPieces stash) override {
    LACUNA_CHECK((input_grad == nullptr) == (stage == 0), ErrorKind::Internal, "input gradient of stage {}",
                 stage);
    const std::uint64_t key = seen_.at({stage, micro});
    check(stage, micro, stash, key);
    std::uint64_t g[kWords];
    for (std::size_t i = 0; i < kWords; ++i) g[i] = mix(key, i);  // the loss's own
    LACUNA_CHECK((output_grad == nullptr) == (stage == stages_ - 1), ErrorKind::Internal, "gradient of {}",
                 stage);
    if (output_grad) std::memcpy(g, output_grad, sizeof g);
    std::uint64_t sum = key;
    for (std::uint64_t& word : g) sum = mix(sum, word = mix(word, key));
    if (input_grad) std::memcpy(input_grad, g, sizeof g);
    fill(stage, stash, sum);  // the second layout of the stash
    seen_[{stage, micro}] = sum;
  }

  void weight_grad(int stage, int micro, StashPieces stash) override {
    const std::uint64_t key = seen_.at({stage, micro});
    check(stage, micro, stash, key);
    gradients[stage] = mix(gradients[stage], key);  // does not commute
    seen_.erase({stage, micro});
  }

  void reduce(int stage) override { ++reductions[stage]; }
  std::size_t boundary_bytes() const override { return kWords * sizeof(std::uint64_t); }
  std::size_t piece_bytes(int stage, int piece) const override { return sizes_.piece(stage, piece); }

 private:
  std::uint64_t word(std::uint64_t key, int piece, std::size_t index) const {
    return mix(key + static_cast<std::uint64_t>(piece), index);
  }
  std::size_t words(int stage, int piece) const { return piece_bytes(stage, piece) / sizeof(std::uint64_t); }
  void fill(int stage, StashPieces stash, std::uint64_t key) {
    for (int piece = 0; piece < pieces_; ++piece) {
      for (std::size_t i = 0; i < words(stage, piece); ++i) {
        const std::uint64_t value = word(key, piece, i);
        std::memcpy(stash[static_cast<std::size_t>(piece)] + i * sizeof value, &value, sizeof value);
      }
    }
  }
  void check(int stage, int micro, StashPieces stash, std::uint64_t key) const {
    for (int piece = 0; piece < pieces_; ++piece) {
      for (std::size_t i = 0; i < words(stage, piece); ++i) {
        std::uint64_t value;
        std::memcpy(&value, stash[static_cast<std::size_t>(piece)] + i * sizeof value, sizeof value);
        LACUNA_CHECK(value == word(key, piece, i), ErrorKind::Internal,
                     "stash of stage {} micro {} piece {} is wrong at word {}", stage, micro, piece, i);
      }
    }
  }

  int stages_, pieces_;
  FakeSizes sizes_;
  int step_ = 0;
  std::map<std::pair<int, int>, std::uint64_t> seen_;  // what the stash of (stage, micro) must hold
};

// What the ranks of a schedule produced: results, peaks, evictions.
struct FakeOutcome {
  std::uint64_t gradient = 0, loss = 0;
  std::vector<ExecutorStats> stats;
  bool operator==(const FakeOutcome& other) const { return gradient == other.gradient && loss == other.loss; }
};

// The same work on one rank without a schedule, stage by stage.
inline FakeOutcome serial_outcome(int stages, int micros, int steps) {
  FakeStage model(stages, 1, {});
  std::vector<std::byte> memory(model.piece_bytes(0, 0) * static_cast<std::size_t>(stages));
  for (int step = 0; step < steps; ++step) {
    model.begin_step(step);
    for (int micro = 0; micro < micros; ++micro) {
      std::vector<std::byte> a(model.boundary_bytes()), b(a);
      const auto stash = [&](int s) {
        return memory.data() + model.piece_bytes(0, 0) * static_cast<std::size_t>(s);
      };
      for (int s = 0; s < stages; ++s, std::swap(a, b)) {
        std::byte* piece = stash(s);
        model.forward(s, micro, s ? a.data() : nullptr, s + 1 < stages ? b.data() : nullptr, {&piece, 1});
      }
      for (int s = stages - 1; s >= 0; --s, std::swap(a, b)) {
        std::byte* piece = stash(s);
        model.backward(s, micro, s + 1 < stages ? a.data() : nullptr, s ? b.data() : nullptr, {&piece, 1});
      }
    }
  }
  FakeOutcome out;
  for (int s = 0; s < stages; ++s) out.gradient += mix(model.gradients[s], static_cast<std::uint64_t>(s));
  for (const std::uint64_t loss : model.losses) out.loss = mix(out.loss, loss);
  return out;
}

// Runs `steps` steps of a schedule on this rank and adds up what all ranks got.
inline FakeOutcome run_fake(const Schedule& schedule, Communicator& pipeline, int steps,
                            FakeSizes sizes = {}) {
  FakeStage stage(schedule.stages(), schedule.pieces, sizes);
  Progress progress;
  Executor executor(schedule, pipeline, stage, progress);
  for (int step = 0; step < steps; ++step) {
    stage.begin_step(step);
    executor.run();
  }
  FakeOutcome out;
  std::uint64_t mine[2] = {0, 0};
  for (const auto& [index, value] : stage.gradients) mine[0] += mix(value, static_cast<std::uint64_t>(index));
  for (const std::uint64_t loss : stage.losses) mine[1] = mix(mine[1], loss);
  pipeline.all_reduce_sum(mine, 2, DType::I64);
  out.gradient = mine[0], out.loss = mine[1];
  out.stats.push_back(executor.stats());
  executor.close();
  return out;
}

}  // namespace lacuna::test
