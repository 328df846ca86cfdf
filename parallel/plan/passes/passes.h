// Passes add to a table and never reorder what stands in it. Order of use: set pieces, bpipe (optional),
// transfers, slots.
#pragma once

#include "parallel/plan/schedule.h"

namespace lacuna {

// Boundary buffers of each kind on each rank. Two let a transfer run while its neighbour is computed on.
struct BufferCounts {
  int receive = 2, send = 2;
};

// Derives every send and receive between stages on different ranks, assigns their boundary buffers and sets
// recv_buffers and send_buffers. Sends stand where their result is ready, receives where their buffer is
// free, both in units of finished compute actions, so no transfer ever holds up one behind it in its row and
// starting in order cannot deadlock without buffering between ranks.
void add_transfers(Schedule& schedule, BufferCounts buffers = {});

// Assigns own slots on ranks that copy nothing, and sets own_slots: one slot a piece, the lowest free one at
// each Forward. Ranks with a partner got theirs from balance_pairs, which knows how copies and compute
// interleave.
void assign_slots(Schedule& schedule);

}  // namespace lacuna
