// What the experts of one layer put out on calibration tokens, as far as choosing among them needs it:
//
//   y_e(x) = Σ_{i in e} h_i(x) d_i,   contribution c_e(x) = ‖y_e(x) − m_e‖
//
// where m_e is what stands in for the expert while it is off. c_e is what is lost by switching e off, so it
// ranks experts for the oracle router and is the target of fitted ones.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "recipes/common/ffn_weights.h"

namespace lacuna {

class ExpertOutputs {
 public:
  // ffn: the layer's weights, neurons in the order of the experts; begin[e] .. begin[e + 1] are expert e's.
  ExpertOutputs(const FfnWeights& ffn, std::vector<std::int64_t> begin, const at::Tensor& inputs);

  std::int64_t experts() const { return static_cast<std::int64_t>(begin_.size()) - 1; }
  std::int64_t tokens() const { return products_.size(0); }
  // E[y_e]: [experts, hidden] F64.
  at::Tensor mean_outputs() const;
  // The m_e that together come nearest, in least squares over tokens, to what is off:
  // Σ_t ‖Σ_e (1 − on_te)(y_te − m_e)‖², pulled to the mean outputs by a thousandth of a token's weight a
  // token. on: [tokens, experts] bool. Co-varying experts that are off together are so taken together.
  at::Tensor stand_ins(const at::Tensor& on) const;
  // c_e with m_e = stand_ins [experts, hidden]: [tokens, experts] F64.
  at::Tensor contributions(const at::Tensor& stand_ins) const;
  // |h| of expert e's neurons: [tokens, neurons of e] F32.
  at::Tensor sizes(std::int64_t expert) const;

 private:
  at::Tensor of(const at::Tensor& columns, std::int64_t expert) const;  // expert's part of dimension 1

  std::vector<std::int64_t> begin_;  // begins at 0
  at::Tensor products_;              // [tokens, experts' neurons] F32
  at::Tensor down_;                  // [hidden, experts' neurons] F32
  at::Tensor squares_;               // ‖y_e‖² [tokens, experts] F64
};

// The `active` largest of each row, the lower index first among equals: [tokens, experts] bool.
at::Tensor largest(const at::Tensor& scores, std::int64_t active);

}  // namespace lacuna
