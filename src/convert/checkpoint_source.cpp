#include "src/convert/checkpoint_source.h"

#include "src/arch/parameters.h"
#include "src/base/error.h"
#include "src/base/log.h"
#include "src/checkpoint/checkpoint.h"

namespace lacuna {

ModelSource open_checkpoint(const std::string& path) {
  std::vector<std::string> rejected;
  const CheckpointReader reader(path, &rejected);
  for (const std::string& line : rejected) log_warning("{}", line);
  ModelContents contents;
  contents.path = reader.folder();
  contents.kind = "checkpoint";
  contents.config = reader.meta().config;
  contents.companions = reader.meta().files;
  for (const Parameter& parameter : parameters(contents.config)) {
    const auto found = reader.tensors().find(parameter.name);
    LACUNA_CHECK(found != reader.tensors().end(), ErrorKind::BadInput, "{}: tensor '{}' is missing",
                 contents.path, parameter.name);
    TensorView view{found->second.dtype, found->second.shape, nullptr};
    contents.copies.push_back(std::make_unique_for_overwrite<std::byte[]>(view.bytes()));
    view.data = contents.copies.back().get();
    const Slab whole{std::vector<std::int64_t>(view.shape.size(), 0), view.shape};
    reader.read(parameter.name, whole, view.dtype, contents.copies.back().get());
    contents.tensors.emplace(parameter.name, std::move(view));
  }
  return ModelSource(std::move(contents));
}

ModelSource open_any_model(const std::string& path, const std::string& tokenizer) {
  return is_checkpoint(path) ? open_checkpoint(path) : ModelSource::open(path, tokenizer);
}

}  // namespace lacuna
