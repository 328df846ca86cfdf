#include "src/arch/routed_ffn.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>

#include "src/arch/parameters.h"
#include "src/arch/stash_layout.h"
#include "src/base/error.h"

namespace lacuna {
namespace {

ModelConfig routed_model(RouterKind kind) {
  ModelConfig config;
  config.hidden = 32;
  config.ffn = 100;
  config.layers = 3;
  config.heads = config.kv_heads = 4;
  config.head_dim = 8;
  config.vocab = 64;
  config.routed.experts = 5;
  config.routed.active = {2};
  config.routed.shared = {30};
  config.routed.router = kind;
  if (config.routed.has_rows()) config.routed.rank = 3;
  return config;
}

std::string refusal(ModelConfig config) {
  try {
    config.complete_and_check("here");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::BadInput);
    return error.what();
  }
  return "accepted";
}

TEST(EvenSizes, AddUpAndAreMultiplesButForTheLast) {
  for (const std::int64_t neurons : {0, 1, 7, 8, 100, 1000, 6880, 11008})
    for (const std::int64_t parts : {1, 3, 5, 8})
      for (const std::int64_t align : {1, 4, 128}) {
        const std::vector<std::int64_t> sizes = even_sizes(neurons, parts, align);
        EXPECT_EQ(std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0}), neurons);
        for (std::size_t i = 0; i + 1 < sizes.size(); ++i) {
          EXPECT_EQ(sizes[i] % align, 0);
          EXPECT_LE(sizes[0] - sizes[i], align);
        }
      }
  EXPECT_EQ(even_sizes(70, 5, 1), (std::vector<std::int64_t>{14, 14, 14, 14, 14}));
  EXPECT_EQ(even_sizes(72, 5, 4), (std::vector<std::int64_t>{16, 16, 16, 12, 12}));
  EXPECT_EQ(even_sizes(73, 5, 4), (std::vector<std::int64_t>{16, 16, 16, 12, 13}));
}

TEST(RoutedLayer, CoversTheNeurons) {
  RoutedFfn routed = routed_model(RouterKind::Linear).routed;
  routed.shared = {30, 100, 0};
  routed.active = {2, 0, 5};
  const RoutedLayer first = routed_layer(routed, 100, 0);
  EXPECT_EQ(first.begin, (std::vector<std::int64_t>{30, 44, 58, 72, 86, 100}));
  EXPECT_EQ(first.active, 2);
  const RoutedLayer all_shared = routed_layer(routed, 100, 1);
  EXPECT_EQ(all_shared.begin, (std::vector<std::int64_t>(6, 100)));
  EXPECT_EQ(routed_layer(routed, 100, 2).size(4), 20);

  routed.shared = {40};
  routed.neurons = {10, 20, 5, 5, 20};
  EXPECT_EQ(routed_layer(routed, 100, 2).begin, (std::vector<std::int64_t>{40, 50, 70, 75, 80, 100}));
  routed.neurons = {10, 20, 5, 5, 20, 60, 0, 0, 0, 0, 12, 12, 12, 12, 12};
  EXPECT_EQ(routed_layer(routed, 100, 1).begin, (std::vector<std::int64_t>{40, 100, 100, 100, 100, 100}));
}

TEST(RoutedFfn, RefusesWhatDoesNotFit) {
  ModelConfig config = routed_model(RouterKind::Linear);
  EXPECT_EQ(refusal(config), "accepted");
  config.routed.active = {2, 2};
  EXPECT_EQ(refusal(config), "here: ffn-active has 2 entries, wanted 1 or one for each of 3 layers");
  config.routed.active = {2, 6, 1};
  EXPECT_EQ(refusal(config), "here: ffn-active of layer 1 is 6, wanted 0 to 5");
  config = routed_model(RouterKind::Linear);
  config.routed.shared = {101};
  EXPECT_EQ(refusal(config), "here: ffn-shared of layer 0 is 101, wanted 0 to 100");
  config = routed_model(RouterKind::Neuron);
  config.routed.rank = 0;
  EXPECT_NE(refusal(config).find("ffn-router-rank is 0, wanted 1 or more"), std::string::npos);
  config = routed_model(RouterKind::None);
  config.routed.rank = 1;
  EXPECT_EQ(refusal(config), "here: ffn-router-rank is 1, wanted 0 for the none router");
  config = routed_model(RouterKind::Random);
  config.routed.threshold = true;
  EXPECT_EQ(refusal(config), "here: ffn-threshold wants scores, which the random router has none of");
  config = routed_model(RouterKind::Linear);
  config.routed.neurons = {10, 20, 30};
  EXPECT_NE(refusal(config).find("ffn-expert-neurons has 3 entries, wanted 5"), std::string::npos);
  config.routed.neurons = {10, 20, 5, 5, 20};
  EXPECT_EQ(refusal(config), "here: layer 0 has 30 shared neurons and 60 in experts, wanted 100 in all");
  config.routed.experts = -1;
  EXPECT_EQ(refusal(config), "here: ffn-experts is -1, wanted 0 (dense) to 4096");
}

TEST(RoutedFfn, NamesReadBack) {
  for (const RouterKind kind : {RouterKind::Linear, RouterKind::LowRank, RouterKind::Neuron,
                                RouterKind::Oracle, RouterKind::Random, RouterKind::None})
    EXPECT_EQ(parse_router(name_of(kind)), kind);
  EXPECT_THROW(parse_router("best"), Error);
}

TEST(RoutedFfn, EachRouterHasItsTensors) {
  const std::map<RouterKind, std::vector<std::string>> expected = {
      {RouterKind::Linear, {"router.weight", "router.bias", "router.scale", "experts.mean"}},
      {RouterKind::LowRank,
       {"router.weight", "router.gate", "router.up", "router.bias", "router.scale", "experts.mean"}},
      {RouterKind::Neuron, {"router.gate", "router.up", "router.bias", "router.scale", "experts.mean"}},
      {RouterKind::Oracle, {"router.bias", "experts.mean"}},
      {RouterKind::Random, {"experts.mean"}},
      {RouterKind::None, {"experts.mean"}}};
  for (const auto& [kind, names] : expected) {
    const ModelConfig config = routed_model(kind);
    std::vector<std::string> found;
    const std::string layer = "model.layers.1.mlp.";
    for (const Parameter& parameter : parameters(config)) {
      if (parameter.role < Role::RouterWeight || parameter.layer != 1) continue;
      ASSERT_EQ(parameter.name.substr(0, layer.size()), layer);
      found.push_back(parameter.name.substr(layer.size()));
      EXPECT_EQ(parameter.split, Split::None);
      const std::int64_t rows =
          parameter.role == Role::RouterGate || parameter.role == Role::RouterUp ? 15 : 5;
      EXPECT_EQ(parameter.shape[0], rows) << parameter.name;
      EXPECT_EQ(parameter.shape.back(), parameter.shape.size() == 2 ? 32 : 5) << parameter.name;
    }
    EXPECT_EQ(found, names) << name_of(kind);
  }
}

TEST(RoutedFfn, StashHasTheRoutersSlots) {
  const MicroShape shape{2, 8, 2, DType::BF16};
  const StashLayout layout = block_stash(routed_model(RouterKind::LowRank), shape, StashKind::Full);
  EXPECT_EQ(layout.at("experts").rows, 16);
  EXPECT_EQ(layout.at("score").rows, 8);
  EXPECT_EQ(layout.at("router_up").cols, 15);
  EXPECT_EQ(layout.at("experts").dtype, DType::F32);
  EXPECT_THROW(block_stash(routed_model(RouterKind::None), shape, StashKind::Full).at("score"), Error);
}

TEST(RandomScore, DependsOnEverything) {
  const std::uint64_t key = random_router_key(1, 2);
  EXPECT_EQ(random_score(key, 3, 4), random_score(random_router_key(1, 2), 3, 4));
  EXPECT_NE(random_score(key, 3, 4), random_score(random_router_key(2, 2), 3, 4));
  EXPECT_NE(random_score(key, 3, 4), random_score(random_router_key(1, 3), 3, 4));
  EXPECT_NE(random_score(key, 3, 4), random_score(key, 4, 4));
  EXPECT_NE(random_score(key, 3, 4), random_score(key, 3, 5));
}

}  // namespace
}  // namespace lacuna
