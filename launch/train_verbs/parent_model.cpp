#include "launch/train_verbs/parent_model.h"

#include <ATen/ATen.h>

#include <cstring>
#include <mutex>
#include <vector>

#include "src/arch/presets.h"
#include "src/base/convert_elements.h"
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

// The same straight out of a stored tensor, each run of elements converted once.
void convert(const TensorView& view, const Slab& slab, DType dtype, std::byte* dst) {
  const bool matrix = view.shape.size() > 1;
  const std::int64_t row = matrix ? view.shape[1] : 1, width = matrix ? slab.extent[1] : 1;
  const bool whole_rows = width == row;
  const std::int64_t runs = whole_rows ? 1 : slab.extent[0];
  const std::int64_t run = whole_rows ? slab.extent[0] * width : width;
  const auto* from = static_cast<const std::byte*>(view.data);
  for (std::int64_t r = 0; r < runs; ++r) {
    const std::int64_t first = (slab.offset[0] + r) * row + (matrix ? slab.offset[1] : 0);
    convert_elements(from + static_cast<std::size_t>(first) * size_of(view.dtype), view.dtype,
                     dst + static_cast<std::size_t>(r * run) * size_of(dtype), dtype,
                     static_cast<std::size_t>(run));
  }
}

at::ScalarType stored_type(DType dtype) {
  return dtype == DType::F16 ? at::kHalf : scalar_type(dtype);
}

// A view into the mapped file. Nobody may write through it.
at::Tensor mapped_tensor(const ModelSource& source, const std::string& name, const Slab& slab) {
  if (!source.has(name)) return {};  // half of a bundle
  const TensorView& view = source.tensor(name);
  at::Tensor part = at::from_blob(const_cast<void*>(view.data), view.shape, stored_type(view.dtype));
  for (std::size_t d = 0; d < slab.extent.size(); ++d)
    part = part.narrow(static_cast<std::int64_t>(d), slab.offset[d], slab.extent[d]);
  return part;
}

ParentModel from_folder(const std::string& path) {
  auto source = std::make_shared<const ModelSource>(ModelSource::open(path));
  ParentModel parent;
  parent.config = source->config();
  parent.files = source->companions();
  parent.description = source->kind() + " " + path;
  parent.weights = [source](const std::string& name, const Slab& slab, DType dtype, void* dst) {
    if (source->has(name)) return convert(source->tensor(name), slab, dtype, static_cast<std::byte*>(dst));
    for (const Parameter& p : parameters(source->config())) {
      if (p.name != name) continue;
      std::vector<std::byte> whole(static_cast<std::size_t>(p.elements()) * size_of(dtype));
      source->copy(name, dtype, whole.data());
      cut(whole.data(), p.shape, slab, size_of(dtype), static_cast<std::byte*>(dst));
      return;
    }
    fail(ErrorKind::Internal, "no parameter {}", name);
  };
  parent.ready = [source](const std::string& name, const Slab& slab) {
    return mapped_tensor(*source, name, slab);
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
