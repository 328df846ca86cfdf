// A communicator over MPI for ranks in host memory. Sends are synchronous (Issend), so that no schedule comes
// to rely on MPI's buffering; collectives travel on a duplicate, so that tags never meet.
#pragma once

#include <mpi.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "parallel/run/ordered_collectives.h"

namespace lacuna {

// What all communicators of a session share.
struct MpiShared {
  std::size_t largest_message = 0;
  std::deque<std::string> names;  // outlive their communicators: the watchdog reads them
  const std::string& keep_name(const std::string& name);
};

// The parts of one message.
class MpiRequest : public Request {
 public:
  ~MpiRequest() override;  // gives up a receive that has not ended
  std::vector<MPI_Request> parts;
  std::vector<MPI_Status> statuses;
  std::size_t bytes = 0;
  bool receive = false, ended = false;
  int peer = -1, tag = 0;
};

class MpiCommunicator : public OrderedCollectives {
 public:
  // Takes `comm` over and duplicates it: collective. Handles are given back by MPI_Finalize alone, because
  // freeing one is collective too.
  static std::unique_ptr<MpiCommunicator> adopt(MpiShared& shared, MPI_Comm comm, const std::string& name,
                                                Progress* progress);

  std::unique_ptr<Request> isend(int peer, int tag, std::span<const std::byte> data) override;
  std::unique_ptr<Request> irecv(int peer, int tag, std::span<std::byte> data) override;
  bool test(Request& request) override;
  void wait(Request& request) override;
  void idle() override;

  std::unique_ptr<Communicator> split(int colour, int key, const std::string& new_name) override;
  std::unique_ptr<SharedWindow> open_window(std::size_t bytes) override;
  void close_window(std::unique_ptr<SharedWindow> window) override;

 protected:
  std::unique_ptr<Request> post_send(int peer, std::span<const std::byte> data) override;
  std::unique_ptr<Request> post_recv(int peer, std::span<std::byte> data) override;

 private:
  MpiCommunicator(MpiShared& shared, MPI_Comm messages, MPI_Comm collectives, int rank, int size,
                  const std::string& kept_name, Progress* progress);
  enum class How { Synchronous, Standard, Receive };
  std::unique_ptr<Request> post(How how, MPI_Comm comm, int peer, int tag, std::byte* data,
                                std::size_t bytes);
  void check_length(const MpiRequest& request) const;
  void require_one_node();
  void require_shared_memory(std::size_t bytes);

  MpiShared& shared_;
  MPI_Comm messages_, collectives_;
};

}  // namespace lacuna
