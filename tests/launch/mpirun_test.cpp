// The mpirun command, and --ranks on the way to it.
#include "launch/mpirun.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "launch/handover.h"
#include "src/base/error.h"

namespace lacuna {
namespace {

using Words = std::vector<std::string>;

TEST(Mpirun, OpenMpiGetsRobustLocalRuns) {
  const MpirunJob job{4, {"build/lacuna-train", "train", "--steps", "3"}, 30};
  const Words argv = mpirun_argv({"/usr/bin/mpirun", true, true, false}, job);
  EXPECT_EQ(argv,
            (Words{"/usr/bin/mpirun", "-q", "--oversubscribe", "--bind-to", "none", "--mca",
                   "mpi_yield_when_idle", "1", "-n", "4", "build/lacuna-train", "train", "--steps", "3"}));
  const Words without_ssh = mpirun_argv({"/usr/bin/mpirun", true, false, false}, job);
  EXPECT_EQ(without_ssh.size(), argv.size() + 3);
  EXPECT_EQ(without_ssh[8], "--mca");
  EXPECT_EQ(without_ssh[9], "plm_rsh_agent");
}

TEST(Mpirun, AnotherMpiGetsTheRanksAlone) {
  EXPECT_EQ(mpirun_argv({"mpiexec", false, false, true}, {2, {"x"}, 1}), (Words{"mpiexec", "-n", "2", "x"}));
  EXPECT_TRUE(mpirun_environment({"mpiexec", false, false, true}).empty());
}

TEST(Mpirun, RootIsAllowedOnlyWhereItIsRoot) {
  EXPECT_EQ(mpirun_environment({"mpirun", true, true, true}),
            (Words{"OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"}));
  EXPECT_TRUE(mpirun_environment({"mpirun", true, true, false}).empty());
}

TEST(Mpirun, AMissingLauncherIsNamed) {
  ::setenv("LACUNA_MPIRUN", "/no/such/mpirun", 1);
  try {
    find_mpirun();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::Usage);
    EXPECT_NE(std::string(error.what()).find("no /no/such/mpirun: install openmpi-bin"), std::string::npos);
  }
  ::unsetenv("LACUNA_MPIRUN");
}

TEST(Ranks, AreTakenOutOfTheArguments) {
  Words words = {"--steps", "3", "--ranks", "4", "--json"};
  EXPECT_EQ(take_ranks(words), 4);
  EXPECT_EQ(words, (Words{"--steps", "3", "--json"}));
  words = {"--ranks=2"};
  EXPECT_EQ(take_ranks(words), 2);
  EXPECT_TRUE(words.empty());
  words = {"--steps", "3", "--", "--ranks", "4"};
  EXPECT_EQ(take_ranks(words), 0);
  EXPECT_EQ(words.size(), 5u);
  for (Words bad :
       {Words{"--ranks"}, Words{"--ranks", "0"}, Words{"--ranks", "x"}, Words{"--ranks=2", "--ranks", "2"}})
    EXPECT_THROW(take_ranks(bad), Error);
}

}  // namespace
}  // namespace lacuna
