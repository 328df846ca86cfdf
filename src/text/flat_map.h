// An open-addressing map from 64-bit keys to small values, for the inner loops of encoding. The key ~0 is not
// allowed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lacuna {

template <class Value>
class FlatMap {
 public:
  static constexpr std::uint64_t no_key = ~std::uint64_t{0};

  std::size_t size() const { return count_; }
  void reserve(std::size_t count) {
    std::size_t slots = 16;
    while (slots < 2 * count) slots *= 2;
    if (slots > slots_.size()) rehash(slots);
  }
  // The value of `key`, made from Value{} when it is new.
  Value& operator[](std::uint64_t key) {
    if (2 * (count_ + 1) > slots_.size()) rehash(slots_.empty() ? 16 : 2 * slots_.size());
    Slot& slot = slots_[place(key)];
    if (slot.key == no_key) {
      slot.key = key;
      ++count_;
    }
    return slot.value;
  }
  const Value* find(std::uint64_t key) const {
    if (slots_.empty()) return nullptr;
    const Slot& slot = slots_[place(key)];
    return slot.key == no_key ? nullptr : &slot.value;
  }
  void clear() {
    slots_.clear();
    count_ = 0;
  }
  template <class Visit>
  void for_each(Visit&& visit) const {
    for (const Slot& slot : slots_)
      if (slot.key != no_key) visit(slot.key, slot.value);
  }

 private:
  struct Slot {
    std::uint64_t key = no_key;
    Value value{};
  };
  std::size_t place(std::uint64_t key) const {
    std::uint64_t mixed = (key ^ (key >> 32)) * 0x9e3779b97f4a7c15ull;
    mixed ^= mixed >> 29;
    std::size_t at = mixed & (slots_.size() - 1);
    while (slots_[at].key != no_key && slots_[at].key != key) at = (at + 1) & (slots_.size() - 1);
    return at;
  }
  void rehash(std::size_t slots) {
    std::vector<Slot> old(slots);
    old.swap(slots_);
    for (Slot& slot : old)
      if (slot.key != no_key) slots_[place(slot.key)] = std::move(slot);
  }

  std::vector<Slot> slots_;
  std::size_t count_ = 0;
};

}  // namespace lacuna
