// A small model with optimizer state whose every element is known, cut into slabs for any layout.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "parallel/plan/topology.h"
#include "src/base/error.h"
#include "src/checkpoint/checkpoint.h"

namespace lacuna::test {

struct GlobalTensor {
  DType dtype = DType::F32;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> bytes;
};

struct Sample {
  ModelConfig config;
  std::map<std::string, GlobalTensor> tensors;
};

// Awkward sizes, two KV heads; weights of `dtype`, optimizer moments F32, values drawn from `seed`.
Sample make_sample(std::uint64_t seed, DType dtype = DType::F32, std::int64_t layers = 4);
ContentHash content_of(const Sample& sample);

// Slabs with the bytes they point to.
struct OwnedSlabs {
  std::vector<TensorSlab> slabs;
  std::vector<std::vector<std::byte>> storage;
  void add(const std::string& name, const GlobalTensor& tensor, const Slab& slab);
};

// What `rank` of the layout writes: its stage's layers, its tensor-parallel part, its data-parallel rows.
OwnedSlabs slabs_of_rank(const Sample& sample, const Topology& topology, int rank);

std::vector<std::byte> cut(const GlobalTensor& tensor, const Slab& slab);

CheckpointMeta make_meta(const Sample& sample, std::int64_t step, const Topology& topology = {});

// Saves on a local world of the topology's size; the folder.
std::string save(const std::string& run_folder, const Sample& sample, std::int64_t step,
                 const Topology& topology = {}, const SaveOptions& options = {});

Slab whole(const std::vector<std::int64_t>& shape);
std::vector<std::byte> read_all(const CheckpointReader& reader, const std::string& name);
// True if every tensor of the sample is in the checkpoint, bit for bit, and nothing else.
bool holds(const CheckpointReader& reader, const Sample& sample);

// The message of the Error of that kind that body() throws; a failure of the test when it does not.
template <class Body>
std::string error_of(ErrorKind kind, Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

std::vector<std::string> entries(const std::string& folder);  // names, sorted

}  // namespace lacuna::test
