// The ranks of an MPI test, for its test bodies.
#pragma once

#include "parallel/run/communicator.h"
#include "parallel/run/mpi/mpi_session.h"

namespace lacuna::test {

// Messages are cut at this many bytes, so that every test of long ones also tests the cutting.
inline constexpr std::size_t kMpiMessageBytes = 100'000;

MpiSession& mpi_session();
inline Communicator& mpi_world() {
  return mpi_session().world();
}

}  // namespace lacuna::test
