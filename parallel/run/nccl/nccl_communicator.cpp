#include "parallel/run/nccl/nccl_communicator.h"

#include <unistd.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "parallel/run/cuda/cuda_check.h"
#include "parallel/run/cuda/cuda_device.h"
#include "parallel/run/nccl/nccl.h"
#include "parallel/run/nccl/nccl_check.h"

namespace lacuna {
namespace {

constexpr int kIdTag = 1 << 16;  // of the host's messages, away from everybody else's
// Thread blocks of a transfer. A receive that waits for its sender keeps its blocks' multiprocessors busy, so
// a channel gets few; docs/performance.md has their bandwidth.
constexpr int kTransferBlocks = 2;

ncclDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::F64:
      return ncclFloat64;
    case DType::F32:
      return ncclFloat32;
    case DType::BF16:
      return ncclBfloat16;
    case DType::I64:
      return ncclInt64;
    default:
      fail(ErrorKind::Internal, "cannot reduce {} over ranks: F64, F32, BF16 or I64", name_of(dtype));
  }
}

ncclComm_t make_comm(int size, int rank, const ncclUniqueId& id, int blocks) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  if (blocks > 0) config.maxCTAs = blocks;
  ncclComm_t comm = nullptr;
  LACUNA_NCCL(ncclCommInitRankConfig(&comm, size, id, rank, &config));
  return comm;
}

// A transfer is issued when isend or irecv returns.
class IssuedTransfer final : public Request {};

}  // namespace

NcclCommunicator::NcclCommunicator(Communicator& host, StreamDevice& device, Progress* progress)
    : DeviceCommunicator(host, device, progress),
      scratch_(device, 64 * (1 + static_cast<std::size_t>(host.size()))) {
  require_own_gpus();
  const Doing doing(progress_, "connect", name().c_str());
  if (size() > 1) {
    ncclUniqueId id{};
    if (rank() == 0) LACUNA_NCCL(ncclGetUniqueId(&id));
    host_.broadcast(0, std::as_writable_bytes(std::span(&id, 1)));
    all_ = make_comm(size(), rank(), id, 0);
    connect_ranks();
  }
  watch([this] { check_peers(); });
}

// NCCL connects the ranks for a kind of collective at its first use, and that waits for them on the host:
// now, not in a step.
void NcclCommunicator::connect_ranks() {
  std::byte* mine = scratch_.data();
  std::byte* all = mine + 64;
  const std::vector<std::size_t> one(static_cast<std::size_t>(size()), 1);
  all_reduce_sum(mine, 1, DType::F32);
  all_gather({mine, sizeof(float)}, {all, one.size() * sizeof(float)});
  reduce_scatter_sum(all, one, mine, DType::F32);
  broadcast(0, {mine, sizeof(float)});
  device_.finish(kComputeQueue);
}

// Not collective: whoever ends in order has met the others before (finish, then the host's barrier), and
// after an error a kernel may be waiting for a lost peer.
NcclCommunicator::~NcclCommunicator() {
  for (auto& [channel, line] : lines_) ncclCommAbort(line.comm);
  if (all_) ncclCommAbort(all_);
}

void NcclCommunicator::require_own_gpus() {
  struct Address {
    char node[64], pci[32];
  };
  Address mine{};
  gethostname(mine.node, sizeof mine.node - 1);
  LACUNA_CUDA_CALL(cudaDeviceGetPCIBusId(mine.pci, sizeof mine.pci, device_.gpu()));
  std::vector<Address> all(static_cast<std::size_t>(size()));
  host_.all_gather(std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(all)));
  for (std::size_t a = 0; a < all.size(); ++a) {
    for (std::size_t b = a + 1; b < all.size(); ++b) {
      const bool same =
          std::string_view(all[a].node) == all[b].node && std::string_view(all[a].pci) == all[b].pci;
      LACUNA_CHECK(
          !same, ErrorKind::NoFit,
          "'{}': ranks {} and {} share GPU {} of {}, and NCCL needs one each. Start one process a GPU, "
          "or run them as virtual ranks, threads of one process that share GPUs",
          name(), a, b, all[a].pci, all[a].node);
    }
  }
}

void NcclCommunicator::check_peers() const {
  const auto look = [&](ncclComm_t comm, const char* what) {
    ncclResult_t state = ncclSuccess;
    LACUNA_NCCL(ncclCommGetAsyncError(comm, &state));
    LACUNA_CHECK(state == ncclSuccess || state == ncclInProgress, ErrorKind::Hang,
                 "'{}' on rank {}: a peer is lost in its {}: NCCL: {}", name(), rank(), what,
                 ncclGetErrorString(state));
  };
  if (all_) look(all_, "collectives");
  for (const auto& [channel, line] : lines_) look(line.comm, "transfers");
}

// Rank by rank in the order of the list: the first channel that is not open yet finds both its ends there.
void NcclCommunicator::connect(std::span<const Channel> channels) {
  for (const Channel& channel : channels) {
    const bool mine = channel.from == rank() || channel.to == rank();
    if (mine && !lines_.contains(channel)) open(channel);
  }
}

void NcclCommunicator::open(const Channel& channel) {
  const bool sends = channel.from == rank();
  const int peer = sends ? channel.to : channel.from;
  LACUNA_CHECK(peer >= 0 && peer < size() && peer != rank(), ErrorKind::Internal,
               "'{}': rank {} of {} in a channel with rank {}", name(), rank(), size(), peer);
  const Doing doing(progress_, "connect", name().c_str(), peer);
  ncclUniqueId id{};
  const auto bytes = std::as_writable_bytes(std::span(&id, 1));
  if (sends) {
    LACUNA_NCCL(ncclGetUniqueId(&id));
    host_.wait(*host_.isend(peer, kIdTag, bytes));
  } else {
    host_.wait(*host_.irecv(peer, kIdTag, bytes));
  }
  Line line{make_comm(2, sends ? 0 : 1, id, kTransferBlocks), device_.open_queue()};
  lines_.emplace(channel, line);
  // NCCL connects at the first transfer, and that waits for the peer on the host: now, not in a step.
  if (sends) {
    LACUNA_NCCL(ncclSend(scratch_.data(), 1, ncclUint8, 1, line.comm, device_.stream(line.queue)));
  } else {
    LACUNA_NCCL(ncclRecv(scratch_.data(), 1, ncclUint8, 0, line.comm, device_.stream(line.queue)));
  }
  device_.finish(line.queue);
}

NcclCommunicator::Line& NcclCommunicator::line(const Channel& channel) {
  const auto found = lines_.find(channel);
  LACUNA_CHECK(found != lines_.end(), ErrorKind::Internal,
               "'{}' on rank {}: no channel from rank {} to {} with tag {}: connect() makes them", name(),
               rank(), channel.from, channel.to, channel.tag);
  return found->second;
}

std::unique_ptr<Request> NcclCommunicator::isend(int peer, int tag, std::span<const std::byte> data) {
  const Line& to = line({rank(), peer, tag});
  LACUNA_NCCL(ncclSend(data.data(), data.size(), ncclUint8, 1, to.comm, device_.stream(to.queue)));
  return std::make_unique<IssuedTransfer>();
}

std::unique_ptr<Request> NcclCommunicator::irecv(int peer, int tag, std::span<std::byte> data) {
  const Line& from = line({peer, rank(), tag});
  LACUNA_NCCL(ncclRecv(data.data(), data.size(), ncclUint8, 0, from.comm, device_.stream(from.queue)));
  return std::make_unique<IssuedTransfer>();
}

bool NcclCommunicator::test(Request&) {
  return true;
}

void NcclCommunicator::barrier() {
  if (all_) all_reduce_sum(scratch_.data(), 1, DType::F32);
}

void NcclCommunicator::broadcast(int root, std::span<std::byte> data) {
  if (!all_ || data.empty()) return;
  const Doing doing(progress_, "broadcast", name().c_str());
  LACUNA_NCCL(ncclBroadcast(data.data(), data.data(), data.size(), ncclUint8, root, all_, compute()));
}

void NcclCommunicator::all_gather(std::span<const std::byte> mine, std::span<std::byte> all) {
  const Doing doing(progress_, "all-gather", name().c_str());
  LACUNA_ASSERT(all.size() == mine.size() * static_cast<std::size_t>(size()));
  if (mine.empty()) return;
  if (!all_) {
    if (all.data() != mine.data()) device_.copy(kComputeQueue, all.data(), mine.data(), mine.size());
    return;
  }
  LACUNA_NCCL(ncclAllGather(mine.data(), all.data(), mine.size(), ncclUint8, all_, compute()));
}

void NcclCommunicator::all_gather_v(std::span<const std::byte> mine, std::span<const std::size_t> counts,
                                    std::span<std::byte> all) {
  LACUNA_ASSERT(counts.size() == static_cast<std::size_t>(size()));
  LACUNA_ASSERT(counts[static_cast<std::size_t>(rank())] == mine.size());
  LACUNA_ASSERT(std::accumulate(counts.begin(), counts.end(), std::size_t{0}) == all.size());
  const bool even = std::all_of(counts.begin(), counts.end(), [&](auto c) { return c == counts[0]; });
  if (even) return all_gather(mine, all);
  const Doing doing(progress_, "all-gather", name().c_str());
  LACUNA_NCCL(ncclGroupStart());
  std::byte* part = all.data();
  for (std::size_t r = 0; r < counts.size(); part += counts[r++]) {
    if (counts[r] == 0) continue;
    const int root = static_cast<int>(r);
    const void* from = root == rank() ? mine.data() : part;
    LACUNA_NCCL(ncclBroadcast(from, part, counts[r], ncclUint8, root, all_, compute()));
  }
  LACUNA_NCCL(ncclGroupEnd());
}

void NcclCommunicator::reduce_scatter_sum(const void* all, std::span<const std::size_t> counts, void* mine,
                                          DType dtype) {
  LACUNA_ASSERT(counts.size() == static_cast<std::size_t>(size()));
  const Doing doing(progress_, "reduce-scatter", name().c_str());
  const std::size_t element = size_of(dtype);
  const auto* part = static_cast<const std::byte*>(all);
  if (!all_) {
    if (all != mine && counts[0] > 0)
      device_.copy(kComputeQueue, static_cast<std::byte*>(mine), part, counts[0] * element);
    return;
  }
  const bool even = std::all_of(counts.begin(), counts.end(), [&](auto c) { return c == counts[0]; });
  if (even) {
    LACUNA_NCCL(ncclReduceScatter(all, mine, counts[0], type_of(dtype), ncclSum, all_, compute()));
    return;
  }
  LACUNA_NCCL(ncclGroupStart());
  for (std::size_t r = 0; r < counts.size(); part += counts[r++] * element) {
    if (counts[r] == 0) continue;
    const int root = static_cast<int>(r);
    void* to = root == rank() ? mine : nullptr;  // only the root's is written
    LACUNA_NCCL(ncclReduce(part, to, counts[r], type_of(dtype), ncclSum, root, all_, compute()));
  }
  LACUNA_NCCL(ncclGroupEnd());
}

void NcclCommunicator::all_reduce(Reduction reduction, void* data, std::size_t count, DType dtype) {
  if (!all_ || count == 0) return;
  const Doing doing(progress_, "all-reduce", name().c_str());
  const ncclRedOp_t op = reduction == Reduction::Sum ? ncclSum : ncclMax;
  LACUNA_NCCL(ncclAllReduce(data, data, count, type_of(dtype), op, all_, compute()));
}

std::unique_ptr<DeviceCommunicator> NcclCommunicator::over(Communicator& host) {
  return std::make_unique<NcclCommunicator>(host, device_, progress_);
}

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& host, Device& device, Progress* progress) {
  return std::make_unique<NcclCommunicator>(host, stream_device(device), progress);
}

const char* nccl_version() {
  static const std::string text = [] {
    int code = 0;
    LACUNA_NCCL(ncclGetVersion(&code));
    return fmt::format("{}.{}.{}", code / 10000, code / 100 % 100, code % 100);
  }();
  return text.c_str();
}

}  // namespace lacuna
