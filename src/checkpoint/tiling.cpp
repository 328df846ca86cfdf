#include "src/checkpoint/tiling.h"

#include <algorithm>
#include <map>
#include <set>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/checkpoint/rectangle.h"

namespace lacuna {

namespace {

constexpr std::size_t kMaxSlabs = 1'000'000;
constexpr std::int64_t kMaxElements = std::int64_t{1} << 48;

struct Context {
  const std::string& where;
  ErrorKind kind;
};

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

void check_shape(const SlabEntry& slab, const Context& c) {
  LACUNA_CHECK(!slab.name.empty() && slab.name.size() <= 1024, c.kind, "{}: a tensor's name of {} bytes",
               c.where, slab.name.size());
  std::int64_t elements = 1;
  bool fits = slab.shape.size() == 1 || slab.shape.size() == 2;
  for (std::int64_t extent : slab.shape)
    fits = fits && extent >= 1 && !__builtin_mul_overflow(elements, extent, &elements) &&
           elements <= kMaxElements;
  LACUNA_CHECK(fits, c.kind, "{}: {}: shape {}; 1 or 2 positive dimensions are allowed", c.where,
               printable(slab.name), shape_text(slab.shape));
  LACUNA_CHECK(lies_inside(slab.slab, slab.shape), c.kind,
               "{}: {}: slab at {} of {} elements is outside shape {}", c.where, printable(slab.name),
               shape_text(slab.slab.offset), shape_text(slab.slab.extent), shape_text(slab.shape));
}

void check_cover(const std::string& name, std::vector<const SlabEntry*>& slabs, const Context& c) {
  const SlabEntry& first = *slabs.front();
  std::int64_t total = 1, covered = 0;
  for (std::int64_t extent : first.shape) total *= extent;
  for (const SlabEntry* slab : slabs) {
    LACUNA_CHECK(slab->dtype == first.dtype, c.kind, "{}: {}: slabs of {} and of {}", c.where,
                 printable(name), name_of(first.dtype), name_of(slab->dtype));
    LACUNA_CHECK(slab->shape == first.shape, c.kind, "{}: {}: slabs of shape {} and of {}", c.where,
                 printable(name), shape_text(first.shape), shape_text(slab->shape));
  }
  std::sort(slabs.begin(), slabs.end(),
            [](const SlabEntry* a, const SlabEntry* b) { return a->slab.offset < b->slab.offset; });
  for (std::size_t i = 0; i < slabs.size(); ++i) {
    const Slab& a = slabs[i]->slab;
    covered += a.elements();
    for (std::size_t j = i + 1; j < slabs.size() && slabs[j]->slab.offset[0] < a.offset[0] + a.extent[0]; ++j)
      LACUNA_CHECK(!intersect(a, slabs[j]->slab), c.kind, "{}: {}: slabs {} of {} and {} of {} overlap",
                   c.where, printable(name), to_text(a), slabs[i]->file, to_text(slabs[j]->slab),
                   slabs[j]->file);
  }
  LACUNA_CHECK(covered == total, c.kind, "{}: {}: slabs leave a gap: {} of {} elements are there", c.where,
               printable(name), covered, total);
}

void check_files(const Manifest& m, const Context& c) {
  std::set<std::string> names, slab_files;
  for (const FileEntry& file : m.files) {
    LACUNA_CHECK(names.insert(file.name).second, c.kind, "{}: file {} is listed twice", c.where, file.name);
    if (file.role == FileRole::Slabs) slab_files.insert(file.name);
  }
  std::set<std::pair<std::string, std::string>> datasets;
  for (const SlabEntry& slab : m.slabs) {
    LACUNA_CHECK(slab_files.count(slab.file), c.kind, "{}: {}: lies in {}, which is not listed", c.where,
                 printable(slab.name), slab.file);
    LACUNA_CHECK(datasets.insert({slab.file, slab.dataset}).second, c.kind,
                 "{}: dataset '{}' of {} is used twice", c.where, printable(slab.dataset), slab.file);
  }
}

}  // namespace

void check_manifest(const Manifest& m, const std::string& where, ErrorKind kind) {
  const Context c{where, kind};
  LACUNA_CHECK(m.step >= 0 && m.tokens >= 0, kind, "{}: step {} after {} tokens", where, m.step, m.tokens);
  LACUNA_CHECK(m.slabs.size() <= kMaxSlabs, kind, "{}: {} slabs; at most {} are allowed", where,
               m.slabs.size(), kMaxSlabs);
  check_files(m, c);
  std::map<std::string, std::vector<const SlabEntry*>> tensors;
  for (const SlabEntry& slab : m.slabs) {
    check_shape(slab, c);
    tensors[slab.name].push_back(&slab);
  }
  for (auto& [name, slabs] : tensors) check_cover(name, slabs, c);
  if (m.config.layers == 0) return;  // tensors without a model
  for (const Parameter& parameter : parameters(m.config)) {
    const auto found = tensors.find(parameter.name);
    LACUNA_CHECK(found != tensors.end(), kind, "{}: the model's {} is missing", where, parameter.name);
    const SlabEntry& slab = *found->second.front();
    LACUNA_CHECK(slab.shape == parameter.shape, kind, "{}: {}: shape {}, the model's configuration says {}",
                 where, parameter.name, shape_text(slab.shape), shape_text(parameter.shape));
  }
}

}  // namespace lacuna
