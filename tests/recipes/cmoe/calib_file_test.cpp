// calib.h5: written by many ranks, read under any layout, the same model again; other models and data
// refused.
#include "recipes/cmoe/calib_file.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "parallel/run/local_communicator.h"
#include "recipes/cmoe/calib_writer.h"
#include "src/base/error.h"
#include "tests/recipes/cmoe/carved_runs.h"
#include "tests/recipes/cmoe/random_layer.h"
#include "tests/support/test_data.h"

namespace lacuna::test {
namespace {

constexpr std::int64_t kTokens = 60, kLayers = 5;

const CalibLabel kLabel = {kLayers, 10, kTokens, 16, "40 tokens of here"};

LayerEvidence evidence_of(int layer, std::int64_t tokens) {
  LayerEvidence e = random_evidence(26, 60);
  e.inputs = at::arange(tokens * 10, at::kFloat).reshape({tokens, 10}) + layer;
  if (layer % 2 == 0) e.output_moment = at::matmul(e.ffn.down, e.ffn.down.t()).to(at::kDouble);
  return e;
}

std::string weights_of(int layer) {
  return fmt::format("weights of {}", layer);
}

// Every layer by the rank that `owner` says.
void write(const std::string& path, int ranks, const std::vector<int>& owner, const CalibLabel& label) {
  run_local(ranks, [&](Communicator& world, int rank) {
    CalibWriter file(world, path, label);
    for (int layer = 0; layer < kLayers; ++layer)
      file.add(layer, owner[static_cast<std::size_t>(layer)], [&] {
        EXPECT_EQ(rank, owner[static_cast<std::size_t>(layer)]);
        const LayerEvidence e = evidence_of(layer, label.tokens);
        return CalibWriter::Measured{{weights_of(layer), e.inputs, e.output_moment}, e.statistics};
      });
    file.finish();
  });
}

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing";
}

TEST(CalibFile, HoldsWhatEveryRankMeasured) {
  const TempFolder folder;
  CalibLabel label = kLabel;
  label.tokens = 500'000;  // 20 MB of inputs: more than travels at a time
  const std::string path = folder / "new/calib.h5";
  write(path, 3, {2, 0, 1, 2, 2}, label);
  const CalibReader file(path, label);
  for (int layer = 0; layer < kLayers; ++layer) {
    const CalibLayer read = file.read(layer, weights_of(layer));
    const LayerEvidence want = evidence_of(layer, label.tokens);
    EXPECT_TRUE(at::equal(read.inputs, want.inputs)) << layer;
    ASSERT_EQ(read.output_moment.defined(), layer % 2 == 0);
    if (layer % 2 == 0) {
      EXPECT_TRUE(at::equal(read.output_moment, want.output_moment));
    }
    const h5::File raw = h5::File::open(path);
    at::Tensor counts = at::empty({26}, at::kLong);
    raw.open_dataset(calib_dataset(layer, "counts")).read(counts.data_ptr());
    EXPECT_TRUE(at::equal(counts, want.statistics.counts));
  }
}

TEST(CalibFile, RefusesOtherModelsAndData) {
  const TempFolder folder;
  const std::string path = folder / "calib.h5";
  write(path, 1, {0, 0, 0, 0, 0}, kLabel);
  const auto open = [&](const CalibLabel& label) {
    return message_of([&] { CalibReader(path, label).read(2, weights_of(2)); });
  };
  EXPECT_EQ(open(kLabel), "nothing");
  CalibLabel other = kLabel;
  other.data = "41 tokens of there";
  EXPECT_NE(
      open(other).find("data is 40 tokens of here, wanted 41 tokens of there; give another --statistics"),
      std::string::npos);
  other = kLabel;
  other.layers = 4;
  EXPECT_NE(open(other).find("layers is 5, wanted 4"), std::string::npos);
  other = kLabel;
  other.check_tokens = 17;
  EXPECT_NE(open(other).find("check_tokens is 16, wanted 17"), std::string::npos);
  EXPECT_NE(message_of([&] {
              CalibReader(path, kLabel).read(2, weights_of(3));
            }).find("layer 2 is of another model (weights weights of 2, this one's are weights of 3)"),
            std::string::npos);
  EXPECT_NE(message_of([&] { CalibReader(path, kLabel).read(7, weights_of(7)); }).find("layers/7/inputs"),
            std::string::npos);
  h5::File foreign = h5::File::create(folder / "foreign.h5");
  foreign.close();
  EXPECT_NE(message_of([&] { CalibReader(folder / "foreign.h5", kLabel); }).find("not a calibration file"),
            std::string::npos);
}

TEST(CalibFile, IsThereWholeOrNotAtAll) {
  const TempFolder folder;
  const std::string path = folder / "calib.h5";
  std::ofstream(path + ".tmp") << "of a run that was killed";
  EXPECT_NE(message_of([&] {
              run_local(2, [&](Communicator& world, int) {
                CalibWriter file(world, path, kLabel);
                file.add(0, 1, []() -> CalibWriter::Measured { fail(ErrorKind::Numeric, "no layer today"); });
                file.finish();
              });
            }).find("no layer today"),
            std::string::npos);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  write(path, 2, {0, 1, 0, 1, 1}, kLabel);
  EXPECT_FALSE(std::filesystem::exists(path + ".tmp"));
  CalibReader(path, kLabel).read(4, weights_of(4));
  // Where rank 0 cannot write, all ranks say so, before anything is measured.
  std::ofstream(folder / "file") << "in the way";
  EXPECT_NE(message_of([&] {
              write(folder / "file/calib.h5", 2, {0, 1, 0, 1, 1}, kLabel);
            }).find("rank 0: "),
            std::string::npos);
}

TEST(CalibFile, AFingerprintSeesEveryTensorOfTheModel) {
  const ModelConfig config = parent_model();
  const SlabSource weights = made_up_weights(config);
  for (const Parameter& changed : parameters(config)) {
    const SlabSource other = [&](const std::string& name, const Slab& slab, DType dtype, void* dst) {
      weights(name, slab, dtype, dst);
      if (name == changed.name) static_cast<float*>(dst)[slab.elements() - 1] += 1;
    };
    for (int layer = 0; layer < static_cast<int>(config.layers); ++layer) {
      const bool outside = changed.layer < 0 || changed.layer >= static_cast<int>(config.layers);
      EXPECT_EQ(calib_fingerprint(other, config, layer) != calib_fingerprint(weights, config, layer),
                changed.layer == layer || (outside && layer == 0))
          << changed.name << " seen from layer " << layer;
    }
  }
}

TEST(Statistics, GiveTheSameModelUnderEveryLayoutWithoutAPass) {
  const TempFolder folder;
  const auto settings = [&](const std::string& file) {
    // A threshold would be set on the child's own inputs, which takes passes.
    return small_carving({{"cmoe.statistics", folder / file}, {"cmoe.threshold", "no"}});
  };
  const Outcome plain = carve(small_options(1, 1, 1), small_carving({{"cmoe.threshold", "no"}}));
  for (const auto& [pp, tp, dp] :
       {std::tuple{1, 1, 1}, std::tuple{3, 1, 1}, std::tuple{2, 2, 1}, std::tuple{1, 2, 2}}) {
    SCOPED_TRACE(fmt::format("written by pp {} tp {} dp {}", pp, tp, dp));
    const std::string file = fmt::format("calib-{}{}{}.h5", pp, tp, dp);
    const Outcome first = carve(small_options(pp, tp, dp), settings(file));
    EXPECT_GT(first.passes, 0);
    if (tp == 1 && dp == 1) {
      EXPECT_TRUE(same_bits(first.weights, plain.weights));
    }
    for (const auto& [pp2, tp2, dp2] :
         {std::tuple{1, 1, 1}, std::tuple{2, 1, 1}, std::tuple{1, 2, 1}, std::tuple{2, 1, 2}}) {
      SCOPED_TRACE(fmt::format("read by pp {} tp {} dp {}", pp2, tp2, dp2));
      const Outcome again = carve(small_options(pp2, tp2, dp2), settings(file));
      EXPECT_EQ(again.passes, 0);
      EXPECT_TRUE(same_bits(first.weights, again.weights));
    }
  }
}

TEST(Statistics, RefuseOtherDataAndWhatTheyLack) {
  const TempFolder folder;
  const std::string path = folder / "calib.h5";
  const auto run = [&](int seed, Settings more) {
    TrainOptions options = small_options(2, 1, 1);
    options.seed = static_cast<std::uint64_t>(seed);
    more.insert({{"cmoe.statistics", path}, {"cmoe.spread-shared", "equal"}});
    return message_of([&] { carve(options, small_carving(more)); });
  };
  EXPECT_EQ(run(5, {{"cmoe.shared-by", "rate"}}), "nothing");
  EXPECT_NE(run(6, {{"cmoe.shared-by", "rate"}}).find("windows of 8, seed 6"), std::string::npos);
  EXPECT_NE(run(5, {{"cmoe.shared-by", "heapr"}}).find("has no output_moment, which heapr wants"),
            std::string::npos);
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  EXPECT_NE(run(5, {}).find("is a folder, wanted a file (calib.h5)"), std::string::npos);
}

}  // namespace
}  // namespace lacuna::test
