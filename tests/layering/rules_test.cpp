// Each rule against its own breach: a rule that cannot fail holds nobody.
#include "tests/layering/rules.h"

#include <gtest/gtest.h>

namespace lacuna::layering {
namespace {

const char* kTable =
    "lacuna_module(base src/base DEPS lib_fmt)\n"
    "lacuna_module(arch   src/arch DEPS base)\n"
    "lacuna_module(kernels kernels/cpu DEPS base)\n"
    "lacuna_module(run parallel/run DEPS base)\n"
    "lacuna_module(mpi parallel/run/mpi DEPS run lib_mpi)\n"
    "lacuna_module(nccl parallel/run/nccl CUDA LIBS lib_nccl DEPS run base)\n"
    "lacuna_module(model src/model DEPS arch run TORCH)\n";

TEST(Rules, TheTableIsReadWithItsReach) {
  const Modules modules = read_modules(kTable);
  EXPECT_EQ(modules.may_include.size(), 7u);
  EXPECT_EQ(modules.may_include.at("src/model"),
            (std::set<std::string>{"src/model", "src/arch", "parallel/run", "src/base"}));
  EXPECT_EQ(modules.may_include.at("parallel/run/nccl"),
            (std::set<std::string>{"parallel/run/nccl", "parallel/run", "src/base"}));
  EXPECT_EQ(modules.module_of("parallel/run/mpi/x.cpp"), "parallel/run/mpi");
  EXPECT_EQ(modules.module_of("parallel/run/x.cpp"), "parallel/run");
  EXPECT_EQ(modules.module_of("elsewhere/x.cpp"), "");
}

TEST(Rules, AnUpwardDependencyAndACycleAreFound) {
  EXPECT_TRUE(check_floors(read_modules(kTable)).empty());
  const std::string table = kTable;
  EXPECT_FALSE(check_floors(read_modules(table + "lacuna_module(text src/text DEPS model)")).empty());
  EXPECT_FALSE(check_floors(read_modules(table + "lacuna_module(other somewhere DEPS base)")).empty());
  const Complaints cycle =
      check_floors(read_modules("lacuna_module(a src/text DEPS b)\nlacuna_module(b src/format DEPS a)\n"));
  ASSERT_FALSE(cycle.empty());
  EXPECT_EQ(cycle[0], "src/format and src/text depend on each other");
}

TEST(Rules, ForbiddenIncludesAreFound) {
  const Modules modules = read_modules(kTable);
  const auto first = [&](const std::string& path, const std::string& text) {
    const Complaints found = check_includes(path, text, modules);
    return found.empty() ? std::string() : found[0];
  };
  EXPECT_EQ(first("src/model/a.cpp", "#include \"src/arch/b.h\"\n#include <vector>\n"), "");
  EXPECT_EQ(first("src/arch/a.cpp", "// head\n#include \"src/model/b.h\"\n"),
            "src/arch/a.cpp:2: src/arch may not include src/model");
  EXPECT_EQ(first("src/arch/a.h", "#  include \"b.h\"\n"),
            "src/arch/a.h:1: b.h is not named from the root of the repository");
  EXPECT_EQ(first("src/arch/a.h", "#include \"tests/support/b.h\"\n"),
            "src/arch/a.h:1: tests/support/b.h is a test's");
  EXPECT_EQ(first("elsewhere/a.h", ""), "elsewhere/a.h belongs to no module of CMakeLists.txt");
  EXPECT_EQ(first("tests/x/a.cpp", "#include \"src/model/b.h\"\n"), "");
}

TEST(Rules, LibrariesOutsideTheirRoomsAreFound) {
  const Modules modules = read_modules(kTable);
  const auto count = [&](const std::string& path, const std::string& header) {
    return check_includes(path, "#include <" + header + ">\n", modules).size();
  };
  EXPECT_EQ(count("src/model/a.cpp", "ATen/ATen.h"), 0u);
  EXPECT_EQ(count("parallel/run/mpi/a.cpp", "mpi.h"), 0u);
  for (const char* header : {"ATen/ATen.h", "c10/core/Device.h", "torch/torch.h", "mpi.h", "hdf5.h",
                             "H5Dpublic.h", "boost/any.hpp", "nccl.h", "cuda_runtime.h", "gtest/gtest.h"})
    EXPECT_EQ(count("src/arch/a.cpp", header), 1u) << header;
  EXPECT_EQ(count("parallel/run/a.cpp", "mpi.h"), 1u);
}

TEST(Rules, SizeAndNames) {
  EXPECT_TRUE(check_size("a", std::string(600, '\n')).empty());
  EXPECT_EQ(check_size("a", std::string(601, '\n')), (Complaints{"a: 601 lines, the wall is 600"}));
  const std::set<std::string> recipes = {"drelu", "cmoe"};
  EXPECT_EQ(check_recipe_names("src/model/a.h", "// used by CMoE alone", recipes).size(), 1u);
  EXPECT_TRUE(check_recipe_names("src/model/a.h", "Activation::drelu; cmoet", recipes).empty());
  EXPECT_TRUE(check_recipe_names("recipes/cmoe/a.h", "cmoe", recipes).empty());
}

TEST(Rules, PathsOfAPage) {
  EXPECT_EQ(named_paths("see `src/base/json.h`, (launch/test.sh) and docs/adr/. [x](tests/fresh#top) "
                        "src/*/x.h, ./launch/lib.sh: kernels/{a,b} notsrc/x"),
            (std::set<std::string>{"src/base/json.h", "launch/test.sh", "docs/adr", "tests/fresh",
                                   "launch/lib.sh"}));
}

}  // namespace
}  // namespace lacuna::layering
