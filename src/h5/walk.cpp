#include "src/h5/walk.h"

#include <algorithm>
#include <set>

#include "src/base/file.h"

namespace lacuna::h5 {

namespace {

constexpr int kMaxDepth = 8;
constexpr std::size_t kMaxObjects = 1'000'000, kMaxName = 1024;

struct Walk {
  const Place& place;
  std::set<haddr_t> seen;
  std::vector<std::string> datasets;
};

std::string link_name(hid_t group, const Place& place, hsize_t index) {
  const ssize_t size = LACUNA_H5(place, H5Lget_name_by_idx, group, ".", H5_INDEX_NAME, H5_ITER_INC, index,
                                 nullptr, std::size_t{0}, H5P_DEFAULT);
  LACUNA_CHECK(size >= 1 && static_cast<std::size_t>(size) <= kMaxName, place.kind,
               "{}: a link name of {} bytes", place.text(), size);
  std::string name(static_cast<std::size_t>(size) + 1, '\0');
  LACUNA_H5(place, H5Lget_name_by_idx, group, ".", H5_INDEX_NAME, H5_ITER_INC, index, name.data(),
            name.size(), H5P_DEFAULT);
  name.pop_back();
  return name;
}

void check_link(hid_t group, const Place& place, const std::string& name, const std::string& path) {
  H5L_info_t link{};
  LACUNA_H5(place, H5Lget_info, group, name.c_str(), &link, H5P_DEFAULT);
  const char* kind = link.type == H5L_TYPE_HARD       ? nullptr
                     : link.type == H5L_TYPE_SOFT     ? "a soft"
                     : link.type == H5L_TYPE_EXTERNAL ? "an external"
                                                      : "a user-defined";
  LACUNA_CHECK(kind == nullptr, place.kind, "{}: '{}' is {} link; only plain objects are accepted",
               place.text(), printable(path), kind);
}

void note_object(hid_t object, const std::string& path, Walk& walk, H5O_type_t& type) {
  H5O_info_t info{};
  LACUNA_H5(walk.place, H5Oget_info, object, &info);
  LACUNA_CHECK(walk.seen.insert(info.addr).second, walk.place.kind,
               "{}: '{}' is reached twice (a second hard link or a cycle)", walk.place.text(),
               printable(path));
  LACUNA_CHECK(walk.seen.size() <= kMaxObjects, walk.place.kind, "{}: more than {} objects",
               walk.place.text(), kMaxObjects);
  type = info.type;
}

void visit(hid_t group, const std::string& prefix, int depth, Walk& walk) {
  LACUNA_CHECK(depth <= kMaxDepth, walk.place.kind, "{}: groups nested deeper than {}", walk.place.text(),
               kMaxDepth);
  H5G_info_t info{};
  LACUNA_H5(walk.place, H5Gget_info, group, &info);
  for (hsize_t i = 0; i < info.nlinks; ++i) {
    const std::string name = link_name(group, walk.place, i), path = prefix + name;
    check_link(group, walk.place, name, path);
    const Handle object(LACUNA_H5(walk.place, H5Oopen, group, name.c_str(), H5P_DEFAULT), H5Oclose);
    H5O_type_t type = H5O_TYPE_UNKNOWN;
    note_object(object.get(), path, walk, type);
    if (type == H5O_TYPE_GROUP) {
      visit(object.get(), path + "/", depth + 1, walk);
    } else {
      LACUNA_CHECK(type == H5O_TYPE_DATASET, walk.place.kind, "{}: '{}' is neither a group nor a dataset",
                   walk.place.text(), printable(path));
      walk.datasets.push_back(path);
    }
  }
}

}  // namespace

std::vector<std::string> walk_file(hid_t file, const Place& place) {
  Walk walk{place, {}, {}};
  const Handle root(LACUNA_H5(place, H5Gopen2, file, "/", H5P_DEFAULT), H5Gclose);
  H5O_type_t type = H5O_TYPE_UNKNOWN;
  note_object(root.get(), "/", walk, type);
  visit(root.get(), "", 0, walk);
  std::sort(walk.datasets.begin(), walk.datasets.end());
  return std::move(walk.datasets);
}

}  // namespace lacuna::h5
