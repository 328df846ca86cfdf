#include "parallel/run/cuda/thread_communicator.h"

#include <algorithm>
#include <numeric>

#include "parallel/run/cuda/cuda_check.h"
#include "parallel/run/cuda/cuda_device.h"
#include "parallel/run/cuda/cuda_window.h"
#include "parallel/run/cuda/rank_reduce.h"
#include "parallel/run/node_place.h"

namespace lacuna {

namespace {

// Tags of the host's messages, away from everybody else's.
constexpr int kMeetTag = 1 << 16, kPartTag = kMeetTag + 1, kFirstTransferTag = kMeetTag + 2;

}  // namespace

// One side of a transfer.
class ThreadTransfer final : public Request {
 public:
  // What the sender says: where and when, and how many of the receiver's events it no longer needs.
  struct Offer {
    const std::byte* data;
    std::size_t bytes;
    cudaEvent_t ready;
    std::int64_t taken;
  };

  ThreadTransfer(ThreadCommunicator::Line& the_line, const Channel& the_channel, bool is_send,
                 std::byte* the_data, std::size_t the_bytes)
      : line(the_line), channel(the_channel), send(is_send), data(the_data), bytes(the_bytes) {
    line.open.push_back(this);
  }
  ~ThreadTransfer() override { std::erase(line.open, this); }

  int offer_tag() const { return kFirstTransferTag + 2 * channel.tag; }
  int answer_tag() const { return offer_tag() + 1; }

  ThreadCommunicator::Line& line;
  const Channel channel;
  const bool send;
  std::byte* const data;
  const std::size_t bytes;
  Offer offer{};
  cudaEvent_t copied = nullptr;  // the answer
  std::unique_ptr<Request> offering, answering;
  bool ended = false;
};

ThreadCommunicator::ThreadCommunicator(Communicator& host, StreamDevice& device, Progress* progress)
    : DeviceCommunicator(host, device, progress), ready_(device.new_event()), done_(device.new_event()) {
  LACUNA_CHECK(host.size() <= cuda::kMaxParts, ErrorKind::NoFit, "'{}': {} virtual ranks, at most {}",
               host.name(), host.size(), cuda::kMaxParts);
  enable_peers(host, device.gpu());
  all_ready_.resize(static_cast<std::size_t>(size()));
  all_done_.resize(static_cast<std::size_t>(size()));
  host_.all_gather(std::as_bytes(std::span(&ready_, 1)), std::as_writable_bytes(std::span(all_ready_)));
  host_.all_gather(std::as_bytes(std::span(&done_, 1)), std::as_writable_bytes(std::span(all_done_)));
  watch([this] { advance_all(); });
}

void ThreadCommunicator::connect(std::span<const Channel> channels) {
  std::map<Channel, int> wanted;
  for (const Channel& channel : channels)
    if (channel.from == rank() || channel.to == rank()) ++wanted[channel];
  for (const auto& [channel, together] : wanted) {
    Line& at = line(channel);
    for (; at.events < together; ++at.events) at.spare.push_back(device_.new_event());
  }
}

ThreadCommunicator::Line& ThreadCommunicator::line(const Channel& channel) {
  LACUNA_CHECK((channel.from == rank()) != (channel.to == rank()) &&
                   std::min(channel.from, channel.to) >= 0 && std::max(channel.from, channel.to) < size(),
               ErrorKind::Internal, "'{}': rank {} of {} in a channel from {} to {}", name(), rank(), size(),
               channel.from, channel.to);
  const auto [found, made] = lines_.try_emplace(channel);
  if (made) found->second.queue = device_.open_queue();
  return found->second;
}

cudaEvent_t ThreadCommunicator::take_event(Line& line) {
  if (line.spare.empty()) {
    ++line.events;
    return device_.new_event();
  }
  const cudaEvent_t event = line.spare.back();
  line.spare.pop_back();
  return event;
}

std::unique_ptr<Request> ThreadCommunicator::isend(int peer, int tag, std::span<const std::byte> data) {
  const Channel channel{rank(), peer, tag};
  Line& at = line(channel);
  auto transfer =
      std::make_unique<ThreadTransfer>(at, channel, true, const_cast<std::byte*>(data.data()), data.size());
  transfer->offer = {data.data(), data.size(), take_event(at), at.taken};
  LACUNA_CUDA_CALL(cudaEventRecord(transfer->offer.ready, device_.stream(at.queue)));
  transfer->answering =
      host_.irecv(peer, transfer->answer_tag(), std::as_writable_bytes(std::span(&transfer->copied, 1)));
  transfer->offering =
      host_.isend(peer, transfer->offer_tag(), std::as_bytes(std::span(&transfer->offer, 1)));
  return transfer;
}

std::unique_ptr<Request> ThreadCommunicator::irecv(int peer, int tag, std::span<std::byte> data) {
  const Channel channel{peer, rank(), tag};
  Line& at = line(channel);
  auto transfer = std::make_unique<ThreadTransfer>(at, channel, false, data.data(), data.size());
  transfer->offering =
      host_.irecv(peer, transfer->offer_tag(), std::as_writable_bytes(std::span(&transfer->offer, 1)));
  return transfer;
}

// The event that the receiver recorded after its copy: the buffer is free for what comes in this queue.
bool ThreadCommunicator::advance_send(Line& at, ThreadTransfer& transfer) {
  if (!host_.test(*transfer.offering) || !host_.test(*transfer.answering)) return false;
  LACUNA_CUDA_CALL(cudaStreamWaitEvent(device_.stream(at.queue), transfer.copied, 0));
  at.spare.push_back(transfer.offer.ready);
  ++at.taken;
  return true;
}

bool ThreadCommunicator::advance_receive(Line& at, ThreadTransfer& transfer) {
  if (!transfer.answering) {
    if (!host_.test(*transfer.offering)) return false;
    const ThreadTransfer::Offer& offer = transfer.offer;
    LACUNA_CHECK(offer.bytes == transfer.bytes, ErrorKind::Internal,
                 "'{}' on rank {}: {} bytes come from rank {} with tag {}, wanted {}", name(), rank(),
                 offer.bytes, transfer.channel.from, transfer.channel.tag, transfer.bytes);
    for (; at.returned < offer.taken; ++at.returned) {
      at.spare.push_back(at.lent.front());
      at.lent.pop_front();
    }
    LACUNA_CUDA_CALL(cudaStreamWaitEvent(device_.stream(at.queue), offer.ready, 0));
    cuda::copy_bytes(transfer.data, offer.data, offer.bytes, device_.stream(at.queue));
    transfer.copied = take_event(at);
    LACUNA_CUDA_CALL(cudaEventRecord(transfer.copied, device_.stream(at.queue)));
    at.lent.push_back(transfer.copied);
    transfer.answering = host_.isend(transfer.channel.from, transfer.answer_tag(),
                                     std::as_bytes(std::span(&transfer.copied, 1)));
  }
  return host_.test(*transfer.answering);
}

// In the order of posting, so that the k-th answer belongs to the k-th offer.
void ThreadCommunicator::advance(Line& at) {
  while (!at.open.empty()) {
    ThreadTransfer& first = *at.open.front();
    if (!(first.send ? advance_send(at, first) : advance_receive(at, first))) return;
    first.end = device_.mark(at.queue);  // now: the line's next transfer may be issued before anybody asks
    first.ended = true;
    at.open.pop_front();
  }
}

// Of all channels: while this rank waits for one peer, others wait for this rank's copies.
void ThreadCommunicator::advance_all() {
  for (auto& [channel, line] : lines_) advance(line);
}

bool ThreadCommunicator::test(Request& request) {
  auto& transfer = static_cast<ThreadTransfer&>(request);
  if (!transfer.ended) advance_all();
  return transfer.ended;
}

void ThreadCommunicator::wait(Request& request) {
  if (test(request)) return;
  const auto& transfer = static_cast<ThreadTransfer&>(request);
  const Doing doing(progress_, "wait", name().c_str(),
                    transfer.send ? transfer.channel.to : transfer.channel.from);
  while (!test(request)) idle();
}

// An all-gather that goes on with the transfers of all this rank's communicators while it waits: a rank that
// others need in order to come here may be waiting for this rank's copy.
void ThreadCommunicator::exchange(int tag, const Share& mine, std::span<Share> all) {
  std::vector<std::unique_ptr<Request>> requests;
  for (int r = 0; r < size(); ++r) {
    if (r == rank()) continue;
    const auto cell = all.subspan(static_cast<std::size_t>(r), 1);
    requests.push_back(host_.irecv(r, tag, std::as_writable_bytes(cell)));
    requests.push_back(host_.isend(r, tag, std::as_bytes(std::span(&mine, 1))));
  }
  all[static_cast<std::size_t>(rank())] = mine;
  for (const auto& request : requests) {
    while (!host_.test(*request)) {
      device_.look();
      host_.idle();
    }
  }
}

// What every rank has issued to its compute queue before comes before what this rank issues from now on.
std::vector<ThreadCommunicator::Share> ThreadCommunicator::meet(const void* data, std::size_t bytes) {
  const Share mine{const_cast<void*>(data), bytes};
  std::vector<Share> shares(static_cast<std::size_t>(size()));
  LACUNA_CUDA_CALL(cudaEventRecord(ready_, compute()));
  exchange(kMeetTag, mine, shares);
  for (int r = 0; r < size(); ++r) {
    if (r != rank())
      LACUNA_CUDA_CALL(cudaStreamWaitEvent(compute(), all_ready_[static_cast<std::size_t>(r)], 0));
  }
  return shares;
}

// The buffers that the ranks have shown each other are theirs again.
void ThreadCommunicator::part() {
  LACUNA_CUDA_CALL(cudaEventRecord(done_, compute()));
  std::vector<Share> nothing(static_cast<std::size_t>(size()));
  exchange(kPartTag, {}, nothing);
  for (int r = 0; r < size(); ++r) {
    if (r != rank())
      LACUNA_CUDA_CALL(cudaStreamWaitEvent(compute(), all_done_[static_cast<std::size_t>(r)], 0));
  }
}

void ThreadCommunicator::barrier() {
  const Doing doing(progress_, "barrier", name().c_str());
  meet(nullptr, 0);
  part();
}

void ThreadCommunicator::broadcast(int root, std::span<std::byte> data) {
  LACUNA_ASSERT(root >= 0 && root < size());
  const Doing doing(progress_, "broadcast", name().c_str());
  const Share from = meet(data.data(), data.size())[static_cast<std::size_t>(root)];
  LACUNA_CHECK(from.bytes == data.size(), ErrorKind::Internal,
               "broadcast over '{}': {} bytes, rank {} has {}", name(), data.size(), root, from.bytes);
  if (rank() != root && from.bytes > 0) {
    device_.copy(kComputeQueue, data.data(), static_cast<const std::byte*>(from.data), from.bytes);
  }
  part();
}

void ThreadCommunicator::all_gather(std::span<const std::byte> mine, std::span<std::byte> all) {
  all_gather_v(mine, std::vector<std::size_t>(static_cast<std::size_t>(size()), mine.size()), all);
}

void ThreadCommunicator::all_gather_v(std::span<const std::byte> mine, std::span<const std::size_t> counts,
                                      std::span<std::byte> all) {
  const Doing doing(progress_, "all-gather", name().c_str());
  LACUNA_CHECK(std::accumulate(counts.begin(), counts.end(), std::size_t{0}) == all.size(),
               ErrorKind::Internal, "all-gather over '{}': the parts do not make {} bytes", name(),
               all.size());
  const std::vector<Share> shares = meet(mine.data(), mine.size());
  std::byte* to = all.data();
  for (std::size_t r = 0; r < counts.size(); to += counts[r++]) {
    const auto* from = static_cast<const std::byte*>(shares[r].data);
    LACUNA_CHECK(shares[r].bytes == counts[r], ErrorKind::Internal,
                 "all-gather over '{}': {} bytes from rank {}, wanted {}", name(), shares[r].bytes, r,
                 counts[r]);
    if (counts[r] > 0 && from != to) device_.copy(kComputeQueue, to, from, counts[r]);
  }
  part();
}

void ThreadCommunicator::reduce_scatter_sum(const void* all, std::span<const std::size_t> counts, void* mine,
                                            DType dtype) {
  const Doing doing(progress_, "reduce-scatter", name().c_str());
  const auto me = static_cast<std::size_t>(rank());
  LACUNA_ASSERT(counts.size() == static_cast<std::size_t>(size()));
  const std::size_t begin = std::accumulate(counts.begin(), counts.begin() + rank(), std::size_t{0});
  std::vector<const void*> parts;
  for (const Share& share : meet(all, 0))
    parts.push_back(static_cast<const std::byte*>(share.data) + begin * size_of(dtype));
  cuda::reduce_parts(Reduction::Sum, parts, {&mine, 1}, counts[me], dtype, compute());
  part();
}

// Every rank adds up one slice and writes it to all.
void ThreadCommunicator::all_reduce(Reduction reduction, void* data, std::size_t count, DType dtype) {
  if (size() == 1 || count == 0) return;
  const Doing doing(progress_, "all-reduce", name().c_str());
  const auto me = static_cast<std::size_t>(rank()), ranks = static_cast<std::size_t>(size());
  const std::size_t begin = count * me / ranks, end = count * (me + 1) / ranks;
  std::vector<void*> slices;
  for (const Share& share : meet(data, count * size_of(dtype))) {
    LACUNA_CHECK(share.bytes == count * size_of(dtype), ErrorKind::Internal,
                 "all-reduce over '{}': {} bytes here, {} elsewhere", name(), count * size_of(dtype),
                 share.bytes);
    slices.push_back(static_cast<std::byte*>(share.data) + begin * size_of(dtype));
  }
  const std::vector<const void*> parts(slices.begin(), slices.end());
  cuda::reduce_parts(reduction, parts, slices, end - begin, dtype, compute());
  part();
}

std::unique_ptr<DeviceCommunicator> ThreadCommunicator::over(Communicator& host) {
  return std::make_unique<ThreadCommunicator>(host, device_, progress_);
}

std::unique_ptr<Communicator> make_cuda_communicator(Communicator& host, Device& device, Progress* progress) {
  const NodePlace place = find_node_place(host);
  LACUNA_CHECK(place.threads || host.size() == 1, ErrorKind::Internal,
               "'{}': device memory is shared by threads of one process, its ranks are processes",
               host.name());
  return std::make_unique<ThreadCommunicator>(host, stream_device(device), progress);
}

}  // namespace lacuna
