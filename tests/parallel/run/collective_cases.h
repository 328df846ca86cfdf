// Collectives over awkward sizes and all element types, for any communicator: results are compared with sums
// worked out here, and hashed so that two implementations can be compared bit by bit.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "parallel/run/communicator.h"
#include "src/base/hash.h"
#include "src/base/rng.h"

namespace lacuna::test {

// Element `index` of rank `rank`'s contribution: small whole numbers (`exact`: sums fit every type), or
// values whose sum depends on the order of addition.
inline double contribution(int rank, std::size_t index, bool exact) {
  const std::uint64_t key = rng_key(7, "contribution") + static_cast<std::uint64_t>(rank);
  if (exact) return static_cast<double>(rng_below(key, index, 31)) - 15;
  return (rng_uniform(key, index) - 0.5) * std::exp2(static_cast<double>(rng_below(key + 1, index, 24)));
}

inline void put(DType dtype, void* data, std::size_t index, double value) {
  if (dtype == DType::F64) static_cast<double*>(data)[index] = value;
  if (dtype == DType::F32) static_cast<float*>(data)[index] = static_cast<float>(value);
  if (dtype == DType::BF16) static_cast<std::uint16_t*>(data)[index] = to_bf16(static_cast<float>(value));
  if (dtype == DType::I64) static_cast<std::int64_t*>(data)[index] = static_cast<std::int64_t>(value);
}

inline double get(DType dtype, const void* data, std::size_t index) {
  if (dtype == DType::F64) return static_cast<const double*>(data)[index];
  if (dtype == DType::F32) return static_cast<const float*>(data)[index];
  if (dtype == DType::BF16) return from_bf16(static_cast<const std::uint16_t*>(data)[index]);
  return static_cast<double>(static_cast<const std::int64_t*>(data)[index]);
}

inline std::vector<std::byte> contributions(int rank, std::size_t count, DType dtype, bool exact) {
  std::vector<std::byte> out(count * size_of(dtype));
  for (std::size_t i = 0; i < count; ++i) put(dtype, out.data(), i, contribution(rank, i, exact));
  return out;
}

// The sum as the definition has it: ascending ranks, BF16 in float and rounded once.
inline double ordered_sum(int ranks, std::size_t index, DType dtype, bool exact) {
  double wide = 0;
  float single = 0;
  for (int r = 0; r < ranks; ++r) {
    std::byte cell[8]{};
    put(dtype, cell, 0, contribution(r, index, exact));
    wide = r == 0 ? get(dtype, cell, 0) : wide + get(dtype, cell, 0);
    single =
        r == 0 ? static_cast<float>(get(dtype, cell, 0)) : single + static_cast<float>(get(dtype, cell, 0));
  }
  if (dtype == DType::BF16) return from_bf16(to_bf16(single));
  return dtype == DType::F32 ? single : wide;
}

inline constexpr DType kReducible[] = {DType::F64, DType::F32, DType::BF16, DType::I64};

// Runs every collective; returns the hash of all result bytes of this rank.
class CollectiveCases {
 public:
  explicit CollectiveCases(Communicator& comm) : comm_(comm), ranks_(static_cast<std::size_t>(comm.size())) {}

  std::uint64_t run(std::size_t largest) {
    const std::vector<std::size_t> sizes{0, 1, 3, 64, 1025, largest};
    for (const std::size_t count : sizes) {
      for (const DType dtype : kReducible) {
        for (const bool exact : {true, false}) {
          if (dtype == DType::I64 && !exact) continue;
          all_reduce(count, dtype, exact);
          reduce_scatter(count, dtype, exact);
        }
      }
      gather(count);
      for (int root = 0; root < comm_.size(); ++root) broadcast(root, count);
    }
    comm_.barrier();
    return hash_;
  }

 private:
  void keep(const std::vector<std::byte>& bytes) { hash_ = hash_ * 31 + hash64(bytes.data(), bytes.size()); }

  void all_reduce(std::size_t count, DType dtype, bool exact) {
    auto data = contributions(comm_.rank(), count, dtype, exact);
    comm_.all_reduce_sum(data.data(), count, dtype);
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < count; ++i) {
      wrong += get(dtype, data.data(), i) != ordered_sum(comm_.size(), i, dtype, exact);
    }
    EXPECT_EQ(wrong, 0u) << count << " " << name_of(dtype);
    keep(data);
    data = contributions(comm_.rank(), count, dtype, exact);
    comm_.all_reduce_max(data.data(), count, dtype);
    for (std::size_t i = 0; i < std::min<std::size_t>(count, 200); ++i) {
      double most = -1e300;
      for (int r = 0; r < comm_.size(); ++r) {
        std::byte cell[8]{};
        put(dtype, cell, 0, contribution(r, i, exact));
        most = std::max(most, get(dtype, cell, 0));
      }
      ASSERT_EQ(get(dtype, data.data(), i), most);
    }
    keep(data);
  }

  // Rank r owns (r mod 3) · count + r elements: uneven, rank 0 owns none.
  std::vector<std::size_t> uneven(std::size_t count) const {
    std::vector<std::size_t> counts(ranks_);
    for (std::size_t r = 0; r < ranks_; ++r) counts[r] = (r % 3) * count + r;
    return counts;
  }

  void reduce_scatter(std::size_t count, DType dtype, bool exact) {
    const auto counts = uneven(count);
    const std::size_t total = std::accumulate(counts.begin(), counts.end(), std::size_t{0});
    const auto me = static_cast<std::size_t>(comm_.rank());
    const std::size_t begin = std::accumulate(counts.begin(), counts.begin() + comm_.rank(), std::size_t{0});
    const auto all = contributions(comm_.rank(), total, dtype, exact);
    std::vector<std::byte> mine(counts[me] * size_of(dtype), std::byte{0xff});
    comm_.reduce_scatter_sum(all.data(), counts, mine.data(), dtype);
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < counts[me]; ++i) {
      wrong += get(dtype, mine.data(), i) != ordered_sum(comm_.size(), begin + i, dtype, exact);
    }
    EXPECT_EQ(wrong, 0u) << count << " " << name_of(dtype);
    keep(mine);
  }

  void gather(std::size_t count) {
    const auto counts = uneven(count);
    std::vector<std::byte> all(std::accumulate(counts.begin(), counts.end(), std::size_t{0}));
    std::vector<std::byte> mine(counts[static_cast<std::size_t>(comm_.rank())], std::byte(comm_.rank() + 1));
    comm_.all_gather_v(mine, counts, all);
    std::size_t at = 0;
    for (std::size_t r = 0; r < ranks_; ++r) {
      for (std::size_t i = 0; i < counts[r]; ++i) ASSERT_EQ(all[at++], std::byte(r + 1));
    }
    keep(all);
    std::vector<std::byte> even(count * ranks_);
    std::vector<std::byte> part(count, std::byte(100 + comm_.rank()));
    comm_.all_gather(part, even);
    for (std::size_t i = 0; i < even.size(); ++i) ASSERT_EQ(even[i], std::byte(100 + i / count));
    keep(even);
  }

  void broadcast(int root, std::size_t count) {
    auto data = contributions(comm_.rank(), count, DType::F32, false);
    comm_.broadcast(root, data);
    EXPECT_EQ(data, contributions(root, count, DType::F32, false));
    keep(data);
  }

  Communicator& comm_;
  std::size_t ranks_;
  std::uint64_t hash_ = 0;
};

// Messages between all pairs: several per (peer, tag) in order, tags interleaved, both directions at once.
inline void exercise_messages(Communicator& comm) {
  const int me = comm.rank(), size = comm.size();
  constexpr int kRounds = 5;
  std::vector<std::vector<int>> in, out;
  std::vector<std::unique_ptr<Request>> requests;
  in.reserve(static_cast<std::size_t>(size * kRounds * 2));
  out.reserve(in.capacity());
  for (int round = 0; round < kRounds; ++round) {
    for (int other = 0; other < size; ++other) {
      if (other == me) continue;
      for (const int tag : {3, 0}) {
        const auto length = static_cast<std::size_t>(round * 7);  // round 0: empty messages
        // Even ranks post their sends first, odd ones their receives: opposite orders in one batch.
        for (const bool send : {me % 2 == 0, me % 2 != 0}) {
          if (send) {
            out.emplace_back(length, me * 1000 + other * 100 + round * 10 + tag);
            requests.push_back(comm.isend(other, tag, std::as_bytes(std::span(out.back()))));
          } else {
            in.emplace_back(length, -1);
            requests.push_back(comm.irecv(other, tag, std::as_writable_bytes(std::span(in.back()))));
          }
        }
      }
    }
  }
  for (auto& request : requests) {
    while (!comm.test(*request)) comm.idle();
  }
  std::size_t at = 0;
  for (int round = 0; round < kRounds; ++round) {
    for (int other = 0; other < size; ++other) {
      if (other == me) continue;
      for (const int tag : {3, 0}) {
        for (const int value : in[at]) ASSERT_EQ(value, other * 1000 + me * 100 + round * 10 + tag);
        ++at;
      }
    }
  }
}

// Every rank writes into the area of the next one, one-sided.
inline void exercise_window(Communicator& comm) {
  const int me = comm.rank(), next = (me + 1) % comm.size(), before = (me + comm.size() - 1) % comm.size();
  const auto bytes_of = [](int rank) { return static_cast<std::size_t>(rank) * 100; };  // rank 0: none
  auto window = comm.open_window(bytes_of(me));
  for (int r = 0; r < comm.size(); ++r) {
    ASSERT_EQ(window->bytes(r), bytes_of(r));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(window->base(r)) % 64, 0u);
  }
  if (bytes_of(next) > 0) std::memset(window->base(next), 10 + me, bytes_of(next));
  window->sync();
  comm.barrier();
  window->sync();
  for (std::size_t i = 0; i < bytes_of(me); ++i) ASSERT_EQ(window->base(me)[i], std::byte(10 + before));
  comm.close_window(std::move(window));
}

}  // namespace lacuna::test
