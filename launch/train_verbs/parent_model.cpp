#include "launch/train_verbs/parent_model.h"

#include <cstring>
#include <mutex>
#include <vector>

#include "src/arch/presets.h"
#include "src/base/error.h"
#include "src/checkpoint/checkpoint.h"
#include "src/format/model_source.h"

namespace lacuna {

namespace {

// A rectangle of a whole row-major tensor of one or two dimensions.
void cut(const std::byte* whole, const std::vector<std::int64_t>& shape, const Slab& slab,
         std::size_t element, std::byte* dst) {
  const bool matrix = shape.size() > 1;
  const auto row = static_cast<std::size_t>(matrix ? shape[1] : 1) * element;
  const auto run = static_cast<std::size_t>(matrix ? slab.extent[1] : 1) * element;
  const auto left = static_cast<std::size_t>(matrix ? slab.offset[1] : 0) * element;
  for (std::int64_t r = 0; r < slab.extent[0]; ++r, dst += run)
    std::memcpy(dst, whole + static_cast<std::size_t>(slab.offset[0] + r) * row + left, run);
}

ParentModel from_folder(const std::string& path) {
  auto source = std::make_shared<const ModelSource>(ModelSource::open(path));
  ParentModel parent;
  parent.config = source->config();
  parent.files = source->companions();
  parent.description = source->kind() + " " + path;
  parent.weights = [source](const std::string& name, const Slab& slab, DType dtype, void* dst) {
    for (const Parameter& p : parameters(source->config())) {
      if (p.name != name) continue;
      std::vector<std::byte> whole(static_cast<std::size_t>(p.elements()) * size_of(dtype));
      source->copy(name, dtype, whole.data());
      cut(whole.data(), p.shape, slab, size_of(dtype), static_cast<std::byte*>(dst));
      return;
    }
    fail(ErrorKind::Internal, "no parameter {}", name);
  };
  parent.owner = source;
  return parent;
}

}  // namespace

ParentModel open_parent(const std::string& model) {
  if (!is_checkpoint(model)) return from_folder(model);
  auto reader = std::make_shared<const CheckpointReader>(model);
  check_tensors(reader->meta().config, reader->tensors(), reader->folder(), false);
  ParentModel parent;
  parent.config = reader->meta().config;
  parent.files = reader->meta().files;
  parent.description = "checkpoint " + reader->folder();
  parent.weights = [reader](const std::string& name, const Slab& slab, DType dtype, void* dst) {
    reader->read(name, slab, dtype, dst);
  };
  parent.owner = reader;
  return parent;
}

ParentModel new_model(const std::string& arch, std::int64_t vocab, std::int64_t eos_id) {
  ParentModel parent;
  parent.config = read_arch(arch);
  if (parent.config.vocab == 0) parent.config.vocab = vocab;
  if (parent.config.eos_ids.empty() && eos_id >= 0) parent.config.eos_ids = {eos_id};
  parent.config.complete_and_check("--arch " + arch);
  parent.description = "new model " + arch;
  return parent;
}

}  // namespace lacuna
