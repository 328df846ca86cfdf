#include "src/model/parameter_store.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <map>

#include "src/base/error.h"
#include "tests/model/stage_runner.h"

namespace lacuna::test {
namespace {

ModelConfig wide_config() {
  ModelConfig c = small_config();
  c.qkv_bias = c.qk_norm = true;
  c.complete_and_check("test");
  return c;
}

StagePlace whole_model(const ModelConfig& c) {
  return {0, 0, static_cast<int>(c.layers), true, true};
}

at::Tensor narrowed(const at::Tensor& tensor, const std::vector<std::int64_t>& offset,
                    const std::vector<std::int64_t>& extent) {
  at::Tensor view = tensor;
  for (std::size_t d = 0; d < offset.size(); ++d)
    view = view.narrow(static_cast<std::int64_t>(d), offset[d], extent[d]);
  return view;
}

TEST(ParameterStore, InitialValuesAreEqualInEveryLayout) {
  const ModelConfig c = wide_config();
  for (DType dtype : {DType::F64, DType::F32, DType::BF16}) {
    ParameterStore whole(c, {whole_model(c)}, 0, 1, dtype);
    whole.initialise(42);
    for (int tp : {2, 4})
      for (int rank = 0; rank < tp; ++rank) {
        ParameterStore part(c, {{0, 0, 1, true, false}, {1, 1, 2, false, true}}, rank, tp, dtype);
        part.initialise(42);
        EXPECT_EQ(part.all().size(), whole.all().size());
        for (const LocalParameter& p : part.all()) {
          const Slab& slab = p.local.slab;
          const at::Tensor ours =
              narrowed(p.weight, std::vector<std::int64_t>(slab.offset.size()), slab.extent);
          const at::Tensor theirs = narrowed(whole.at(p.spec.name).weight, slab.offset, slab.extent);
          EXPECT_TRUE(at::equal(ours, theirs)) << p.spec.name << " on rank " << rank << " of " << tp;
        }
      }
  }
}

TEST(ParameterStore, VocabularyPaddingIsZero) {
  const ModelConfig c = wide_config();  // 37 words over 4 ranks: 10 rows each, the last has 3 of padding
  ParameterStore store(c, {whole_model(c)}, 3, 4, DType::F32);
  store.initialise(1);
  const at::Tensor table = store.at("model.embed_tokens.weight").weight;
  ASSERT_EQ(table.size(0), 10);
  EXPECT_GT(table.narrow(0, 0, 7).abs().min().item<float>(), 0);
  EXPECT_EQ(table.narrow(0, 7, 3).abs().max().item<float>(), 0);
}

TEST(ParameterStore, SpreadAndSeedAreAsAsked) {
  ModelConfig c = wide_config();
  c.vocab = 4096;
  ParameterStore store(c, {whole_model(c)}, 0, 1, DType::F64);
  store.initialise(1);
  const at::Tensor table = store.at("model.embed_tokens.weight").weight.clone();
  const double n = static_cast<double>(table.numel());  // the standard deviation's own error is 1/sqrt(2n)
  EXPECT_NEAR(table.std().item<double>(), 0.02, 0.02 * 5 / std::sqrt(2 * n));
  EXPECT_NEAR(table.mean().item<double>(), 0, 0.02 * 5 / std::sqrt(n));
  EXPECT_EQ(store.at("model.norm.weight").weight.min().item<double>(), 1);
  EXPECT_EQ(store.at("model.layers.0.self_attn.q_proj.bias").weight.abs().max().item<double>(), 0);
  store.initialise(2);
  EXPECT_FALSE(at::equal(table, store.at("model.embed_tokens.weight").weight));
}

TEST(ParameterStore, TensorsAreAlignedAndDoNotOverlap) {
  const ModelConfig c = wide_config();
  for (DType dtype : {DType::F64, DType::F32, DType::BF16}) {
    ParameterStore store(c, {{0, 0, 1, true, false}, {3, 1, 2, false, true}}, 1, 2, dtype);
    std::map<std::uintptr_t, std::uintptr_t> ranges;
    for (const LocalParameter& p : store.all()) {
      EXPECT_EQ(p.stage, p.spec.layer < 1 ? 0 : 3);
      EXPECT_EQ(p.weight.scalar_type(), scalar_type(dtype));
      EXPECT_EQ(p.grad.scalar_type(), dtype == DType::F64 ? at::kDouble : at::kFloat);
      for (const at::Tensor& tensor : {p.weight, p.grad}) {
        const auto begin = reinterpret_cast<std::uintptr_t>(tensor.data_ptr());
        EXPECT_EQ(begin % 64, 0u) << p.spec.name;
        EXPECT_TRUE(tensor.is_contiguous());
        ranges[begin] = begin + tensor.nbytes();
      }
    }
    EXPECT_EQ(ranges.size(), 2 * store.all().size());
    std::uintptr_t end = 0;
    for (const auto& [first, last] : ranges) {
      EXPECT_GE(first, end);
      end = last;
    }
  }
}

TEST(ParameterStore, TiedHeadHasItsOwnAccumulator) {
  ModelConfig c = wide_config();
  c.tied_embeddings = true;
  ParameterStore together(c, {whole_model(c)}, 0, 1, DType::F32);
  const LocalParameter& table = together.at("model.embed_tokens.weight");
  const LocalParameter& copy = together.at("model.embed_tokens.weight", true);
  EXPECT_TRUE(together.all().back().tied_copy);
  EXPECT_EQ(table.weight.data_ptr(), copy.weight.data_ptr());
  EXPECT_NE(table.grad.data_ptr(), copy.grad.data_ptr());

  ParameterStore head_only(c, {{1, 1, 2, false, true}}, 0, 1, DType::F32);
  head_only.initialise(9);
  together.initialise(9);
  EXPECT_TRUE(at::equal(head_only.at("model.embed_tokens.weight", true).weight, table.weight));
}

TEST(ParameterStore, ZeroGradsClearsAllStages) {
  const ModelConfig c = wide_config();
  ParameterStore store(c, {{0, 0, 1, true, false}, {1, 1, 2, false, true}}, 0, 1, DType::F32);
  for (LocalParameter& p : store.all()) p.grad.fill_(3);
  store.zero_grads();
  for (const LocalParameter& p : store.all()) EXPECT_EQ(p.grad.abs().max().item<float>(), 0) << p.spec.name;
}

TEST(ParameterStore, AbsentNamesAreNamed) {
  const ModelConfig c = wide_config();
  ParameterStore store(c, {{0, 0, 1, true, false}}, 0, 1, DType::F32);
  try {
    store.at("lm_head.weight");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "this rank holds no parameter 'lm_head.weight'");
  }
}

}  // namespace
}  // namespace lacuna::test
