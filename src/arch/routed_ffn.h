// A routed FFN, without a tensor: the neurons of every layer stand in an order in which the shared ones come
// first, then expert 0, expert 1, … Of the experts a router chooses a few for each token; shared neurons are
// always on. For an expert that is off its mean output over calibration tokens is added instead:
//
//   out(x) = Σ_shared h_i(x) d_i + Σ_e (on_e(x) · gate_e(x) · Σ_{i in e} h_i(x) d_i + (1 − on_e(x)) · mean_e)
//   gate_e = 1 + softmax(s)_e · scale_e    (arXiv 2502.04416v3, §4: scale starts at 0, so gates at 1)
//   on_e   = s_e + bias_e is among the `active` largest (equal ones: the lower index first); with a
//            threshold: s_e + bias_e > 0
//
// h = act(gate)·up, d_i the column of down. With all experts on this is the dense FFN exactly.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lacuna {

// The score s of every expert from the FFN's input x [hidden], E experts, r = RoutedFfn::rank:
enum class RouterKind : std::uint8_t {
  Linear,  // W x, W = router.weight [E, hidden]
  LowRank,  // W x + ‖A_e x‖·‖B_e x‖, A = router.gate and B = router.up [E·r, hidden], r rows an expert
  Neuron,  // Σ_k |act(A_ek·x)·(B_ek·x)| over r representative neurons; one unit row each is the published
           // form
  Oracle,  // ‖Σ_{i in e} h_i d_i − mean_e‖: reads every neuron; for evaluation
  Random,  // a hash of (seed, layer, position in the sequence, expert): the control of every router
  None,    // no expert is ever on: static pruning, with mean compensation unless the means are zero
};
std::string name_of(RouterKind kind);              // linear | lowrank | neuron | oracle | random | none
RouterKind parse_router(const std::string& name);  // Error(BadInput) on anything else
inline std::string to_text(RouterKind kind) {
  return name_of(kind);
}
inline void from_text(const std::string& text, RouterKind& value) {
  value = parse_router(text);
}

// Part of ModelConfig. Lists have one entry for each layer, or one for all layers.
struct RoutedFfn {
  std::int64_t experts = 0;          // of each layer; 0: the FFN is dense, all else is unused
  std::vector<std::int64_t> active;  // experts that are on for a token (top-k routing)
  std::vector<std::int64_t> shared;  // neurons that are always on
  std::vector<std::int64_t>
      neurons;             // of expert 0, 1, … (for all layers), then of the next layer's; empty: even
  std::int64_t align = 1;  // even sizes are multiples of this, except the last expert's
  RouterKind router = RouterKind::Linear;
  std::int64_t rank = 0;   // rows an expert has in router.gate and router.up (lowrank, neuron)
  bool threshold = false;  // an expert is on where its score plus bias is above 0, however many that are
  std::int64_t seed = 0;   // of the random router
  bool operator==(const RoutedFfn&) const = default;

  bool has_weight() const { return router == RouterKind::Linear || router == RouterKind::LowRank; }
  bool has_rows() const { return router == RouterKind::LowRank || router == RouterKind::Neuron; }
  bool has_scores() const { return has_weight() || has_rows(); }  // computed from x by weights of the router
  bool has_bias() const { return has_scores() || router == RouterKind::Oracle; }

  // Error(BadInput) with the field's name when it does not fit a model of this many layers and neurons.
  void check(std::int64_t layers, std::int64_t ffn, const std::string& where) const;
};

// One layer's neurons: [0, shared) are always on, [begin[e], begin[e + 1]) are expert e's.
struct RoutedLayer {
  std::int64_t shared = 0, active = 0;
  std::vector<std::int64_t> begin;  // experts + 1 entries, begin[0] = shared, the last = all neurons
  std::int64_t experts() const { return static_cast<std::int64_t>(begin.size()) - 1; }
  std::int64_t size(std::int64_t expert) const {
    const auto e = static_cast<std::size_t>(expert);
    return begin[e + 1] - begin[e];
  }
};
RoutedLayer routed_layer(const RoutedFfn& routed, std::int64_t ffn, std::int64_t layer);

// `neurons` in `parts` sizes as even as possible: multiples of `align` but for what is left over, which the
// last part has; larger parts first.
std::vector<std::int64_t> even_sizes(std::int64_t neurons, std::int64_t parts, std::int64_t align);

// The random router's score of an expert for a token, in [0, 1).
std::uint64_t random_router_key(std::int64_t seed, std::int64_t layer);
double random_score(std::uint64_t key, std::int64_t position, std::int64_t expert);

}  // namespace lacuna
