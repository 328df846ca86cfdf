#include "parallel/run/stash_store.h"

#include <algorithm>

#include "src/base/error.h"

namespace lacuna {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr int kGuestTag = 3;  // beside Tag::Activation and Tag::Gradient

std::size_t aligned(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

StashStore::StashStore(const Schedule& schedule, Communicator& pipeline, const Stage& stage, Device& device,
                       const StashStore* lender)
    : pipeline_(pipeline),
      stage_(stage),
      device_(device),
      boundary_bytes_(stage.boundary_bytes()),
      boundary_stride_(aligned(boundary_bytes_)),
      pieces_(static_cast<std::size_t>(schedule.pieces)) {
  LACUNA_ASSERT(pipeline.size() == static_cast<int>(schedule.ranks.size()));
  const RankTable& table = schedule.ranks[static_cast<std::size_t>(pipeline.rank())];
  partner_ = table.partner;
  slots_bytes_ = lay_out_own(schedule, table, stage);
  if (!lender || lender->slots_bytes_ < slots_bytes_) arena_ = DeviceBytes(device, slots_bytes_);
  slots_ = arena_.data() || !lender ? arena_.data() : lender->slots_;
  size_buffers(table);
  open_guest_area(schedule, lay_out_guests(table, stage));
}

std::size_t StashStore::lay_out_own(const Schedule& schedule, const RankTable& table, const Stage& stage) {
  own_.resize(static_cast<std::size_t>(table.own_slots));
  const auto fits = [&](const Action& a, int slot, int piece) {
    Slot& place = own_slot(slot);
    place.bytes = std::max(place.bytes, aligned(stage.piece_bytes(a.stage, piece)));
  };
  for (const Action& a : table.row(Engine::Compute)) {
    if (a.op == Op::Reduce) continue;
    LACUNA_CHECK(a.slots.size() == pieces_.size(), ErrorKind::Internal,
                 "{} of micro {} has {} slots, {} pieces", short_name(a.op), a.micro, a.slots.size(),
                 schedule.pieces);
    for (std::size_t piece = 0; piece < a.slots.size(); ++piece)
      fits(a, a.slots[piece], static_cast<int>(piece));
  }
  for (const Action& a : table.row(Engine::Copy)) fits(a, a.slots.at(0), a.piece);
  std::size_t bytes = 0;
  for (Slot& slot : own_) slot.offset = bytes, bytes += slot.bytes;
  return bytes;
}

std::size_t StashStore::lay_out_guests(const RankTable& table, const Stage& stage) {
  for (const Action& a : table.row(Engine::Copy)) {
    LACUNA_ASSERT(partner_ >= 0 && a.guest >= 0);
    guests_.resize(std::max(guests_.size(), static_cast<std::size_t>(a.guest) + 1));
    Slot& place = guests_[static_cast<std::size_t>(a.guest)];
    place.bytes = std::max(place.bytes, aligned(stage.piece_bytes(a.stage, a.piece)));
  }
  std::size_t bytes = 0;
  for (Slot& slot : guests_) slot.offset = bytes, bytes += slot.bytes;
  return bytes;
}

// The evictor knows the size of its pieces; the acceptor gives the memory. Only schedules that move stashes
// need a window, and with it a common node.
void StashStore::open_guest_area(const Schedule& schedule, std::size_t needed) {
  const auto moves = [](const RankTable& table) { return !table.row(Engine::Copy).empty(); };
  if (std::none_of(schedule.ranks.begin(), schedule.ranks.end(), moves)) return;
  std::vector<std::size_t> wanted(schedule.ranks.size());
  pipeline_.control().all_gather(std::as_bytes(std::span(&needed, 1)),
                                 std::as_writable_bytes(std::span(wanted)));
  std::size_t mine = 0;
  for (std::size_t rank = 0; rank < schedule.ranks.size(); ++rank) {
    if (schedule.ranks[rank].partner != pipeline_.rank() || wanted[rank] == 0) continue;
    LACUNA_ASSERT(mine == 0);  // one evictor an acceptor
    mine = wanted[rank];
    guest_of_ = static_cast<int>(rank);
  }
  window_ = pipeline_.open_window(mine);
}

void StashStore::size_buffers(const RankTable& table) {
  std::size_t receives[2] = {0, 0}, sends[2] = {0, 0};
  for (const Action& a : table.row(Engine::Transfer)) {
    const bool gradient = a.op == Op::SendBackward || a.op == Op::RecvBackward;
    std::size_t& count = (is_send(a.op) ? sends : receives)[gradient];
    count = std::max(count, static_cast<std::size_t>(a.slots.at(0)) + 1);
  }
  for (int kind = 0; kind < 2; ++kind) {
    receive_.memory[kind] = DeviceBytes(device_, receives[kind] * boundary_stride_);
    send_.memory[kind] = DeviceBytes(device_, sends[kind] * boundary_stride_);
  }
}

std::byte* StashStore::buffer(Buffers& buffers, Tag tag, int index) {
  if (index < 0) return nullptr;
  DeviceBytes& memory = buffers.memory[tag == Tag::Gradient];
  const std::size_t offset = static_cast<std::size_t>(index) * boundary_stride_;
  LACUNA_ASSERT(offset + boundary_stride_ <= memory.size());
  return memory.data() + offset;
}

void StashStore::put(Slot& slot, const Action& action, int piece, std::size_t& high_water) {
  LACUNA_CHECK(slot.stage < 0, ErrorKind::Internal,
               "{} of micro {} on stage {} would overwrite piece {} of micro {} on stage {}",
               short_name(action.op), action.micro, action.stage, slot.piece, slot.micro, slot.stage);
  slot.stage = action.stage, slot.micro = action.micro, slot.piece = piece;
  if (!slot.touched) high_water += slot.bytes;
  slot.touched = true;
}

void StashStore::check_content(const Slot& slot, const Action& action, int piece, const char* where) const {
  LACUNA_CHECK(
      slot.stage == action.stage && slot.micro == action.micro && slot.piece == piece, ErrorKind::Internal,
      "{} needs piece {} of micro {} on stage {} in its {} slot, which holds piece {} of micro {} on stage "
      "{}",
      short_name(action.op), piece, action.micro, action.stage, where, slot.piece, slot.micro, slot.stage);
}

StashPieces StashStore::arrive(const Action& forward) {
  for (std::size_t piece = 0; piece < pieces_.size(); ++piece) {
    put(own_slot(forward.slots[piece]), forward, static_cast<int>(piece), own_high_water_);
  }
  return present(forward);
}

StashPieces StashStore::present(const Action& action) {
  for (std::size_t piece = 0; piece < pieces_.size(); ++piece) {
    const Slot& slot = own_slot(action.slots[piece]);
    check_content(slot, action, static_cast<int>(piece), "own");
    pieces_[piece] = slots_ + slot.offset;
  }
  return pieces_;
}

void StashStore::leave(const Action& action) {
  for (const int slot : action.slots) clear(own_slot(slot));
}

void StashStore::evict(const Action& action) {
  Slot& from = own_slot(action.slots[0]);
  Slot& to = guests_.at(static_cast<std::size_t>(action.guest));
  check_content(from, action, action.piece, "own");
  put(to, action, action.piece, used_at_partner_);
  device_.copy(kEvictQueue, window_->base(partner_) + to.offset, slots_ + from.offset,
               stage_.piece_bytes(action.stage, action.piece));
  clear(from);
}

void StashStore::load(const Action& action) {
  Slot& from = guests_.at(static_cast<std::size_t>(action.guest));
  Slot& to = own_slot(action.slots[0]);
  check_content(from, action, action.piece, "guest");
  put(to, action, action.piece, own_high_water_);
  device_.copy(kLoadQueue, slots_ + to.offset, window_->base(partner_) + from.offset,
               stage_.piece_bytes(action.stage, action.piece));
  clear(from);
}

void StashStore::tell_guest_high_water() {
  if (told_ || !window_) return;
  Communicator& control = pipeline_.control();
  std::unique_ptr<Request> out, in;
  if (!guests_.empty())
    out = control.isend(partner_, kGuestTag, std::as_bytes(std::span(&used_at_partner_, 1)));
  if (guest_of_ >= 0)
    in = control.irecv(guest_of_, kGuestTag, std::as_writable_bytes(std::span(&guest_high_water_, 1)));
  if (out) control.wait(*out);
  if (in) control.wait(*in);
  told_ = true;
}

bool StashStore::empty() const {
  const auto is_free = [](const Slot& slot) { return slot.stage < 0; };
  return std::all_of(own_.begin(), own_.end(), is_free) &&
         std::all_of(guests_.begin(), guests_.end(), is_free);
}

void StashStore::close() {
  if (window_) pipeline_.close_window(std::move(window_));
}

}  // namespace lacuna
