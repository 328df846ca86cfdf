#include "src/model/model_context.h"

#include <ATen/ATen.h>

#include "src/model/element_types.h"
#include "src/model/parameter_store.h"

namespace lacuna {

namespace {

AttentionShape attention_shape(const ModelConfig& c, const MicroShape& shape) {
  const std::int64_t kv_heads = c.kv_heads >= shape.tp ? c.kv_heads / shape.tp : 1;
  const std::int64_t heads = c.heads / shape.tp;
  return {shape.sequences, shape.seq_len, kv_heads, heads / kv_heads, c.head_dim, c.sliding_window};
}

}  // namespace

ModelContext::ModelContext(const ModelConfig& c, const MicroShape& s, Communicator* tp, at::Device on)
    : config(c),
      shape(s),
      device(on),
      shards(tp),
      rope(c, s.seq_len, scalar_type(s.compute), on),
      attention(attention_shape(c, s), scalar_type(s.compute), on) {
  const at::TensorOptions type = at::TensorOptions().dtype(scalar_type(s.compute)).device(on);
  const std::int64_t t = s.tokens(), m = s.local_tokens();
  work.all = at::empty({t, c.hidden}, type);
  work.all_grad = at::empty({t, c.hidden}, type);
  work.mine = at::empty({m, c.hidden}, type);
  work.residual = at::empty({m, c.hidden}, type);
  work.neurons = at::empty({t, c.ffn / s.tp}, type);
  work.heads = at::empty({t, c.query_width() / s.tp}, type);
  if (on.is_cpu())
    work.neuron_sums = at::empty({t, c.ffn / s.tp}, type.dtype(accumulate_type(scalar_type(s.compute))));
}

}  // namespace lacuna
