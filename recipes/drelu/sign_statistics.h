// Which sign of a neuron's up projection carries more of its output. silu(g)·u is unchanged when row i of up
// and column i of down both change sign; relu(up) then keeps the half that matters more.
//
// Statistic: sums of product² over tokens with gate > 0, apart for up > 0 and up < 0.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <vector>

#include "src/train/parallel_context.h"

namespace lacuna {

class SignStatistics {
 public:
  // gate, up, product: [tokens, neurons of this rank], any floating type.
  void add(int layer, const at::Tensor& gate, const at::Tensor& up, const at::Tensor& product);
  // Sums over data parallel. Collective over dp; every rank of it has seen the same layers.
  void merge(Communicator& dp);
  // True for each of this rank's neurons whose negative half is the larger one. Error(Internal) for a layer
  // that was not seen.
  std::vector<bool> flips(int layer) const;
  std::vector<int> layers() const;

 private:
  struct Halves {
    std::vector<double> positive, negative;
  };
  std::map<int, Halves> layers_;
};

}  // namespace lacuna
