#include "recipes/common/assignment.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>

#include "src/base/error.h"

namespace lacuna {

namespace {

using Price = std::int64_t;
constexpr Price kFar = std::numeric_limits<Price>::max() / 4, kNone = std::numeric_limits<Price>::max();
constexpr int kBits = 40;

// An item that may move from one sink to another, and what that costs: ordered by cost, then by item. Offers
// of items that have left are dropped when met.
using Offer = std::int64_t;
constexpr int kItemBits = 21;
Offer offer(Price price, std::size_t item) {
  return price * (Offer{1} << kItemBits) + static_cast<Offer>(item);
}
Price price_of(Offer o) {
  return o >> kItemBits;
}
std::size_t item_of(Offer o) {
  return static_cast<std::size_t>(o & ((Offer{1} << kItemBits) - 1));
}
using Later = std::greater<Offer>;

class Transport {
 public:
  Transport(std::vector<Price> cost, std::span<const std::int64_t> capacity)
      : cost_(std::move(cost)),
        sinks_(capacity.size()),
        free_(capacity.begin(), capacity.end()),
        sink_of_(cost_.size() / sinks_),
        offers_(sinks_ * sinks_),
        cheapest_(sinks_ * sinks_, kNone),
        height_(sinks_, 0),
        distance_(sinks_),
        before_(sinks_),
        settled_(sinks_) {}

  std::vector<std::int32_t> solve() {
    start_at_cheapest();
    for (std::size_t sink = 0; sink < sinks_; ++sink)
      while (free_[sink] < 0) move_along_path_to(nearest_with_room());
    return std::move(sink_of_);
  }

 private:
  // An optimum without capacities; no move is then worth less than nothing.
  void start_at_cheapest() {
    for (std::size_t item = 0; item < sink_of_.size(); ++item) {
      const Price* row = &cost_[item * sinks_];
      const auto best = static_cast<std::size_t>(std::min_element(row, row + sinks_) - row);
      sink_of_[item] = static_cast<std::int32_t>(best);
      --free_[best];
      for (std::size_t to = 0; to < sinks_; ++to)
        if (to != best) offers_[best * sinks_ + to].push_back(offer(row[to] - row[best], item));
    }
    for (std::size_t arc = 0; arc < offers_.size(); ++arc) {
      std::make_heap(offers_[arc].begin(), offers_[arc].end(), Later{});
      refresh(arc);
    }
  }

  // Drops the offers of items that are no longer at the arc's beginning, until one holds.
  void refresh(std::size_t arc) {
    std::vector<Offer>& heap = offers_[arc];
    const auto from = static_cast<std::int32_t>(arc / sinks_);
    while (!heap.empty() && sink_of_[item_of(heap.front())] != from) {
      std::pop_heap(heap.begin(), heap.end(), Later{});
      heap.pop_back();
    }
    cheapest_[arc] = heap.empty() ? kNone : price_of(heap.front());
  }

  // Dijkstra from all over-full sinks to the nearest one with room, over prices made non-negative by heights.
  // Over-full sinks keep height 0 and those with room share the greatest, so distances compare.
  std::size_t nearest_with_room() {
    for (std::size_t sink = 0; sink < sinks_; ++sink) {
      before_[sink] = sink;
      settled_[sink] = 0;
      distance_[sink] = free_[sink] < 0 ? 0 : kFar;
    }
    std::size_t at = sinks_;
    while (true) {
      at = sinks_;
      for (std::size_t sink = 0; sink < sinks_; ++sink)
        if (!settled_[sink] && distance_[sink] < kFar && (at == sinks_ || distance_[sink] < distance_[at]))
          at = sink;
      LACUNA_ASSERT(at < sinks_);  // there is room somewhere, and an item may go anywhere
      if (free_[at] > 0) break;
      settled_[at] = 1;
      const Price base = distance_[at] + height_[at];
      for (std::size_t to = 0; to < sinks_; ++to) {
        const Price price = cheapest_[at * sinks_ + to];
        if (price == kNone || settled_[to]) continue;
        const Price through = base + price - height_[to];
        if (through >= distance_[to]) continue;
        distance_[to] = through;
        before_[to] = at;
      }
    }
    for (std::size_t sink = 0; sink < sinks_; ++sink)
      height_[sink] += std::min(distance_[sink], distance_[at]);
    return at;
  }

  void move_along_path_to(std::size_t to) {
    --free_[to];
    while (before_[to] != to) {
      const std::size_t from = before_[to];
      move(item_of(offers_[from * sinks_ + to].front()), from, to);
      to = from;
    }
    ++free_[to];
  }

  void move(std::size_t item, std::size_t from, std::size_t to) {
    const Price* row = &cost_[item * sinks_];
    sink_of_[item] = static_cast<std::int32_t>(to);
    for (std::size_t next = 0; next < sinks_; ++next) {
      if (next != from && item_of(offers_[from * sinks_ + next].front()) == item)
        refresh(from * sinks_ + next);
      if (next == to) continue;
      std::vector<Offer>& heap = offers_[to * sinks_ + next];
      heap.push_back(offer(row[next] - row[to], item));
      std::push_heap(heap.begin(), heap.end(), Later{});
      cheapest_[to * sinks_ + next] = price_of(heap.front());
    }
  }

  std::vector<Price> cost_;
  std::size_t sinks_;
  std::vector<std::int64_t> free_;  // room left; negative where over-full
  std::vector<std::int32_t> sink_of_;
  std::vector<std::vector<Offer>> offers_;  // heaps by arc (from · sinks + to); the front one holds
  std::vector<Price> cheapest_;             // price of the front offer by arc
  std::vector<Price> height_, distance_;
  std::vector<std::size_t> before_;  // by sink, on the path to it; itself where the path begins
  std::vector<char> settled_;
};

template <class T>
std::vector<Price> rounded(std::span<const T> cost) {
  double largest = 0;
  for (T value : cost) {
    LACUNA_CHECK(std::isfinite(value), ErrorKind::Internal, "assignment: a cost is {}", value);
    largest = std::max(largest, std::abs(static_cast<double>(value)));
  }
  int exponent = 0;
  std::frexp(largest, &exponent);  // largest < 2^exponent
  std::vector<Price> out(cost.size());
  for (std::size_t i = 0; i < cost.size(); ++i)
    out[i] = std::llrint(std::ldexp(static_cast<double>(cost[i]), kBits - exponent));
  return out;
}

template <class T>
std::vector<std::int32_t> assign_any(std::span<const T> cost, std::span<const std::int64_t> capacity) {
  LACUNA_CHECK(!capacity.empty() && cost.size() % capacity.size() == 0, ErrorKind::Internal,
               "assignment: {} costs for {} sinks", cost.size(), capacity.size());
  const auto items = static_cast<std::int64_t>(cost.size() / capacity.size());
  std::int64_t room = 0;
  for (std::int64_t c : capacity) {
    LACUNA_CHECK(c >= 0, ErrorKind::Internal, "assignment: a capacity of {}", c);
    room += c;
  }
  LACUNA_CHECK(items < (std::int64_t{1} << kItemBits), ErrorKind::Internal, "assignment: {} items", items);
  LACUNA_CHECK(room >= items, ErrorKind::Internal, "assignment: {} items, room for {}", items, room);
  return Transport(rounded(cost), capacity).solve();
}

}  // namespace

std::vector<std::int32_t> assign(std::span<const float> cost, std::span<const std::int64_t> capacity) {
  return assign_any(cost, capacity);
}

std::vector<std::int32_t> assign(std::span<const double> cost, std::span<const std::int64_t> capacity) {
  return assign_any(cost, capacity);
}

}  // namespace lacuna
