#include "src/h5/dataset.h"

#include "src/base/math.h"
#include "src/h5/attributes.h"
#include "src/h5/dataset_state.h"
#include "src/h5/element_type.h"

namespace lacuna::h5 {

Selection Dataset::State::select(const std::vector<std::int64_t>& offset,
                                 const std::vector<std::int64_t>& extent) const {
  const std::size_t rank = info.shape.size();
  LACUNA_CHECK(offset.size() == rank && extent.size() == rank, ErrorKind::Internal,
               "{}: a rectangle of {} dimensions in a dataset of {}", place.text(), extent.size(), rank);
  for (std::size_t i = 0; i < rank; ++i)
    LACUNA_CHECK(offset[i] >= 0 && extent[i] >= 0 && extent[i] <= info.shape[i] &&
                     offset[i] <= info.shape[i] - extent[i],
                 place.kind, "{}: dimension {}: elements {} to {} of {}", place.text(), i, offset[i],
                 offset[i] + extent[i], info.shape[i]);
  const std::vector<hsize_t> start(offset.begin(), offset.end()), count(extent.begin(), extent.end());
  Selection out;
  out.memory =
      Handle(LACUNA_H5(place, H5Screate_simple, static_cast<int>(rank), count.data(), nullptr), H5Sclose);
  out.file = Handle(LACUNA_H5(place, H5Dget_space, id.get()), H5Sclose);
  LACUNA_H5(place, H5Sselect_hyperslab, out.file.get(), H5S_SELECT_SET, start.data(), nullptr, count.data(),
            nullptr);
  return out;
}

Dataset::Dataset(std::unique_ptr<State> state) : state_(std::move(state)) {}
Dataset::~Dataset() = default;
Dataset::Dataset(Dataset&&) noexcept = default;
Dataset& Dataset::operator=(Dataset&&) noexcept = default;

const std::string& Dataset::name() const {
  return state_->place.dataset;
}
const DatasetInfo& Dataset::info() const {
  return state_->info;
}

void Dataset::write(const void* data) {
  write(std::vector<std::int64_t>(info().shape.size(), 0), info().shape, data);
}

void Dataset::write(const std::vector<std::int64_t>& offset, const std::vector<std::int64_t>& extent,
                    const void* data) {
  const LibraryLock lock;
  const Selection at = state_->select(offset, extent);
  if (H5Sget_select_npoints(at.file.get()) == 0) return;
  LACUNA_H5(state_->place, H5Dwrite, state_->id.get(), file_type(info().dtype), at.memory.get(),
            at.file.get(), H5P_DEFAULT, data);
  if (state_->log) state_->log->check(state_->place);
}

void Dataset::read(void* data) const {
  read(std::vector<std::int64_t>(info().shape.size(), 0), info().shape, data);
}

void Dataset::read(const std::vector<std::int64_t>& offset, const std::vector<std::int64_t>& extent,
                   void* data) const {
  const LibraryLock lock;
  const Selection at = state_->select(offset, extent);
  if (H5Sget_select_npoints(at.file.get()) == 0) return;
  LACUNA_H5(state_->place, H5Dread, state_->id.get(), file_type(info().dtype), at.memory.get(), at.file.get(),
            H5P_DEFAULT, data);
}

void Dataset::resize(std::int64_t rows) {
  const LibraryLock lock;
  LACUNA_CHECK(info().chunk_rows > 0 && rows >= 0, ErrorKind::Internal, "{}: cannot grow to {} rows",
               state_->place.text(), rows);
  std::vector<hsize_t> shape(info().shape.begin(), info().shape.end());
  shape[0] = static_cast<hsize_t>(rows);
  LACUNA_H5(state_->place, H5Dset_extent, state_->id.get(), shape.data());
  state_->info.shape[0] = rows;
}

void Dataset::set_attribute(const std::string& name, const std::string& value) {
  const LibraryLock lock;
  put_attribute(state_->id.get(), state_->place, name, value);
}

void Dataset::set_attribute(const std::string& name, std::int64_t value) {
  const LibraryLock lock;
  put_attribute(state_->id.get(), state_->place, name, value);
}

bool Dataset::has_attribute(const std::string& name) const {
  const LibraryLock lock;
  return h5::has_attribute(state_->id.get(), state_->place, name);
}

std::string Dataset::text_attribute(const std::string& name) const {
  const LibraryLock lock;
  return get_text(state_->id.get(), state_->place, name);
}

std::int64_t Dataset::int_attribute(const std::string& name) const {
  const LibraryLock lock;
  return get_int(state_->id.get(), state_->place, name);
}

}  // namespace lacuna::h5
