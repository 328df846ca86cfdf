#include "parallel/run/ordered_collectives.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "src/base/error.h"

namespace lacuna {
namespace {

constexpr std::size_t kBlockBytes = std::size_t{1} << 19;   // of each peer's part, exchanged at a time
constexpr std::size_t kGatherBytes = std::size_t{1} << 13;  // an all-reduce up to here gathers, then adds

std::vector<std::size_t> offsets_of(std::span<const std::size_t> counts) {
  std::vector<std::size_t> offsets(counts.size(), 0);
  std::partial_sum(counts.begin(), counts.end() - 1, offsets.begin() + 1);
  return offsets;
}

// Elements of [begin, begin + block) that a part of `count` elements has.
std::size_t overlap(std::size_t count, std::size_t begin, std::size_t block) {
  return count > begin ? std::min(count - begin, block) : 0;
}

}  // namespace

void OrderedCollectives::wait_all(Requests& requests) {
  for (auto& request : requests) wait(*request);
  requests.clear();
}

// Dissemination: after round k a rank has heard of 2^(k+1) ranks.
void OrderedCollectives::barrier() {
  if (size_ == 1) return;
  const Doing doing(progress_, "barrier", name_.c_str());
  Requests requests;
  for (int distance = 1; distance < size_; distance *= 2) {
    requests.push_back(post_recv((rank_ - distance + size_) % size_, {}));
    requests.push_back(post_send((rank_ + distance) % size_, {}));
    wait_all(requests);
  }
}

// Binomial tree over ranks counted from the root.
void OrderedCollectives::broadcast(int root, std::span<std::byte> data) {
  LACUNA_ASSERT(root >= 0 && root < size_);
  if (size_ == 1 || data.empty()) return;
  const Doing doing(progress_, "broadcast", name_.c_str());
  const int me = (rank_ - root + size_) % size_;
  int distance = 1;
  for (; distance < size_; distance *= 2) {
    if (me & distance) {
      auto request = post_recv((me - distance + root) % size_, data);
      wait(*request);
      break;
    }
  }
  Requests requests;
  for (distance /= 2; distance > 0; distance /= 2) {
    if (me + distance < size_) requests.push_back(post_send((me + distance + root) % size_, data));
  }
  wait_all(requests);
}

void OrderedCollectives::all_gather(std::span<const std::byte> mine, std::span<std::byte> all) {
  all_gather_v(mine, std::vector<std::size_t>(static_cast<std::size_t>(size_), mine.size()), all);
}

void OrderedCollectives::all_gather_v(std::span<const std::byte> mine, std::span<const std::size_t> counts,
                                      std::span<std::byte> all) {
  const Doing doing(progress_, "all-gather", name_.c_str());
  gather(mine, counts, all);
}

void OrderedCollectives::gather(std::span<const std::byte> mine, std::span<const std::size_t> counts,
                                std::span<std::byte> all) {
  const auto me = static_cast<std::size_t>(rank_);
  LACUNA_ASSERT(counts.size() == static_cast<std::size_t>(size_) && counts[me] == mine.size());
  const std::vector<std::size_t> offsets = offsets_of(counts);
  LACUNA_CHECK(offsets.back() + counts.back() == all.size(), ErrorKind::Internal,
               "all-gather over '{}': the parts are {} bytes, the result {}", name_,
               offsets.back() + counts.back(), all.size());
  if (!mine.empty() && all.data() + offsets[me] != mine.data()) {
    std::memmove(all.data() + offsets[me], mine.data(), mine.size());
  }
  Requests requests;
  for (std::size_t r = 0; r < counts.size(); ++r) {
    if (r != me && counts[r] > 0) {
      requests.push_back(post_recv(static_cast<int>(r), all.subspan(offsets[r], counts[r])));
    }
  }
  for (int step = 1; step < size_ && !mine.empty(); ++step) {  // each rank starts with another peer
    requests.push_back(post_send((rank_ + step) % size_, mine));
  }
  wait_all(requests);
}

// Pairwise exchange in blocks, so that the scratch stays small: every rank receives all parts of its block
// and adds them in ascending rank order.
void OrderedCollectives::reduce_scatter(Reduction reduction, const std::byte* all,
                                        std::span<const std::size_t> counts, std::byte* mine, DType dtype) {
  const std::size_t element = size_of(dtype), ranks = counts.size();
  const std::size_t block = std::max<std::size_t>(1, kBlockBytes / element);
  const auto me = static_cast<std::size_t>(rank_);
  const std::vector<std::size_t> offsets = offsets_of(counts);
  const std::size_t longest = *std::max_element(counts.begin(), counts.end());
  const std::size_t stride = std::min(block, counts[me]) * element;
  scratch_.resize(std::max(scratch_.size(), ranks * stride));
  Requests requests;
  std::vector<const void*> parts(ranks);
  for (std::size_t begin = 0; begin < longest; begin += block) {
    const std::size_t my_count = overlap(counts[me], begin, block);
    const std::byte* own = all + (offsets[me] + begin) * element;
    for (std::size_t r = 0; r < ranks && my_count > 0; ++r) {
      std::byte* landing = scratch_.data() + r * stride;
      parts[r] = r == me ? own : landing;
      if (r != me) requests.push_back(post_recv(static_cast<int>(r), {landing, my_count * element}));
    }
    for (std::size_t step = 1; step < ranks; ++step) {
      const std::size_t r = (me + step) % ranks, count = overlap(counts[r], begin, block);
      const std::byte* part = all + (offsets[r] + begin) * element;
      if (count > 0) requests.push_back(post_send(static_cast<int>(r), {part, count * element}));
    }
    wait_all(requests);
    if (my_count > 0) reduce_in_order(reduction, parts, my_count, dtype, mine + begin * element);
  }
}

void OrderedCollectives::reduce_scatter_sum(const void* all, std::span<const std::size_t> counts, void* mine,
                                            DType dtype) {
  LACUNA_ASSERT(counts.size() == static_cast<std::size_t>(size_));
  const Doing doing(progress_, "reduce-scatter", name_.c_str());
  reduce_scatter(Reduction::Sum, static_cast<const std::byte*>(all), counts, static_cast<std::byte*>(mine),
                 dtype);
}

void OrderedCollectives::all_reduce(Reduction reduction, std::byte* data, std::size_t count, DType dtype) {
  if (size_ == 1 || count == 0) return;
  const std::size_t element = size_of(dtype), bytes = count * element;
  const auto ranks = static_cast<std::size_t>(size_);
  const Doing doing(progress_, "all-reduce", name_.c_str());
  if (bytes <= kGatherBytes) {
    scratch_.resize(std::max(scratch_.size(), ranks * bytes));
    const std::vector<std::size_t> counts(ranks, bytes);
    gather({data, bytes}, counts, std::span(scratch_).first(ranks * bytes));
    std::vector<const void*> parts(ranks);
    for (std::size_t r = 0; r < ranks; ++r) parts[r] = scratch_.data() + r * bytes;
    return reduce_in_order(reduction, parts, count, dtype, data);
  }
  std::vector<std::size_t> counts(ranks, count / ranks);
  for (std::size_t r = 0; r < count % ranks; ++r) ++counts[r];
  std::byte* mine = data + offsets_of(counts)[static_cast<std::size_t>(rank_)] * element;
  reduce_scatter(reduction, data, counts, mine, dtype);
  const std::size_t my_bytes = counts[static_cast<std::size_t>(rank_)] * element;
  for (std::size_t& part : counts) part *= element;
  gather({mine, my_bytes}, counts, {data, bytes});
}

void OrderedCollectives::all_reduce_sum(void* data, std::size_t count, DType dtype) {
  all_reduce(Reduction::Sum, static_cast<std::byte*>(data), count, dtype);
}

void OrderedCollectives::all_reduce_max(void* data, std::size_t count, DType dtype) {
  all_reduce(Reduction::Max, static_cast<std::byte*>(data), count, dtype);
}

}  // namespace lacuna
