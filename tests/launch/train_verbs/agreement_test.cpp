#include "launch/train_verbs/agreement.h"

#include <gtest/gtest.h>

#include <new>

#include "parallel/run/local_communicator.h"
#include "src/base/error.h"

namespace lacuna {
namespace {

TEST(Agreement, AllRanksLeaveWithTheCodeOfTheLowestThatFailed) {
  run_local(3, [](Communicator& world, int rank) {
    try {
      agree(world, [&] {
        if (rank == 1) throw std::bad_alloc();
        if (rank == 2) fail(ErrorKind::BadInput, "a broken file");
      });
      ADD_FAILURE() << "nothing was thrown on rank " << rank;
    } catch (const AgreedFailure& failure) {
      EXPECT_EQ(failure.code, static_cast<int>(ErrorKind::NoFit));
    }
    agree(world, [] {});
  });
}

}  // namespace
}  // namespace lacuna
