#include "src/h5/file.h"

#include <map>

#include "src/base/file.h"
#include "src/h5/attributes.h"
#include "src/h5/dataset_state.h"
#include "src/h5/walk.h"
#include "src/h5/write_driver.h"

namespace lacuna::h5 {

namespace {

constexpr hsize_t kAlignFrom = 64 << 10, kAlignment = 4096;

Handle access_list(const Place& place) {
  LACUNA_H5(place, H5PLset_loading_state, 0u);  // no plugins, whatever the environment says
  Handle list(LACUNA_H5(place, H5Pcreate, H5P_FILE_ACCESS), H5Pclose);
  LACUNA_H5(place, H5Pset_fclose_degree, list.get(), H5F_CLOSE_SEMI);  // a forgotten dataset fails close()
  LACUNA_H5(place, H5Pset_file_locking, list.get(), false, true);
  return list;
}

void check_name(const Place& place, const std::string& name) {
  const bool odd = name.empty() || name.size() > 1024 || name.front() == '/' || name.back() == '/' ||
                   name.find("//") != std::string::npos || name.find('\0') != std::string::npos ||
                   name == ".";
  LACUNA_CHECK(!odd, place.kind, "{}: bad dataset name '{}'", place.file, printable(name));
}

}  // namespace

struct File::State {
  WriteLog log;  // of a file that is written
  Handle id;     // after the log: it is closed first
  Place place;
  std::map<std::string, DatasetInfo> datasets;  // what open() found and checked, or was created since
  Place of(const std::string& dataset) const { return {place.kind, place.file, dataset}; }
};

File::File(std::unique_ptr<State> state) : state_(std::move(state)) {}
File::~File() = default;
File::File(File&&) noexcept = default;
File& File::operator=(File&&) noexcept = default;

const std::string& File::path() const {
  return state_->place.file;
}

File File::create(const std::string& path) {
  const LibraryLock lock;
  auto state = std::make_unique<State>();
  state->place = {ErrorKind::Storage, path, ""};
  const Handle access = access_list(state->place);
  // The 1.8 format: metadata carries checksums, and every HDF5 of the last decade reads it.
  LACUNA_H5(state->place, H5Pset_libver_bounds, access.get(), H5F_LIBVER_V18, H5F_LIBVER_V18);
  LACUNA_H5(state->place, H5Pset_alignment, access.get(), kAlignFrom, kAlignment);
  use_write_driver(access.get(), state->place, state->log);
  const hid_t id = H5Fcreate(path.c_str(), H5F_ACC_EXCL, H5P_DEFAULT, access.get());
  state->log.check(state->place);
  state->id = Handle(checked(id, state->place, "H5Fcreate"), H5Fclose);
  return File(std::move(state));
}

File File::open(const std::string& path) {
  const LibraryLock lock;
  auto state = std::make_unique<State>();
  state->place = {ErrorKind::BadInput, path, ""};
  const Handle access = access_list(state->place);
  state->id = Handle(LACUNA_H5(state->place, H5Fopen, path.c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose);
  for (const std::string& name : walk_file(state->id.get(), state->place))
    open_checked_dataset(state->id.get(), state->of(name), name, state->datasets[name]);
  return File(std::move(state));
}

Dataset File::create_dataset(const std::string& name, DType dtype, const std::vector<std::int64_t>& shape,
                             const Layout& layout) {
  const LibraryLock lock;
  check_name(state_->place, name);
  auto dataset = std::make_unique<Dataset::State>();
  dataset->place = state_->of(name);
  dataset->info = {dtype, shape, layout.chunk_rows, layout.compress};
  dataset->id = make_dataset(state_->id.get(), dataset->place, name, dataset->info);
  dataset->log = &state_->log;
  state_->log.check(dataset->place);
  state_->datasets[name] = dataset->info;
  return Dataset(std::move(dataset));
}

Dataset File::open_dataset(const std::string& name) const {
  const LibraryLock lock;
  const auto found = state_->datasets.find(name);
  LACUNA_CHECK(found != state_->datasets.end(), state_->place.kind, "{}: no dataset '{}'", state_->place.file,
               printable(name));
  auto dataset = std::make_unique<Dataset::State>();
  dataset->place = state_->of(name);
  if (state_->place.kind == ErrorKind::BadInput) {  // checked by open(), and the file does not change
    dataset->info = found->second;
    dataset->id =
        Handle(LACUNA_H5(dataset->place, H5Dopen2, state_->id.get(), name.c_str(), H5P_DEFAULT), H5Dclose);
  } else {
    dataset->log = &state_->log;
    dataset->id = open_checked_dataset(state_->id.get(), dataset->place, name, dataset->info);
  }
  return Dataset(std::move(dataset));
}

void File::write_all(const std::string& name, DType dtype, std::int64_t count, const void* data) {
  create_dataset(name, dtype, {count}).write(data);
}

void File::write_bytes(const std::string& name, const std::string& bytes) {
  write_all(name, DType::U8, static_cast<std::int64_t>(bytes.size()), bytes.data());
}

std::string File::read_bytes(const std::string& name, std::int64_t max_bytes) const {
  const Dataset dataset = open_dataset(name);
  const DatasetInfo& info = dataset.info();
  LACUNA_CHECK(info.dtype == DType::U8 && info.shape.size() == 1 && info.shape[0] <= max_bytes,
               state_->place.kind, "{}: dataset '{}': wanted at most {} bytes of U8, got {} {}",
               state_->place.file, name, max_bytes, info.elements(), name_of(info.dtype));
  std::string bytes(static_cast<std::size_t>(info.shape[0]), '\0');
  dataset.read(bytes.data());
  return bytes;
}

bool File::has(const std::string& name) const {
  return state_->datasets.count(name) > 0;
}

std::vector<std::string> File::datasets() const {
  std::vector<std::string> names;
  for (const auto& [name, info] : state_->datasets) names.push_back(name);
  return names;
}

void File::set_attribute(const std::string& name, const std::string& value) {
  const LibraryLock lock;
  put_attribute(state_->id.get(), state_->place, name, value);
}

void File::set_attribute(const std::string& name, std::int64_t value) {
  const LibraryLock lock;
  put_attribute(state_->id.get(), state_->place, name, value);
}

bool File::has_attribute(const std::string& name) const {
  const LibraryLock lock;
  return h5::has_attribute(state_->id.get(), state_->place, name);
}

std::string File::text_attribute(const std::string& name) const {
  const LibraryLock lock;
  return get_text(state_->id.get(), state_->place, name);
}

std::int64_t File::int_attribute(const std::string& name) const {
  const LibraryLock lock;
  return get_int(state_->id.get(), state_->place, name);
}

void File::close() {
  const LibraryLock lock;
  LACUNA_H5(state_->place, H5Fclose, state_->id.get());
  state_->id.release();
  state_->log.check(state_->place);
}

}  // namespace lacuna::h5
