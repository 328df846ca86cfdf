// Items to sinks of limited capacity at least total cost, exactly: a transportation problem with few sinks.
// Successive shortest paths on the graph of the sinks alone; a path moves one item along each of its arcs.
// Costs are first rounded to 2^-40 of the largest magnitude (whole numbers below 2^40 stay as they are), so
// that the arithmetic is exact and the result the same on every machine.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lacuna {

// cost: row-major [items, sinks], finite, any sign. capacity: one a sink, none negative, together at least as
// many as there are items; fewer than 2^21 items. Returns each item's sink. Among equals the lower sink's
// index, then the lower item's, goes first. O(items · (sinks² + sinks · log items)). Error(Internal) when
// sizes or values do not fit.
std::vector<std::int32_t> assign(std::span<const float> cost, std::span<const std::int64_t> capacity);
std::vector<std::int32_t> assign(std::span<const double> cost, std::span<const std::int64_t> capacity);

}  // namespace lacuna
