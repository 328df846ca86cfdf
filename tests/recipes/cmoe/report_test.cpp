// The table of a carving.
#include "recipes/cmoe/report.h"

#include <gtest/gtest.h>

#include <cmath>

namespace lacuna::test {
namespace {

TEST(CarvingReport, DividendAndShareAreAgainstTheBestStaticModel) {
  const auto score = [](const char* name, double nll) {
    return VariantScore{name, {nll, nll + 1}, {3, 3}, {0.25, 0.35}};
  };
  CmoeOptions options;
  options.texts = {"a.h5", "b.h5"};
  const Json report =
      carving_report({score("dense", 2), score("static rate", 2.9), score("static flap + means", 2.6),
                      score("routed linear", 2.3), score("routed random", 3), score("routed oracle", 2.2)},
                     options, "routed linear", {RoutingQuality{0.5, 0.1, 0.3, 0.2, 0.4, 3, 1.2}});
  EXPECT_EQ(report["best_static"], "static flap + means");
  EXPECT_NEAR(report["dividend"].get<double>(), 0.3, 1e-12);
  EXPECT_NEAR(report["share"].get<double>(), 0.75, 1e-12);
  EXPECT_NEAR(report["models"][3]["ratio"].get<double>(), std::exp(0.3), 1e-12);
  EXPECT_NEAR(report["models"][3]["off"].get<double>(), 0.3, 1e-12);
  const std::string table = carving_table(report);
  EXPECT_NE(table.find("75 % of the oracle's 0.4000"), std::string::npos);
  EXPECT_NE(table.find("(chance 10.0 %)"), std::string::npos);
}

}  // namespace
}  // namespace lacuna::test
