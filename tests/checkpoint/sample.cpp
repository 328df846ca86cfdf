#include "tests/checkpoint/sample.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "parallel/run/local_communicator.h"
#include "src/base/rng.h"
#include "src/checkpoint/slab_file.h"

namespace lacuna::test {

namespace {

GlobalTensor draw(std::uint64_t seed, const std::string& name, DType dtype, std::vector<std::int64_t> shape) {
  GlobalTensor tensor{dtype, std::move(shape), {}};
  std::int64_t count = 1;
  for (std::int64_t extent : tensor.shape) count *= extent;
  tensor.bytes.resize(static_cast<std::size_t>(count) * size_of(dtype));
  const std::uint64_t key = rng_key(seed, name);
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    const double value = rng_normal(key, i);
    std::byte* at = tensor.bytes.data() + i * size_of(dtype);
    const auto single = static_cast<float>(value);
    const std::uint16_t half = to_bf16(single);
    if (dtype == DType::F64) std::memcpy(at, &value, sizeof value);
    if (dtype == DType::F32) std::memcpy(at, &single, sizeof single);
    if (dtype == DType::BF16) std::memcpy(at, &half, sizeof half);
  }
  return tensor;
}

}  // namespace

Sample make_sample(std::uint64_t seed, DType dtype, std::int64_t layers) {
  Sample sample;
  ModelConfig& c = sample.config;
  c.hidden = 24;
  c.ffn = 40;
  c.layers = layers;
  c.heads = 8;
  c.kv_heads = 2;
  c.head_dim = 3;
  c.vocab = 37;
  c.rope_theta = 1234.5;
  c.eos_ids = {2, 5};
  c.activation = Activation::Drelu;
  c.qkv_bias = layers == 4;
  for (const Parameter& p : parameters(c)) {
    sample.tensors[p.name] = draw(seed, p.name, dtype, p.shape);
    for (const char* moment : {"optim.exp_avg.", "optim.exp_avg_sq."})
      sample.tensors[moment + p.name] = draw(seed, moment + p.name, DType::F32, p.shape);
  }
  return sample;
}

ContentHash content_of(const Sample& sample) {
  ContentHash hash;
  for (const auto& [name, tensor] : sample.tensors)
    add_elements(hash, name, 0, tensor.bytes.data(), tensor.bytes.size() / size_of(tensor.dtype),
                 size_of(tensor.dtype));
  return hash;
}

std::vector<std::byte> cut(const GlobalTensor& tensor, const Slab& slab) {
  const std::size_t element = size_of(tensor.dtype);
  const bool matrix = tensor.shape.size() == 2;
  const std::int64_t columns = matrix ? tensor.shape[1] : 1, width = matrix ? slab.extent[1] : 1;
  std::vector<std::byte> out;
  for (std::int64_t row = 0; row < slab.extent[0]; ++row) {
    const std::int64_t first = (slab.offset[0] + row) * columns + (matrix ? slab.offset[1] : 0);
    const std::byte* from = tensor.bytes.data() + static_cast<std::size_t>(first) * element;
    out.insert(out.end(), from, from + static_cast<std::size_t>(width) * element);
  }
  return out;
}

void OwnedSlabs::add(const std::string& name, const GlobalTensor& tensor, const Slab& slab) {
  storage.push_back(cut(tensor, slab));
  slabs.push_back({name, tensor.dtype, tensor.shape, slab, storage.back().data()});
}

OwnedSlabs slabs_of_rank(const Sample& sample, const Topology& topology, int rank) {
  const Coordinates at = coordinates_of(topology, rank);
  const auto stages = cut_layers(static_cast<int>(sample.config.layers), topology.pp, {});
  const LayerRange mine = stages[static_cast<std::size_t>(at.pp)];
  OwnedSlabs out;
  for (const Parameter& p : parameters(sample.config)) {
    const bool here = p.layer < 0                       ? at.pp == 0
                      : p.layer >= sample.config.layers ? at.pp == topology.pp - 1
                                                        : p.layer >= mine.begin && p.layer < mine.end;
    const LocalTensor local = local_tensor(p, sample.config, at.tp, topology.tp);
    if (!here || local.replica != 0) continue;
    const Slab slab = slab_of_rows(local, owned_rows(local, at.dp, topology.dp));
    for (const std::string& name : {p.name, "optim.exp_avg." + p.name, "optim.exp_avg_sq." + p.name})
      out.add(name, sample.tensors.at(name), slab);
  }
  return out;
}

CheckpointMeta make_meta(const Sample& sample, std::int64_t step, const Topology& topology) {
  CheckpointMeta meta;
  meta.step = step;
  meta.tokens = step * 1000;
  meta.config = sample.config;
  meta.layout = {{"pp", topology.pp}, {"tp", topology.tp}, {"dp", topology.dp}};
  meta.state = {{"trainer", "cursor 17"}, {"empty", ""}, {"binary", std::string("\0\xff\n\x80", 4)}};
  meta.files = {{"tokenizer.json", "{\"é\": 1}\n"}, {"odd.bin", std::string("a\0b", 3)}, {"nothing.txt", ""}};
  meta.config_ini = "[optim]\nlr = 0.001\nname = \"é # x\"\n";
  return meta;
}

std::string save(const std::string& run_folder, const Sample& sample, std::int64_t step,
                 const Topology& topology, const SaveOptions& options) {
  std::string folder;
  run_local(topology.world(), [&](Communicator& world, int rank) {
    const OwnedSlabs mine = slabs_of_rank(sample, topology, rank);
    const std::string saved =
        save_checkpoint(run_folder, world, make_meta(sample, step, topology), mine.slabs, options);
    if (rank == 0) folder = saved;
  });
  return folder;
}

Slab whole(const std::vector<std::int64_t>& shape) {
  return {std::vector<std::int64_t>(shape.size(), 0), shape};
}

std::vector<std::byte> read_all(const CheckpointReader& reader, const std::string& name) {
  const TensorInfo& info = reader.tensors().at(name);
  const Slab slab = whole(info.shape);
  std::vector<std::byte> out(static_cast<std::size_t>(slab.elements()) * size_of(info.dtype));
  reader.read(name, slab, info.dtype, out.data());
  return out;
}

bool holds(const CheckpointReader& reader, const Sample& sample) {
  if (reader.tensors().size() != sample.tensors.size()) return false;
  return std::all_of(sample.tensors.begin(), sample.tensors.end(), [&](const auto& named) {
    const auto found = reader.tensors().find(named.first);
    return found != reader.tensors().end() && found->second.dtype == named.second.dtype &&
           found->second.shape == named.second.shape && read_all(reader, named.first) == named.second.bytes;
  });
}

std::vector<std::string> entries(const std::string& folder) {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    out.push_back(entry.path().filename());
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace lacuna::test
