#include "src/train/model_identity.h"

#include <array>
#include <vector>

#include "src/arch/parameters.h"
#include "src/base/fields.h"
#include "src/base/hash.h"

namespace lacuna {

std::string model_identity(const ModelConfig& config, const SlabSource& weights, Communicator& world) {
  ContentHash hash;
  int turn = 0;
  for (const Parameter& p : parameters(config)) {
    if (turn++ % world.size() != world.rank()) continue;
    std::vector<float> values(static_cast<std::size_t>(p.elements()));
    Slab whole;
    whole.offset.assign(p.shape.size(), 0);
    whole.extent = p.shape;
    weights(p.name, whole, DType::F32, values.data());
    add_elements(hash, p.name, 0, values.data(), values.size(), sizeof(float));
  }
  std::array<std::uint64_t, 2> lanes{hash.low, hash.high};
  world.all_reduce_sum(lanes.data(), lanes.size(), DType::I64);
  ModelConfig fields = config;
  const std::string text = to_ini(fields_of(fields), false);
  return to_hex(hash64(text.data(), text.size())) + ContentHash{lanes[0], lanes[1]}.hex();
}

}  // namespace lacuna
