#include "parallel/run/mpi/mpi_communicator.h"

#include <sched.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "parallel/run/mpi/mpi_check.h"
#include "parallel/run/mpi/mpi_window.h"

namespace lacuna {
namespace {

constexpr const char* kSharedMemory = "/dev/shm";

}  // namespace

const std::string& MpiShared::keep_name(const std::string& name) {
  const auto found = std::find(names.begin(), names.end(), name);
  return found != names.end() ? *found : names.emplace_back(name);
}

// Only after an error is a request left before its end. A receive is withdrawn, because its buffer dies; MPI
// has no way to withdraw a send, and the job ends soon.
MpiRequest::~MpiRequest() {
  if (ended || !receive) return;
  for (MPI_Request& part : parts) {
    if (part == MPI_REQUEST_NULL) continue;
    MPI_Cancel(&part);
    MPI_Request_free(&part);
  }
}

std::unique_ptr<MpiCommunicator> MpiCommunicator::adopt(MpiShared& shared, MPI_Comm comm,
                                                        const std::string& name, Progress* progress) {
  int rank = 0, size = 0;
  LACUNA_MPI(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN));
  LACUNA_MPI(MPI_Comm_rank(comm, &rank));
  LACUNA_MPI(MPI_Comm_size(comm, &size));
  MPI_Comm collectives = MPI_COMM_NULL;
  LACUNA_MPI(MPI_Comm_dup(comm, &collectives));
  LACUNA_MPI(MPI_Comm_set_errhandler(collectives, MPI_ERRORS_RETURN));
  return std::unique_ptr<MpiCommunicator>(
      new MpiCommunicator(shared, comm, collectives, rank, size, shared.keep_name(name), progress));
}

MpiCommunicator::MpiCommunicator(MpiShared& shared, MPI_Comm messages, MPI_Comm collectives, int rank,
                                 int size, const std::string& kept_name, Progress* progress)
    : OrderedCollectives(rank, size, kept_name, progress),
      shared_(shared),
      messages_(messages),
      collectives_(collectives) {}

std::unique_ptr<Request> MpiCommunicator::post(How how, MPI_Comm comm, int peer, int tag, std::byte* data,
                                               std::size_t bytes) {
  LACUNA_CHECK(peer >= 0 && peer < size() && peer != rank(), ErrorKind::Internal,
               "'{}': rank {} of {} exchanges with rank {}", name(), rank(), size(), peer);
  auto request = std::make_unique<MpiRequest>();
  request->bytes = bytes, request->peer = peer, request->tag = tag, request->receive = how == How::Receive;
  const std::size_t largest = shared_.largest_message;
  const std::size_t parts = std::max<std::size_t>(1, (bytes + largest - 1) / largest);
  request->parts.assign(parts, MPI_REQUEST_NULL);
  request->statuses.resize(parts);
  for (std::size_t part = 0; part < parts; ++part) {
    std::byte* begin = data + part * largest;
    const int count = static_cast<int>(std::min(largest, bytes - part * largest));
    MPI_Request* handle = &request->parts[part];
    switch (how) {
      case How::Synchronous:
        LACUNA_MPI(MPI_Issend(begin, count, MPI_BYTE, peer, tag, comm, handle));
        break;
      case How::Standard:
        LACUNA_MPI(MPI_Isend(begin, count, MPI_BYTE, peer, tag, comm, handle));
        break;
      case How::Receive:
        LACUNA_MPI(MPI_Irecv(begin, count, MPI_BYTE, peer, tag, comm, handle));
        break;
    }
  }
  return request;
}

std::unique_ptr<Request> MpiCommunicator::isend(int peer, int tag, std::span<const std::byte> data) {
  LACUNA_ASSERT(tag >= 0);
  return post(How::Synchronous, messages_, peer, tag, const_cast<std::byte*>(data.data()), data.size());
}
std::unique_ptr<Request> MpiCommunicator::irecv(int peer, int tag, std::span<std::byte> data) {
  LACUNA_ASSERT(tag >= 0);
  return post(How::Receive, messages_, peer, tag, data.data(), data.size());
}
std::unique_ptr<Request> MpiCommunicator::post_send(int peer, std::span<const std::byte> data) {
  return post(How::Standard, collectives_, peer, 0, const_cast<std::byte*>(data.data()), data.size());
}
std::unique_ptr<Request> MpiCommunicator::post_recv(int peer, std::span<std::byte> data) {
  return post(How::Receive, collectives_, peer, 0, data.data(), data.size());
}

// A longer message than the receive is MPI's error (truncation); a shorter one is found here.
void MpiCommunicator::check_length(const MpiRequest& request) const {
  std::size_t arrived = 0;
  for (const MPI_Status& status : request.statuses) {
    int count = 0;
    LACUNA_MPI(MPI_Get_count(&status, MPI_BYTE, &count));
    arrived += static_cast<std::size_t>(count);
  }
  LACUNA_CHECK(arrived == request.bytes, ErrorKind::Internal,
               "'{}' on rank {}: {} bytes came from rank {} with tag {}, wanted {}", name(), rank(), arrived,
               request.peer, request.tag, request.bytes);
}

bool MpiCommunicator::test(Request& request) {
  auto& mine = static_cast<MpiRequest&>(request);
  if (mine.ended) return true;
  int flag = 0;
  const int code =
      MPI_Testall(static_cast<int>(mine.parts.size()), mine.parts.data(), &flag, mine.statuses.data());
  if (code != MPI_SUCCESS) {
    int first = code;  // Testall says "look at the statuses"
    for (const MPI_Status& status : mine.statuses) {
      if (code == MPI_ERR_IN_STATUS && status.MPI_ERROR != MPI_SUCCESS &&
          status.MPI_ERROR != MPI_ERR_PENDING) {
        first = status.MPI_ERROR;
      }
    }
    fail(ErrorKind::Internal, "'{}' on rank {}: {} of {} bytes, rank {}, tag {}: MPI: {}", name(), rank(),
         mine.receive ? "receive" : "send", mine.bytes, mine.peer, mine.tag, mpi_error_text(first));
  }
  if (!flag) return false;
  mine.ended = true;
  if (mine.receive) check_length(mine);
  return true;
}

void MpiCommunicator::wait(Request& request) {
  if (test(request)) return;
  const auto& mine = static_cast<MpiRequest&>(request);
  const char* outer = progress_ ? progress_->doing.load(std::memory_order_relaxed) : "";
  const Doing doing(progress_, *outer ? outer : "wait", name().c_str(), mine.peer);
  while (!test(request)) idle();
}

// The processor goes to whoever is behind: there may be more ranks than cores.
void MpiCommunicator::idle() {
  sched_yield();
}

std::unique_ptr<Communicator> MpiCommunicator::split(int colour, int key, const std::string& new_name) {
  MPI_Comm part = MPI_COMM_NULL;
  LACUNA_MPI(MPI_Comm_split(collectives_, colour, key, &part));
  return adopt(shared_, part, new_name, progress_);
}

void MpiCommunicator::require_one_node() {
  MPI_Comm node = MPI_COMM_NULL;
  LACUNA_MPI(MPI_Comm_split_type(collectives_, MPI_COMM_TYPE_SHARED, rank(), MPI_INFO_NULL, &node));
  int here = 0;
  LACUNA_MPI(MPI_Comm_size(node, &here));
  LACUNA_MPI(MPI_Comm_free(&node));
  const std::int64_t fewest = -here;
  std::int64_t most = fewest;
  all_reduce_max(&most, 1, DType::I64);  // all ranks refuse, or none
  char host[MPI_MAX_PROCESSOR_NAME] = "";
  int length = 0;
  LACUNA_MPI(MPI_Get_processor_name(host, &length));
  LACUNA_CHECK(
      -most == size(), ErrorKind::NoFit,
      "'{}': shared memory needs its {} ranks on one node, {} has {} of them (place pipeline partners on "
      "one node, or run without BPipe)",
      name(), size(), host, here);
}

// Where MPI finds too little shared memory, one rank fails and the others wait for it: asked beforehand, all
// of them refuse. Rank 0's view counts, because the free space changes.
void MpiCommunicator::require_shared_memory(std::size_t bytes) {
  auto total = static_cast<std::int64_t>(bytes);
  all_reduce_sum(&total, 1, DType::I64);
  std::int64_t available = std::numeric_limits<std::int64_t>::max();
  struct statvfs space {};
  const bool elsewhere = std::getenv("OMPI_MCA_osc_sm_backing_directory") != nullptr;
  if (!elsewhere && access(kSharedMemory, W_OK) == 0 && statvfs(kSharedMemory, &space) == 0) {
    available = static_cast<std::int64_t>(space.f_bavail * space.f_frsize);
  }
  broadcast(0, std::as_writable_bytes(std::span(&available, 1)));
  LACUNA_CHECK(
      total <= available, ErrorKind::NoFit,
      "'{}': {} bytes of shared memory wanted, {} has {} (enlarge it, e.g. docker --shm-size, or set "
      "OMPI_MCA_osc_sm_backing_directory, or run without BPipe)",
      name(), total, kSharedMemory, available);
}

std::unique_ptr<SharedWindow> MpiCommunicator::open_window(std::size_t bytes) {
  require_one_node();
  require_shared_memory(bytes);
  auto window = std::make_unique<MpiWindow>(*this, collectives_, bytes);
  if (bytes > 0) std::memset(window->base(rank()), 0, bytes);
  window->sync();
  barrier();
  window->sync();
  return window;
}

void MpiCommunicator::close_window(std::unique_ptr<SharedWindow> window) {
  barrier();
  static_cast<MpiWindow&>(*window).free();
}

}  // namespace lacuna
