// A carved model's weights come alike from slabs and from tensors that lie ready; an FFN too.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstring>

#include "parallel/run/local_communicator.h"
#include "recipes/common/calibration_inputs.h"
#include "recipes/common/carved_model.h"
#include "recipes/common/ffn_weights.h"

namespace lacuna::test {
namespace {

constexpr std::int64_t kHidden = 8, kNeurons = 10;

ModelConfig tiny() {
  ModelConfig config;
  config.hidden = kHidden;
  config.ffn = kNeurons;
  config.layers = 2;
  config.heads = config.kv_heads = 2;
  config.vocab = 11;
  config.complete_and_check("a test");
  return config;
}

// Whole tensors of bf16 values, the same for a name every time.
at::Tensor tensor_of(const std::string& name) {
  for (const Parameter& p : parameters(tiny()))
    if (p.name == name) {
      const at::Tensor count = at::arange(p.elements(), at::kDouble);
      return at::sin(count * 0.37 + static_cast<double>(name.size())).to(at::kBFloat16).reshape(p.shape);
    }
  return {};
}

at::Tensor part_of(at::Tensor whole, const Slab& slab) {
  for (std::size_t d = 0; d < slab.extent.size(); ++d)
    whole = whole.narrow(static_cast<std::int64_t>(d), slab.offset[d], slab.extent[d]);
  return whole;
}

TensorSource ready_source() {
  return [](const std::string& name, const Slab& slab) { return part_of(tensor_of(name), slab); };
}

SlabSource slab_source() {
  return [](const std::string& name, const Slab& slab, DType dtype, void* dst) {
    const at::Tensor part =
        part_of(tensor_of(name), slab).to(dtype == DType::F64 ? at::kDouble : at::kFloat).contiguous();
    std::memcpy(dst, part.const_data_ptr(), part.nbytes());
  };
}

std::shared_ptr<const CarvedModel> first_layer_carved() {
  auto model = std::make_shared<CarvedModel>();
  model->config = tiny();
  model->layers[0].order = {7, 2, 9, 0, 1, 8, 3, 6, 5, 4};
  return model;
}

void expect_alike(const std::string& name, const Slab& slab) {
  const at::Tensor there = carved_tensors(ready_source(), first_layer_carved())(name, slab);
  at::Tensor read = at::empty(slab.extent, at::kFloat);
  carved_weights(slab_source(), first_layer_carved())(name, slab, DType::F32, read.data_ptr());
  ASSERT_TRUE(there.defined()) << name;
  EXPECT_TRUE(at::equal(there.to(at::kFloat), read)) << name;
}

TEST(CarvedSources, GiveTheSameFromSlabsAndFromTensors) {
  for (const Parameter& p : parameters(tiny()))
    expect_alike(p.name, {std::vector<std::int64_t>(p.shape.size(), 0), p.shape});
  expect_alike("model.layers.0.mlp.up_proj.weight", {{3, 0}, {4, kHidden}});
  expect_alike("model.layers.0.mlp.down_proj.weight", {{0, 5}, {kHidden, 5}});
}

TEST(CarvedSources, WhatIsNotWholeDoesNotLieReady) {
  const Slab upper{{0, 0}, {kNeurons / 2, kHidden}};
  const TensorSource half = [&](const std::string& name, const Slab& slab) {
    return slab == upper ? part_of(tensor_of(name), slab) : at::Tensor{};
  };
  const TensorSource carved = carved_tensors(half, first_layer_carved());
  EXPECT_FALSE(carved("model.layers.0.mlp.gate_proj.weight", upper).defined());
  EXPECT_TRUE(
      carved("model.layers.1.mlp.gate_proj.weight", upper).defined());  // not carved, so not reordered
  EXPECT_FALSE(carved("model.layers.0.mlp.router.bias", {{0}, {3}}).defined());
}

TEST(FfnWeights, AreTheSameFromSlabsAndFromTensors) {
  const FfnWeights read = read_ffn(slab_source(), tiny(), 1),
                   there = read_ffn(slab_source(), tiny(), 1, at::kCPU, ready_source());
  for (const auto& [a, b] :
       {std::pair{read.gate, there.gate}, std::pair{read.up, there.up}, std::pair{read.down, there.down}}) {
    EXPECT_EQ(b.scalar_type(), at::kFloat);
    EXPECT_TRUE(at::equal(a, b));
  }
}

// Nobody writes into a mapped file: an FFN is a copy also where nothing had to be converted.
TEST(FfnWeights, AreNeverTheMemoryThatLayReady) {
  const at::Tensor gate = at::ones({kNeurons, kHidden}), down = at::ones({kHidden, kNeurons});
  const TensorSource ready = [&](const std::string& name, const Slab&) {
    return name.find("down_proj") == std::string::npos ? gate : down;
  };
  const FfnWeights ffn = read_ffn(slab_source(), tiny(), 0, at::kCPU, ready);
  for (const at::Tensor* matrix : {&ffn.gate, &ffn.up, &ffn.down}) {
    EXPECT_NE(matrix->const_data_ptr(), gate.const_data_ptr());
    EXPECT_NE(matrix->const_data_ptr(), down.const_data_ptr());
  }
}

TEST(CalibrationInputs, KeepTheTypeTheyComeIn) {
  for (const auto& [came, kept] : {std::pair{at::kBFloat16, at::kBFloat16}, std::pair{at::kFloat, at::kFloat},
                                   std::pair{at::kDouble, at::kFloat}}) {
    CalibrationInputs inputs;
    at::Tensor rows = at::ones({2, 3}, came);
    inputs.add(0, rows);
    rows.zero_();  // it is a view of memory that is used again
    inputs.add(0, rows);
    const at::Tensor all = inputs.gather(0, *single_rank());
    EXPECT_EQ(all.scalar_type(), kept);
    EXPECT_EQ(all.to(at::kDouble).sum().item<double>(), 6);
    EXPECT_EQ(all.size(0), 4);
  }
}

}  // namespace
}  // namespace lacuna::test
