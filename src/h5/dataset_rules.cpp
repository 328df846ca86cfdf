// Which datasets we write and accept: 1-2 dimensions, contiguous or chunked, shuffle and deflate alone.
#include <limits>

#include "src/base/math.h"
#include "src/h5/attributes.h"
#include "src/h5/dataset_state.h"
#include "src/h5/element_type.h"

namespace lacuna::h5 {

namespace {

constexpr std::int64_t kMaxChunkBytes = std::int64_t{256} << 20;
constexpr std::int64_t kMaxDeflateRatio = 1040;  // deflate cannot shrink more than 1032 : 1

Handle creation_list(const Place& place, const DatasetInfo& info) {
  Handle list(LACUNA_H5(place, H5Pcreate, H5P_DATASET_CREATE), H5Pclose);
  LACUNA_H5(place, H5Pset_obj_track_times, list.get(), false);  // equal content gives equal bytes
  if (info.chunk_rows == 0) return list;
  std::vector<hsize_t> chunk(info.shape.begin(), info.shape.end());
  chunk[0] = static_cast<hsize_t>(info.chunk_rows);
  LACUNA_H5(place, H5Pset_chunk, list.get(), static_cast<int>(chunk.size()), chunk.data());
  if (info.compressed) {
    LACUNA_H5(place, H5Pset_shuffle, list.get());
    LACUNA_H5(place, H5Pset_deflate, list.get(), 1u);
  }
  return list;
}

void check_filters(hid_t list, const Place& place, DatasetInfo& info) {
  const int count = LACUNA_H5(place, H5Pget_nfilters, list);
  for (int i = 0; i < count; ++i) {
    unsigned flags = 0, config = 0;
    std::size_t values = 0;
    const H5Z_filter_t filter = LACUNA_H5(place, H5Pget_filter2, list, static_cast<unsigned>(i), &flags,
                                          &values, nullptr, std::size_t{0}, nullptr, &config);
    LACUNA_CHECK(filter == H5Z_FILTER_SHUFFLE || filter == H5Z_FILTER_DEFLATE, place.kind,
                 "{}: filter {}; only shuffle and deflate are accepted", place.text(), filter);
    info.compressed = info.compressed || filter == H5Z_FILTER_DEFLATE;
  }
}

// Layout and storage are looked at before the space: asking a virtual dataset for its space opens its
// sources.
void check_storage(hid_t list, const Place& place, DatasetInfo& info) {
  const H5D_layout_t layout = LACUNA_H5(place, H5Pget_layout, list);
  LACUNA_CHECK(layout != H5D_VIRTUAL, place.kind, "{}: virtual datasets are refused", place.text());
  LACUNA_CHECK(layout == H5D_CONTIGUOUS || layout == H5D_CHUNKED, place.kind,
               "{}: only contiguous and chunked storage is accepted", place.text());
  LACUNA_CHECK(LACUNA_H5(place, H5Pget_external_count, list) == 0, place.kind,
               "{}: storage in external files is refused", place.text());
  if (layout == H5D_CHUNKED) {
    hsize_t chunk[kMaxRank] = {1, 1};
    const int rank = LACUNA_H5(place, H5Pget_chunk, list, static_cast<int>(kMaxRank), chunk);
    LACUNA_CHECK(rank >= 1 && rank <= static_cast<int>(kMaxRank), place.kind,
                 "{}: {} dimensions; 1 or 2 are accepted", place.text(), rank);
    LACUNA_CHECK(chunk[0] >= 1 && chunk[0] <= static_cast<hsize_t>(kMaxChunkBytes) && chunk[1] >= 1 &&
                     chunk[1] <= static_cast<hsize_t>(kMaxChunkBytes) / chunk[0],
                 place.kind, "{}: chunks of {} x {} elements", place.text(), chunk[0], chunk[1]);
    info.chunk_rows = static_cast<std::int64_t>(chunk[0]);
  }
  check_filters(list, place, info);
}

void read_shape(hid_t dataset, const Place& place, DatasetInfo& info) {
  const Handle space(LACUNA_H5(place, H5Dget_space, dataset), H5Sclose);
  LACUNA_CHECK(H5Sget_simple_extent_type(space.get()) == H5S_SIMPLE, place.kind,
               "{}: a scalar or null dataset; 1 or 2 dimensions are accepted", place.text());
  const int rank = LACUNA_H5(place, H5Sget_simple_extent_ndims, space.get());
  LACUNA_CHECK(rank >= 1 && rank <= static_cast<int>(kMaxRank), place.kind,
               "{}: {} dimensions; 1 or 2 are accepted", place.text(), rank);
  hsize_t extent[kMaxRank] = {0, 0};
  LACUNA_H5(place, H5Sget_simple_extent_dims, space.get(), extent, nullptr);
  for (int i = 0; i < rank; ++i) {
    LACUNA_CHECK(extent[i] <= static_cast<hsize_t>(std::numeric_limits<std::int64_t>::max()), place.kind,
                 "{}: dimension {} is {}", place.text(), i, extent[i]);
    info.shape.push_back(static_cast<std::int64_t>(extent[i]));
  }
}

// The bytes that are there must be able to hold what the shape promises.
void check_size(hid_t dataset, const Place& place, const DatasetInfo& info) {
  std::int64_t bytes = static_cast<std::int64_t>(size_of(info.dtype));
  for (std::int64_t extent : info.shape)
    LACUNA_CHECK(!__builtin_mul_overflow(bytes, extent, &bytes), place.kind,
                 "{}: its size in bytes overflows", place.text());
  const hsize_t stored = H5Dget_storage_size(dataset);
  if (info.chunk_rows == 0) {
    LACUNA_CHECK(stored == static_cast<hsize_t>(bytes), place.kind, "{}: {} bytes stored, its shape needs {}",
                 place.text(), stored, bytes);
    return;
  }
  const hsize_t ratio = info.compressed ? kMaxDeflateRatio : 1;
  LACUNA_CHECK(static_cast<hsize_t>(bytes) / ratio <= stored, place.kind,
               "{}: {} bytes stored cannot hold the {} of its shape", place.text(), stored, bytes);
}

}  // namespace

std::int64_t DatasetInfo::elements() const {
  std::int64_t n = 1;
  for (std::int64_t extent : shape) n = checked_mul(n, extent, "elements of a dataset");
  return n;
}

std::int64_t DatasetInfo::bytes() const {
  return checked_mul(elements(), static_cast<std::int64_t>(size_of(dtype)), "bytes of a dataset");
}

Handle open_checked_dataset(hid_t file, const Place& place, const std::string& name, DatasetInfo& info) {
  Handle dataset(LACUNA_H5(place, H5Dopen2, file, name.c_str(), H5P_DEFAULT), H5Dclose);
  const Handle list(LACUNA_H5(place, H5Dget_create_plist, dataset.get()), H5Pclose);
  check_storage(list.get(), place, info);
  const Handle type(LACUNA_H5(place, H5Dget_type, dataset.get()), H5Tclose);
  const bool has = has_attribute(dataset.get(), place, "dtype");
  const std::string text = has ? get_text(dataset.get(), place, "dtype") : "";
  const auto dtype = dtype_of(type.get(), text);
  LACUNA_CHECK(dtype.has_value(), place.kind,
               "{}: element type is not one of ours (HDF5 class {}, {} bytes, dtype attribute '{}')",
               place.text(), static_cast<int>(H5Tget_class(type.get())), H5Tget_size(type.get()), text);
  info.dtype = *dtype;
  read_shape(dataset.get(), place, info);
  check_size(dataset.get(), place, info);
  return dataset;
}

Handle make_dataset(hid_t file, const Place& place, const std::string& name, const DatasetInfo& info) {
  LACUNA_CHECK(!info.shape.empty() && info.shape.size() <= kMaxRank, ErrorKind::Internal,
               "{}: {} dimensions; 1 or 2 can be written", place.text(), info.shape.size());
  LACUNA_CHECK(!info.compressed || info.chunk_rows > 0, ErrorKind::Internal,
               "{}: only chunks can be compressed", place.text());
  const std::int64_t row = info.bytes() / std::max<std::int64_t>(info.shape[0], 1);
  LACUNA_CHECK(
      checked_mul(info.chunk_rows, std::max<std::int64_t>(row, 1), "bytes of a chunk") <= kMaxChunkBytes,
      ErrorKind::Internal, "{}: chunks of {} rows exceed {} bytes", place.text(), info.chunk_rows,
      kMaxChunkBytes);
  std::vector<hsize_t> shape(info.shape.begin(), info.shape.end()), limit = shape;
  if (info.chunk_rows > 0) limit[0] = H5S_UNLIMITED;
  const Handle space(
      LACUNA_H5(place, H5Screate_simple, static_cast<int>(shape.size()), shape.data(), limit.data()),
      H5Sclose);
  const Handle list = creation_list(place, info);
  const Handle links(LACUNA_H5(place, H5Pcreate, H5P_LINK_CREATE), H5Pclose);
  LACUNA_H5(place, H5Pset_create_intermediate_group, links.get(), 1u);
  Handle dataset(LACUNA_H5(place, H5Dcreate2, file, name.c_str(), file_type(info.dtype), space.get(),
                           links.get(), list.get(), H5P_DEFAULT),
                 H5Dclose);
  put_attribute(dataset.get(), place, "dtype", std::string(name_of(info.dtype)));
  return dataset;
}

}  // namespace lacuna::h5
