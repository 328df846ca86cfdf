#include "parallel/run/mpi/mpi_session.h"

#include <cstdlib>

#include "parallel/run/mpi/mpi_check.h"
#include "parallel/run/mpi/mpi_communicator.h"

namespace lacuna {

struct MpiSession::State {
  MpiShared shared;
  std::unique_ptr<MpiCommunicator> world;
};

MpiSession::MpiSession(std::size_t largest_message) : state_(std::make_unique<State>()) {
  LACUNA_ASSERT(largest_message > 0 && largest_message < (std::size_t{1} << 31));
  state_->shared.largest_message = largest_message;
  int provided = MPI_THREAD_SINGLE;
  LACUNA_MPI(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided));
  LACUNA_CHECK(provided >= MPI_THREAD_FUNNELED, ErrorKind::Internal,
               "this MPI does not allow threads beside the one that calls it (MPI_THREAD_FUNNELED)");
  MPI_Comm all = MPI_COMM_NULL;
  LACUNA_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &all));
  state_->world = MpiCommunicator::adopt(state_->shared, all, "world", nullptr);
}

MpiSession::~MpiSession() = default;

Communicator& MpiSession::world() {
  return *state_->world;
}

void MpiSession::finalize() {
  LACUNA_MPI(MPI_Finalize());
}

void MpiSession::abort(int code) {
  MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);  // MPI_Abort does not return, but is not declared so
}

}  // namespace lacuna
