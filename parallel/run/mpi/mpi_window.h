// Shared memory of the ranks of one node: MPI_Win_allocate_shared, one area a rank, aligned to 64 bytes.
#pragma once

#include <mpi.h>

#include <span>
#include <vector>

#include "parallel/run/communicator.h"

namespace lacuna {

class MpiWindow : public SharedWindow {
 public:
  // Collective over `comm`, whose ranks share a node. `meet` gathers one number of every rank.
  MpiWindow(Communicator& meet, MPI_Comm comm, std::size_t bytes);
  std::byte* base(int rank) override { return areas_.at(static_cast<std::size_t>(rank)).data(); }
  std::size_t bytes(int rank) const override { return areas_.at(static_cast<std::size_t>(rank)).size(); }
  void sync() override;
  void free();  // collective

 private:
  MPI_Win window_ = MPI_WIN_NULL;
  std::vector<std::span<std::byte>> areas_;
};

}  // namespace lacuna
