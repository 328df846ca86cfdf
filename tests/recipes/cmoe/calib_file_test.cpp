// What calibration measured, in a file: the same model again, other models and data refused.
#include "recipes/cmoe/calib_file.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "src/base/error.h"
#include "tests/recipes/cmoe/carved_runs.h"
#include "tests/recipes/cmoe/random_layer.h"
#include "tests/support/test_data.h"

namespace lacuna::test {
namespace {

TEST(CalibFile, RoundTripsAndRefusesOtherModelsAndData) {
  const TempFolder folder;
  const LayerEvidence e = random_evidence(26, 60);
  CalibLayer layer{2, 16, fingerprint_of(e.ffn), "40 tokens of here", e.inputs, {}};
  const std::string path = folder / "calib-0002.h5";
  write_calib(path, layer, e.statistics);
  const CalibLayer read = read_calib(path, layer);
  EXPECT_TRUE(at::equal(read.inputs, e.inputs));
  EXPECT_EQ(read.check_tokens, 16);
  EXPECT_FALSE(read.output_moment.defined());
  const auto message = [&](const CalibLayer& expected) {
    try {
      read_calib(path, expected);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("nothing");
  };
  CalibLayer other = layer;
  other.data = "41 tokens of there";
  EXPECT_NE(message(other).find("another calibration"), std::string::npos);
  FfnWeights changed = e.ffn;
  changed.up = changed.up + 1;
  other = layer;
  other.weights = fingerprint_of(changed);
  EXPECT_NE(message(other).find("another model"), std::string::npos);
}

TEST(Cmoe, StatisticsFilesGiveTheSameModelWithoutAPass) {
  const TempFolder folder;
  const Settings settings = small_carving({{"cmoe.statistics", folder / "calib"}});
  const Outcome first = carve(small_options(2, 1, 1), settings),
                again = carve(small_options(1, 1, 1), settings);
  EXPECT_TRUE(same_bits(first.weights, again.weights));
}

}  // namespace
}  // namespace lacuna::test
