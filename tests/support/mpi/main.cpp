// main of tests under mpirun: rank 0 prints, a failed check of any rank names the rank and ends the job (the
// others would wait for a rank that went on), and no job lasts longer than its limit.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <memory>

#include "tests/support/mpi/mpi_world.h"

namespace lacuna::test {
namespace {

constexpr unsigned kLimitSeconds = 300;

std::unique_ptr<MpiSession>& session_slot() {
  static std::unique_ptr<MpiSession> session;
  return session;
}

class EndJobOnFailure : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fprintf(stderr, "rank %d: %s:%d: %s\n", mpi_world().rank(),
                 result.file_name() ? result.file_name() : "?", result.line_number(), result.message());
    mpi_session().abort(1);
  }
};

}  // namespace

MpiSession& mpi_session() {
  return *session_slot();
}

}  // namespace lacuna::test

int main(int argc, char** argv) {
  using namespace lacuna::test;
  alarm(kLimitSeconds);
  testing::InitGoogleTest(&argc, argv);
  session_slot() = std::make_unique<lacuna::MpiSession>(kMpiMessageBytes);
  auto& listeners = testing::UnitTest::GetInstance()->listeners();
  if (mpi_world().rank() != 0) delete listeners.Release(listeners.default_result_printer());
  listeners.Append(new EndJobOnFailure);
  const int code = RUN_ALL_TESTS();
  mpi_session().finalize();
  session_slot().reset();
  return code;
}
