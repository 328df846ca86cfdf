// Two independent implementations prove each other: the logits that a checkpoint's probe recorded (the
// trainer's own forward, or the engine on the imported source) against the inference engine on the exported
// folder.
//
// The bound follows from the roundings alone. With unit roundoff u and inner products of length K, one matrix
// product adds a relative error of about u·√K (summed in the same precision) or √2·u (bf16: rounded weights
// and result, summed in fp32). A path through L blocks has 16 L + 4 such steps; as independent errors their
// squares add:
//     rel = √(16 L + 4) · √(Σ u²)   over: engine (fp32), probe (fp64, fp32 or bf16), storage of the weights.
// In a routed model two experts whose scores are nearly alike may change places by rounding, and everything
// after that differs. The engine therefore takes the probe's choices, and each of them must be what its own
// scores allow: at most 6 standard deviations off, of scores whose input has the relative error rel.
//
// The final norm fixes the size of the hidden state, so a logit's error has the standard deviation
// rel · ‖w_i‖ · rms(g), w_i its row of the head and g the final norm's weight. Allowed: 3 times that in the
// mean square over a vocabulary, 6 times for the largest single logit.
#pragma once

#include <cstdint>
#include <string>

#include "src/checkpoint/checkpoint.h"
#include "src/format/model_source.h"
#include "src/format/sparsity_json.h"

namespace lacuna {

struct SelfCheck {
  std::int64_t sequences = 0, tokens = 0;
  double worst_rms = 0,
         rms_bound = 0;  // root mean square of the difference over the vocabulary, worst sequence
  double worst_abs = 0, abs_bound = 0;  // largest difference of a logit
  double doubt = 0, doubt_bound = 0;    // routed models: of the probe's choices, see RouteTrace::doubt
  SparsityInfo sparsity;                // zeros of the FFNs on the probe's tokens
  bool passed() const {
    return sequences > 0 && worst_rms <= rms_bound && worst_abs <= abs_bound && doubt <= doubt_bound;
  }
};

struct LogitBound {
  double rms = 0, largest = 0;
  double doubt = 0;  // 6 rel
};
// `stored`: the narrowest type that weights were rounded to on their way into `source`, F64 for none.
LogitBound logit_bound(const ModelSource& source, const std::string& probe_compute, DType stored);

// Runs the engine over the probe's sequences. Does not throw on a difference: see passed(). Error(BadInput)
// for a probe that does not fit the model.
SelfCheck self_check(const std::string& model_folder, const Probe& probe, DType stored, int threads);

// A probe of a model made by the engine itself: a few short sequences of ids drawn from a fixed stream.
Probe make_probe(const std::string& model, int threads);

}  // namespace lacuna
