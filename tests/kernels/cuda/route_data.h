// A router on the device with its scores and gates in double.
#pragma once

#include <algorithm>
#include <limits>
#include <numeric>

#include "kernels/cuda/decode_ffn.h"
#include "kernels/cuda/decode_route.h"
#include "kernels/routing.h"
#include "tests/kernels/cuda/decode_data.h"

namespace lacuna::cuda::test {

struct RouteShape {
  std::int64_t hidden, ffn;
  int blocks;
  std::int64_t experts, shared, rank;
};

struct Listed {
  std::int64_t neuron;
  double factor;
  bool operator==(const Listed&) const = default;
};

// An entry computed in fp32, and the bound of its error.
struct Bounded {
  double value = 0, bound = 0;
};
inline Bounded product_bound(Gating gating, const Dot& gate, const Dot& up) {
  const double p = glu_ref(gating, gate.value, up.value);
  return {p, 1.1 * gate.bound * (std::abs(up.value) + up.bound) + std::abs(gate.value) * up.bound +
                 16 * kUnit * std::abs(p)};
}

class TestRouter {
 public:
  static constexpr float kEps = 1e-5f;
  static constexpr std::int64_t kMostTokens = 5;

  TestRouter(const RouteShape& of, RouteBy by)
      : shape(of),
        begin(uneven(of)),
        x(DType::F32, kMostTokens * stride()),
        gain(normals(DType::F32, "gain", of.hidden)),
        device_gain(DType::F32, padded(gain)),
        bias(normals(DType::F32, "bias", of.experts, 0.1)),
        scale(normals(DType::F32, "scale", of.experts, 0.3)),
        device_bias(DType::F32, bias),
        device_scale(DType::F32, scale),
        device_begin(std::vector<std::int32_t>(begin.begin(), begin.end())),
        position(std::vector<std::int32_t>{21}),
        arrived(std::vector<unsigned>(kMostTokens, 0)),
        gates(DType::F32, kMostTokens * of.experts) {
    call.by = by;
    const bool weighted = by == RouteBy::Linear || by == RouteBy::LowRank;
    const std::int64_t rank = by == RouteBy::LowRank || by == RouteBy::Neuron ? of.rank : 0;
    const std::int64_t count = (weighted ? of.experts : 0) + 2 * of.experts * rank;
    if (count > 0) rows = std::make_unique<TestMatrix>(DType::F32, "router", count, of.hidden, 1);
    parts = std::make_unique<DeviceArray>(DType::F32, kMostTokens * 4 * std::max<std::int64_t>(count, 1));
    if (count > 0) call.rows = rows->view;
    fill_x();
    call.experts = static_cast<int>(of.experts);
    call.rank = static_cast<int>(rank);
    call.x = x.as<float>();
    call.x_stride = stride();
    call.norm = {device_gain.as<float>(), kEps};
    if (has_scores()) {
      call.bias = device_bias.as<float>();
      call.scale = device_scale.as<float>();
    }
    call.active = static_cast<int>((of.experts + 1) / 2);
    call.key = 77;
    call.position = position.data();
    call.begin = device_begin.data();
    call.parts = parts->as<float>();
    call.arrived = arrived.data();
    call.gates = gates.as<float>();
    make_lists();
  }

  bool has_scores() const { return call.by != RouteBy::Random && call.by != RouteBy::None; }
  void drop_scale() { call.scale = nullptr; }
  std::string name() const {
    const char* names[] = {"linear", "lowrank", "neuron", "random", "none"};
    return std::string(names[static_cast<int>(call.by)]) + ", " + std::to_string(shape.experts) +
           " experts, hidden " + std::to_string(shape.hidden);
  }

  // Gates [tokens][experts], from buffers that hold NaN.
  Values run(std::int64_t tokens) {
    gates.set(Values(static_cast<std::size_t>(gates.count()), std::nan("")));
    parts->set(Values(static_cast<std::size_t>(parts->count()), std::nan("")));
    DecodeRoute now = call;
    now.lists = tokens == 1 ? lists : ActiveLists{};
    decode_route(now, tokens, launch_of(shape.blocks, true));
    finish();
    EXPECT_TRUE(gates.intact() && parts->intact());
    EXPECT_EQ(arrived.get(), std::vector<unsigned>(kMostTokens, 0));
    Values out = gates.get();
    for (std::size_t i = static_cast<std::size_t>(tokens * shape.experts); i < out.size(); ++i)
      EXPECT_TRUE(std::isnan(out[i]));
    out.resize(static_cast<std::size_t>(tokens * shape.experts));
    return out;
  }

  std::vector<Listed> listed(int segment) const {
    std::vector<Listed> out;
    const std::vector<ActiveRun> all = runs->get();
    const std::vector<float> by = factors->get();
    const std::int32_t count = run_counts->get()[static_cast<std::size_t>(segment)];
    EXPECT_LE(count, lists.capacity);
    for (std::int32_t r = 0; r < count; ++r) {
      const auto at = static_cast<std::size_t>(segment * lists.capacity + r);
      for (std::int32_t i = 0; i < all[at].length; ++i) out.push_back({all[at].start + i, by[at]});
    }
    return out;
  }

  // ---- of token 0, in double
  Values input() const { return normed(first_x, gain, kEps); }
  std::vector<Bounded> scores() const {
    const Values in = input();
    std::vector<Bounded> out;
    const bool weighted = call.by == RouteBy::Linear || call.by == RouteBy::LowRank;
    for (std::int64_t e = 0; e < shape.experts; ++e) {
      Bounded score;
      if (call.by == RouteBy::Random)
        score.value = rng_uniform(call.key, 21 * 4096 + static_cast<std::uint64_t>(e));
      if (weighted) {
        const Dot w = dot(rows->row(e), in);
        score = {w.value, w.bound};
      }
      if (call.rank > 0) add_rows(e, weighted, in, score);
      out.push_back(score);
    }
    return out;
  }
  Values expected_gates() const {
    Values values, out(static_cast<std::size_t>(shape.experts), 0);
    for (const Bounded& score : scores()) values.push_back(score.value);
    if (call.by != RouteBy::None)
      routing_ref({shape.experts, call.active, call.threshold, call.bias != nullptr ? bias.data() : nullptr,
                   call.scale != nullptr ? scale.data() : nullptr},
                  values.data(), out.data());
    return out;
  }
  // What the choice is away from another one, less what roundings may do to it.
  double margin() const {
    if (!has_scores()) return 1;  // integers, or nothing to choose
    const std::vector<Bounded> keys = keyed();
    const Values want = expected_gates();
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t e = 0; e < keys.size(); ++e) {
      if (call.threshold) least = std::min(least, std::abs(keys[e].value) - keys[e].bound);
      for (std::size_t o = 0; o < keys.size() && !call.threshold; ++o)
        if (want[e] != 0 && want[o] == 0)
          least = std::min(least, keys[e].value - keys[o].value - keys[e].bound - keys[o].bound);
    }
    return least;
  }
  Values gate_bounds() const {
    Values out(static_cast<std::size_t>(shape.experts), 0);
    if (call.scale == nullptr) return out;
    double worst = 0;
    for (const Bounded& score : scores()) worst = std::max(worst, score.bound);
    const Values want = expected_gates();
    for (std::size_t e = 0; e < out.size(); ++e) {
      const double part = std::abs(want[e] - 1);  // softmax times scale, where it is on
      out[e] = part * (2 * worst + (static_cast<double>(shape.experts) / 32 + 30) * kUnit) +
               2 * kUnit * (1 + part);
    }
    return out;
  }

  RouteShape shape;
  std::vector<std::int64_t> begin;  // [experts + 1]
  DeviceArray x;
  Values first_x, gain;
  DeviceArray device_gain;
  Values bias, scale;
  DeviceArray device_bias, device_scale;
  DeviceList<std::int32_t> device_begin, position;
  DeviceList<unsigned> arrived;
  DeviceArray gates;
  std::unique_ptr<TestMatrix> rows;
  std::unique_ptr<DeviceArray> parts;
  std::unique_ptr<DeviceList<ActiveRun>> runs;
  std::unique_ptr<DeviceList<std::int32_t>> run_counts;
  std::unique_ptr<DeviceList<float>> factors;
  ActiveLists lists;
  DecodeRoute call;

 private:
  std::int64_t stride() const { return (shape.hidden + 3) / 4 * 4 + 4; }
  // Cut anywhere: some experts have no neuron.
  static std::vector<std::int64_t> uneven(const RouteShape& of) {
    std::vector<std::int64_t> cuts = {of.shared, of.ffn};
    for (std::int64_t e = 1; e < of.experts; ++e)
      cuts.push_back(of.shared + static_cast<std::int64_t>(
                                     rng_below(3, static_cast<std::uint64_t>(e),
                                               static_cast<std::uint64_t>(of.ffn - of.shared + 1))));
    std::sort(cuts.begin(), cuts.end());
    return cuts;
  }
  void fill_x() {
    const Values all = normals(DType::F32, "x", kMostTokens * shape.hidden);
    Values laid(static_cast<std::size_t>(x.count()), 0);
    for (std::int64_t t = 0; t < kMostTokens; ++t)
      std::copy_n(all.begin() + t * shape.hidden, shape.hidden, laid.begin() + t * stride());
    x.set(laid);
    first_x.assign(all.begin(), all.begin() + shape.hidden);
  }
  void make_lists() {
    lists.neurons = shape.ffn;
    lists.segments = shape.blocks;
    lists.capacity = ActiveLists::capacity_for_parts(shape.ffn, shape.blocks, shape.experts + 1);
    const auto room = static_cast<std::size_t>(lists.segments * lists.capacity);
    runs = std::make_unique<DeviceList<ActiveRun>>(std::vector<ActiveRun>(room, {-1, -1}));
    factors = std::make_unique<DeviceList<float>>(std::vector<float>(room, std::nanf("")));
    run_counts = std::make_unique<DeviceList<std::int32_t>>(
        std::vector<std::int32_t>(static_cast<std::size_t>(lists.segments), -1));
    lists.runs = runs->data();
    lists.factors = factors->data();
    lists.counts = run_counts->data();
  }
  // score += ‖a‖·‖b‖ or Σ|act(a)·b|; a warp adds rank/32 terms a lane and then its lanes.
  void add_rows(std::int64_t expert, bool weighted, const Values& in, Bounded& score) const {
    const std::int64_t first = (weighted ? shape.experts : 0) + expert * call.rank;
    const double steps = static_cast<double>(call.rank) / 32 + 10;
    Values a, b;
    double a_off = 0, b_off = 0, products = 0;
    for (std::int64_t k = 0; k < call.rank; ++k) {
      const Dot in_a = dot(rows->row(first + k), in),
                in_b = dot(rows->row(first + shape.experts * call.rank + k), in);
      a.push_back(in_a.value);
      b.push_back(in_b.value);
      a_off += in_a.bound * in_a.bound;
      b_off += in_b.bound * in_b.bound;
      products += product_bound(call.gating, in_a, in_b).bound;
    }
    if (call.by == RouteBy::Neuron) {
      const double value = neuron_score_ref(call.gating, a.data(), b.data(), call.rank);
      score.value += value;
      score.bound += products + steps * kUnit * (value + products);
      return;
    }
    const double size_a = lowrank_score_ref(a.data(), a.data(), call.rank),
                 size_b = lowrank_score_ref(b.data(), b.data(), call.rank);
    const double norm_a = std::sqrt(size_a), norm_b = std::sqrt(size_b);
    const double off_a = std::sqrt(a_off) + steps * kUnit * norm_a,
                 off_b = std::sqrt(b_off) + steps * kUnit * norm_b;
    score.value += norm_a * norm_b;
    score.bound += norm_a * off_b + norm_b * off_a + off_a * off_b + 4 * kUnit * std::abs(score.value);
  }
  std::vector<Bounded> keyed() const {
    std::vector<Bounded> out = scores();
    for (std::size_t e = 0; e < out.size() && call.bias != nullptr; ++e) {
      out[e].value += bias[e];
      out[e].bound += kUnit * (std::abs(out[e].value) + out[e].bound);
    }
    return out;
  }
};

}  // namespace lacuna::cuda::test
