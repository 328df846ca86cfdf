// Files with what we never write: each is refused with one line. Made with the C library itself.
#include <gtest/gtest.h>
#include <hdf5.h>

#include <functional>

#include "src/base/error.h"
#include "src/h5/file.h"
#include "tests/support/test_data.h"

namespace lacuna {
namespace {

struct Case {
  const char* name;
  const char* says;                  // part of the message
  std::function<void(hid_t)> spoil;  // adds to a file that holds the dataset "good"
};

hid_t simple_space(std::vector<hsize_t> dims) {
  return H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr);
}

void add(hid_t file, hid_t type, hid_t space, hid_t list = H5P_DEFAULT) {
  H5Dclose(H5Dcreate2(file, "bad", type, space, H5P_DEFAULT, list, H5P_DEFAULT));
}

hid_t dataset_list() {
  return H5Pcreate(H5P_DATASET_CREATE);
}

void external_storage(hid_t file) {
  const hid_t list = dataset_list();
  H5Pset_external(list, "elsewhere.bin", 0, 16);
  add(file, H5T_IEEE_F32LE, simple_space({4}), list);
}

void virtual_dataset(hid_t file) {
  const hid_t list = dataset_list(), space = simple_space({4});
  H5Pset_virtual(list, space, "other.h5", "x", space);
  add(file, H5T_IEEE_F32LE, space, list);
}

void scale_filter(hid_t file) {
  const hid_t list = dataset_list();
  const hsize_t chunk = 4;
  H5Pset_chunk(list, 1, &chunk);
  H5Pset_fletcher32(list);
  add(file, H5T_IEEE_F32LE, simple_space({4}), list);
}

void user_filter(hid_t file) {
  const hid_t list = dataset_list();
  const hsize_t chunk = 4;
  H5Pset_chunk(list, 1, &chunk);
  H5Pset_filter(list, 32001, H5Z_FLAG_OPTIONAL, 0, nullptr);
  add(file, H5T_IEEE_F32LE, simple_space({4}), list);
}

void compact_layout(hid_t file) {
  const hid_t list = dataset_list();
  H5Pset_layout(list, H5D_COMPACT);
  add(file, H5T_IEEE_F32LE, simple_space({4}), list);
}

void compound_type(hid_t file) {
  const hid_t type = H5Tcreate(H5T_COMPOUND, 8);
  H5Tinsert(type, "a", 0, H5T_STD_I32LE);
  H5Tinsert(type, "b", 4, H5T_STD_I32LE);
  add(file, type, simple_space({4}));
}

void huge_chunked(hid_t file) {
  const hid_t list = dataset_list();
  const hsize_t chunk = 64;
  H5Pset_chunk(list, 1, &chunk);
  add(file, H5T_IEEE_F64LE, simple_space({hsize_t{1} << 62}), list);
}

void huge_promise(hid_t file) {  // fits 63 bits, but nothing is stored
  const hid_t list = dataset_list();
  const hsize_t chunk = 64;
  H5Pset_chunk(list, 1, &chunk);
  H5Pset_deflate(list, 1);
  add(file, H5T_STD_U8LE, simple_space({hsize_t{1} << 40}), list);
}

void wrong_dtype_attribute(hid_t file) {
  const hid_t set =
      H5Dcreate2(file, "bad", H5T_IEEE_F32LE, simple_space({1}), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  const hid_t text = H5Tcopy(H5T_C_S1);
  H5Tset_size(text, 4);
  const hid_t attribute = H5Acreate2(set, "dtype", text, H5Screate(H5S_SCALAR), H5P_DEFAULT, H5P_DEFAULT);
  H5Awrite(attribute, text, "BF16");
  H5Aclose(attribute);
  H5Dclose(set);
}

std::vector<Case> cases() {
  return {
      {"soft link", "'bad' is a soft link", [](hid_t f) { H5Lcreate_soft("/good", f, "bad", 0, 0); }},
      {"external link", "'bad' is an external link",
       [](hid_t f) { H5Lcreate_external("other.h5", "/x", f, "bad", 0, 0); }},
      {"second hard link", "'zbad' is reached twice",
       [](hid_t f) { H5Lcreate_hard(f, "good", f, "zbad", 0, 0); }},
      {"group cycle", "reached twice",
       [](hid_t f) {
         const hid_t group = H5Gcreate2(f, "g", 0, 0, 0);
         H5Lcreate_hard(f, "/", group, "up", 0, 0);
       }},
      {"deep groups", "nested deeper",
       [](hid_t f) {
         const hid_t links = H5Pcreate(H5P_LINK_CREATE);
         H5Pset_create_intermediate_group(links, 1);
         H5Gcreate2(f, "a/b/c/d/e/f/g/h/i/j", links, 0, 0);
       }},
      {"named type", "neither a group nor a dataset",
       [](hid_t f) { H5Tcommit2(f, "bad", H5Tcopy(H5T_STD_I32LE), 0, 0, 0); }},
      {"external storage", "external files", external_storage},
      {"virtual dataset", "virtual datasets are refused", virtual_dataset},
      {"fletcher32", "filter 3;", scale_filter},
      {"user filter", "filter 32001;", user_filter},
      {"compact", "only contiguous and chunked", compact_layout},
      {"compound", "element type is not one of ours", compound_type},
      {"variable text", "element type is not one of ours",
       [](hid_t f) {
         const hid_t type = H5Tcopy(H5T_C_S1);
         H5Tset_size(type, H5T_VARIABLE);
         add(f, type, simple_space({2}));
       }},
      {"variable length", "element type is not one of ours",
       [](hid_t f) { add(f, H5Tvlen_create(H5T_STD_I32LE), simple_space({2})); }},
      {"reference", "element type is not one of ours",
       [](hid_t f) { add(f, H5T_STD_REF_OBJ, simple_space({2})); }},
      {"big-endian", "element type is not one of ours",
       [](hid_t f) { add(f, H5T_IEEE_F32BE, simple_space({2})); }},
      {"signed 16", "element type is not one of ours",
       [](hid_t f) { add(f, H5T_STD_I16LE, simple_space({2})); }},
      {"wrong dtype attribute", "dtype attribute 'BF16'", wrong_dtype_attribute},
      {"scalar", "scalar or null", [](hid_t f) { add(f, H5T_STD_I32LE, H5Screate(H5S_SCALAR)); }},
      {"three dimensions", "3 dimensions",
       [](hid_t f) {
         add(f, H5T_STD_I32LE, simple_space({1, 1, 1}));
       }},
      {"never written", "0 bytes stored, its shape needs 16",
       [](hid_t f) { add(f, H5T_IEEE_F32LE, simple_space({4})); }},
      {"2^62 elements", "overflow", huge_chunked},
      {"2^40 bytes promised", "cannot hold", huge_promise},
  };
}

TEST(H5Refused, EveryKindOfForeignContent) {
  for (const Case& test : cases()) {
    const test::TempFolder folder;
    const std::string path = folder / "a.h5";
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_fclose_degree(access, H5F_CLOSE_STRONG);  // closes what the spoilers leave open
    const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_EXCL, H5P_DEFAULT, access);
    const hid_t good = H5Dcreate2(file, "good", H5T_STD_U8LE, simple_space({1}), 0, 0, 0);
    H5Dwrite(good, H5T_STD_U8LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, "x");
    H5Dclose(good);
    test.spoil(file);
    H5Fflush(file, H5F_SCOPE_GLOBAL);
    H5Fclose(file);
    try {
      h5::File::open(path);
      ADD_FAILURE() << test.name << ": accepted";
    } catch (const Error& error) {
      const std::string text = error.what();
      EXPECT_EQ(error.kind(), ErrorKind::BadInput) << test.name << ": " << text;
      EXPECT_NE(text.find(test.says), std::string::npos) << test.name << ": " << text;
      EXPECT_EQ(text.find(path), 0u) << test.name << ": " << text;
      EXPECT_EQ(text.find('\n'), std::string::npos) << test.name;
    }
  }
}

}  // namespace
}  // namespace lacuna
