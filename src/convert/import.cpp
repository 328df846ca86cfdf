#include "src/convert/import.h"

#include <filesystem>
#include <memory>

#include "parallel/run/local_communicator.h"
#include "src/arch/parameters.h"
#include "src/base/error.h"
#include "src/base/log.h"
#include "src/checkpoint/checkpoint.h"
#include "src/checkpoint/run_lock.h"
#include "src/convert/output_folder.h"
#include "src/convert/self_check.h"
#include "src/convert/tokenizer_check.h"
#include "src/format/detect.h"
#include "src/format/model_source.h"

namespace lacuna {

namespace {

// The parameters as slabs: straight out of the mapped files, except halves of bundles.
class Slabs {
 public:
  explicit Slabs(const ModelSource& source) {
    for (const Parameter& parameter : parameters(source.config())) {
      TensorSlab slab;
      slab.name = parameter.name;
      slab.dtype = source.stored_dtype(parameter.name);
      slab.shape = parameter.shape;
      slab.slab = {std::vector<std::int64_t>(parameter.shape.size(), 0), parameter.shape};
      if (source.has(parameter.name)) {
        slab.data = source.tensor(parameter.name).data;
      } else {
        copies_.push_back(std::make_unique_for_overwrite<std::byte[]>(
            static_cast<std::size_t>(parameter.elements()) * size_of(slab.dtype)));
        source.copy(parameter.name, slab.dtype, copies_.back().get());
        slab.data = copies_.back().get();
      }
      all_.push_back(std::move(slab));
    }
  }
  const std::vector<TensorSlab>& all() const { return all_; }

 private:
  std::vector<std::unique_ptr<std::byte[]>> copies_;
  std::vector<TensorSlab> all_;
};

bool is_import(const std::string& folder) {
  try {
    return is_checkpoint(folder) && CheckpointReader(folder).meta().kind == "import";
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

ImportReport import_model(const ImportOptions& options) {
  LACUNA_CHECK(!is_checkpoint(options.model), ErrorKind::Usage, "{}: is a checkpoint already", options.model);
  const ModelSource source = ModelSource::open(options.model);
  CheckpointMeta meta;
  meta.kind = "import";
  meta.config = source.config();
  meta.layout = {{"pp", 1}, {"tp", 1}, {"dp", 1}};
  meta.state["import.source"] = std::filesystem::absolute(options.model).lexically_normal().string();
  meta.state["import.kind"] = source.kind();
  meta.files = options.tokenizer.empty() ? source.companions() : tokenizer_bytes(options.tokenizer);
  ImportReport report;
  report.kind = source.kind();
  report.config = source.config();
  report.tokenizer_kind = check_tokenizer(meta.files, source.config(),
                                          options.tokenizer.empty() ? options.model : options.tokenizer);
  if (meta.files.empty())
    log_warning("{}: no tokenizer found; name one with --tokenizer to encode text with this model",
                options.model);
  OutputFolder out(options.out, options.force, is_import);
  meta.probe = make_probe(options.model, options.threads);
  {
    const RunLock lock(out.temporary());
    SaveOptions save;
    save.generation = lock.generation();
    save.run_id = lock.run_id();
    const std::unique_ptr<Communicator> world = single_rank("import");
    const Slabs slabs(source);
    report.checkpoint = save_checkpoint(out.temporary(), *world, meta, slabs.all(), save);
  }
  report.content_hash = CheckpointReader(report.checkpoint).content_hash().hex();
  const std::string step = std::filesystem::path(report.checkpoint).filename().string();
  out.commit();
  report.checkpoint = out.path() + "/" + step;
  return report;
}

}  // namespace lacuna
