// Passes add to a table and never reorder what stands in it. Order of use: set pieces, split (optional), bpipe
// (optional), transfers, slots.
#pragma once

#include "parallel/plan/schedule.h"

namespace lacuna {

// Boundary buffers of each kind on each rank. Two let a transfer run while its neighbour is computed on.
struct BufferCounts {
  int receive = 2, send = 2;
};

// Every Backward becomes an InputGrad and, right after it, its WeightGrad: the stage before waits for the
// first alone, so a pipeline drains in (ranks - 1) · T_I instead of (ranks - 1) · T_B.
void split_backwards(Schedule& schedule);

// Derives every send and receive between stages on different ranks, assigns their boundary buffers and sets
// recv_buffers and send_buffers. Sends stand where their result is ready, receives where their buffer is
// free, both in units of finished compute actions, so no transfer ever holds up one behind it in its row and
// starting in order cannot deadlock without buffering between ranks.
void add_transfers(Schedule& schedule, BufferCounts buffers = {});

// Stashes a rank may hold under BPipe, own and guest: K = max over pairs of ceil((S+1)/2), S the pair's
// summed own peaks, and at least ceil((ranks+2)/2).
int tight_cap(const Schedule& schedule);

// BPipe (arXiv 2401.02088): pairs rank x with rank ranks-1-x; where one of them would hold more than `cap`
// stashes it evicts pieces to its partner and loads them back in time. Adds the copy rows, own slots and
// guest slots of the evictors and sets partner, guest_slots and cap_slots. The acceptor takes no action of
// its own.
//
// Which piece moves when is decided on a nominal run of the compute rows (backward = 2 forwards, moving a
// stash = 1 forward, free transfers):
//   guest cap  the acceptor y holds at most cap - L_y guests, L_y its own peak, so it is never held up;
//   finish     a stash that began to move moves whole, piece by piece;
//   evict      when fewer slots are free (or about to be, under the running backward) than needed: one stash
//   if
//              one of the next two compute actions is a forward, one more if one of the next two backwards is
//              parked; the victim is the stash that is needed last, never one of the next two;
//   load       one of the next two backwards that is parked, as soon as a slot is free beyond the stash that
//              the next compute action needs if it is a forward.
// Start times under other costs follow from the dependencies and are monotone in them: what costs nothing at
// the nominal speed costs nothing with faster copies. Does nothing where every own peak is within the cap.
void balance_pairs(Schedule& schedule, int cap);

// Assigns own slots on ranks that evict nothing, and sets own_slots: one slot a piece, the lowest free one at
// each Forward. Ranks with a partner got theirs from balance_pairs, which knows how copies and compute
// interleave.
void assign_slots(Schedule& schedule);

}  // namespace lacuna
