// A model's weights as the engine reads them: matrices stay where the file is mapped, in their stored type;
// norms and biases become floats. Where the activation makes exact zeros (relu, dReLU) down is neuron-major:
// bundles and neuron-major files are read in place, a plain [hidden, ffn] matrix is transposed once.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/matrix.h"
#include "src/format/model_source.h"
#include "src/infer/router.h"

namespace lacuna {

struct LayerWeights {
  std::vector<float> attention_norm, ffn_norm;
  std::vector<float> query_norm, key_norm;              // empty without qk_norm
  std::vector<float> query_bias, key_bias, value_bias;  // empty without qkv_bias
  MatrixView query, key, value, output;                 // [out, in]
  MatrixView gate, up;                                  // [ffn, hidden]
  MatrixView down;       // [ffn, hidden] where Weights::neuron_major(), else [hidden, ffn]
  RouterWeights router;  // of a routed FFN
};

class Weights {
 public:
  explicit Weights(ModelSource source);

  const ModelConfig& config() const { return source_.config(); }
  const ModelSource& source() const { return source_; }
  bool neuron_major() const { return neuron_major_; }
  const MatrixView& embedding() const { return embedding_; }  // [vocab, hidden]
  const MatrixView& head() const { return head_; }            // [vocab, hidden]
  const std::vector<float>& final_norm() const { return final_norm_; }
  const std::vector<LayerWeights>& layers() const { return layers_; }

  std::int64_t parameters() const;  // elements of all tensors
  // Bytes that one decoded token reads when so many neurons of each FFN take part. The gate is read whole,
  // in a routed FFN as the up projection is.
  double bytes_per_token(double up_neurons, double down_neurons) const;

 private:
  MatrixView matrix(const std::string& name) const;
  std::vector<float> floats(const std::string& name) const;
  LayerWeights load_layer(std::int64_t layer);
  RouterWeights load_router(std::int64_t layer) const;
  MatrixView transposed(const MatrixView& matrix);

  ModelSource source_;
  bool neuron_major_ = false;
  std::vector<std::unique_ptr<std::byte[]>> copies_;
  MatrixView embedding_, head_;
  std::vector<float> final_norm_;
  std::vector<LayerWeights> layers_;
};

}  // namespace lacuna
