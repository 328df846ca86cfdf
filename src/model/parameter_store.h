// The tensors of the parameters that one rank holds: weights in the compute type, gradients in the
// accumulation type (F64 for F64, else F32), each in one flat 64-byte aligned slab per stage.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <string>
#include <vector>

#include "optim/local_parameter.h"
#include "src/arch/parameters.h"
#include "src/base/dtype.h"

namespace lacuna {

at::ScalarType scalar_type(DType dtype);

struct StagePlace {
  int stage = 0, first_layer = 0, end_layer = 0;
  bool has_embedding = false, has_head = false;
};

class ParameterStore {
 public:
  // Allocates (zero-filled) on `device` what tensor-parallel rank `tp_rank` of `tp` holds of the given
  // stages; frozen: without gradients, which stay undefined.
  ParameterStore(const ModelConfig& config, const std::vector<StagePlace>& stages, int tp_rank, int tp,
                 DType compute, at::Device device = at::kCPU, bool frozen = false);
  std::vector<LocalParameter>& all() { return parameters_; }
  const std::vector<LocalParameter>& all() const { return parameters_; }
  LocalParameter& at(const std::string& name, bool tied_copy = false);  // Error(Internal) when absent
  // Initial values keyed by (seed, name, global element index): equal under every layout.
  void initialise(std::uint64_t seed);
  void zero_grads();
  DType compute() const { return compute_; }
  DType accumulation() const { return compute_ == DType::F64 ? DType::F64 : DType::F32; }

 private:
  DType compute_;
  std::vector<LocalParameter> parameters_;  // canonical order within each stage, a tied copy last
  std::vector<at::Tensor> slabs_;
};

}  // namespace lacuna
