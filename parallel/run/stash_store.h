// The memory of a running schedule on one rank, laid out once from its table: own stash slots, the guest area
// in the shared window, boundary buffers; everything in the memory of the rank's device, aligned to 64 bytes,
// nothing allocated inside a step.
// It keeps account of what lies in every slot: a table that overwrites or reads the wrong one is caught.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "parallel/plan/dependencies.h"
#include "parallel/plan/schedule.h"
#include "parallel/run/communicator.h"
#include "parallel/run/device.h"
#include "parallel/run/stage.h"

namespace lacuna {

class StashStore {
 public:
  // Collective over `pipeline`. A slot is as large as the largest piece that the table ever puts there.
  // `lender`: a store on the same device whose slots this one uses too, where they are room enough; it
  // outlives this one, and while one of them holds a stash the other holds none. Null: memory of its own.
  StashStore(const Schedule& schedule, Communicator& pipeline, const Stage& stage, Device& device,
             const StashStore* lender = nullptr);

  // The stash of a compute action, one pointer a piece. `arrive` takes the slots, which must be free;
  // `present` requires that this stash lies in them; `leave` gives them back.
  StashPieces arrive(const Action& forward);
  StashPieces present(const Action& action);
  void leave(const Action& action);

  // One-sided copies to and from the partner's guest area, in the queues kEvictQueue and kLoadQueue.
  void evict(const Action& action);
  void load(const Action& action);

  std::byte* receive_buffer(Tag tag, int index) { return buffer(receive_, tag, index); }
  std::byte* send_buffer(Tag tag, int index) { return buffer(send_, tag, index); }
  std::size_t boundary_bytes() const { return boundary_bytes_; }

  // Slots that were ever occupied, in bytes. Only the evictor sees what it does in a guest area: after a step
  // the partners meet once, and as every step uses the same slots, the count then stands.
  std::size_t own_high_water() const { return own_high_water_; }
  std::size_t guest_high_water() const { return guest_high_water_; }
  void tell_guest_high_water();
  bool empty() const;  // no stash in an own slot, none of ours at the partner
  void close();        // collective

 private:
  struct Slot {
    std::size_t offset = 0, bytes = 0;
    int stage = -1, micro = -1, piece = -1;  // its content; -1: free
    bool touched = false;
  };
  struct Buffers {
    DeviceBytes memory[2];  // per tag
  };
  std::size_t lay_out_own(const Schedule& schedule, const RankTable& table, const Stage& stage);
  std::size_t lay_out_guests(const RankTable& table, const Stage& stage);
  void open_guest_area(const Schedule& schedule, std::size_t needed);
  void size_buffers(const RankTable& table);
  std::byte* buffer(Buffers& buffers, Tag tag, int index);
  Slot& own_slot(int slot) { return own_.at(static_cast<std::size_t>(slot)); }
  void put(Slot& slot, const Action& action, int piece, std::size_t& high_water);
  void check_content(const Slot& slot, const Action& action, int piece, const char* where) const;
  static void clear(Slot& slot) { slot.stage = slot.micro = slot.piece = -1; }

  Communicator& pipeline_;
  const Stage& stage_;
  Device& device_;
  int partner_ = -1;   // whose guest area this rank uses
  int guest_of_ = -1;  // who uses this rank's
  bool told_ = false;
  std::size_t boundary_bytes_ = 0, boundary_stride_ = 0;
  std::vector<Slot> own_, guests_;  // guests_: our pieces in the partner's area
  DeviceBytes arena_;               // empty: the lender's
  std::byte* slots_ = nullptr;      // where the own slots begin
  std::size_t slots_bytes_ = 0;
  std::unique_ptr<SharedWindow> window_;
  Buffers receive_, send_;
  std::vector<std::byte*> pieces_;  // what the last StashPieces points at
  std::size_t own_high_water_ = 0, guest_high_water_ = 0;
  std::size_t used_at_partner_ = 0;
};

}  // namespace lacuna
