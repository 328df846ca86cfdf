#include "parallel/run/local_world.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <thread>

#include "src/base/error.h"

namespace lacuna {

LocalWorld::State::State(int ranks, std::chrono::milliseconds the_limit)
    : limit(the_limit),
      changed(static_cast<std::size_t>(ranks)),
      left(static_cast<std::size_t>(ranks), false) {
  LocalGroup& all = groups.emplace_back();
  all.world_ranks.resize(static_cast<std::size_t>(ranks));
  std::iota(all.world_ranks.begin(), all.world_ranks.end(), 0);
  all.unmatched.resize(static_cast<std::size_t>(ranks));
}

const std::string& LocalWorld::State::keep_name(const std::string& name) {
  const std::lock_guard lock(mutex);
  const auto found = std::find(names.begin(), names.end(), name);
  return found != names.end() ? *found : names.emplace_back(name);
}

LocalGroup& LocalWorld::State::group_of_split(const LocalGroup& parent, int split, int colour,
                                              std::vector<int> world_ranks) {
  const std::lock_guard lock(mutex);
  LocalGroup*& group = splits[{parent.id, split, colour}];
  if (!group) {
    group = &groups.emplace_back();
    group->id = static_cast<int>(groups.size()) - 1;
    group->unmatched.resize(world_ranks.size());
    group->world_ranks = std::move(world_ranks);
  }
  return *group;
}

std::byte* LocalWorld::State::allocate_window(std::size_t bytes) {
  const std::lock_guard lock(mutex);
  return windows.emplace_back(bytes).data();
}

void LocalWorld::State::release_window(const std::byte* base) {
  const std::lock_guard lock(mutex);
  windows.remove_if([&](const AlignedBytes& area) { return area.data() == base; });
}

std::string LocalRequest::text() const {
  const std::string how = tag < 0 ? "in a collective" : fmt::format("tag {}", tag);
  return fmt::format("{} of {} bytes {} rank {}, {}", send ? "send" : "receive", bytes, send ? "to" : "from",
                     peer, how);
}

LocalRequest* LocalRequest::take_partner() {
  auto& box = group.unmatched[static_cast<std::size_t>(destination())];
  const auto found = std::find_if(box.begin(), box.end(), [&](const LocalRequest* other) {
    return other->send != send && other->tag == tag && other->owner == peer && other->peer == owner;
  });
  if (found == box.end()) return nullptr;
  LocalRequest* partner = *found;
  box.erase(found);
  return partner;
}

void LocalRequest::post() {
  LocalRequest* partner = nullptr;
  {
    const std::lock_guard lock(world.mutex);
    partner = take_partner();
    if (!partner) {
      group.unmatched[static_cast<std::size_t>(destination())].push_back(this);
      return;
    }
    partner->stage.store(Stage::Copying, std::memory_order_relaxed);
  }
  if (bytes != partner->bytes) {
    problem = fmt::format("{} meets a {}", text(), partner->text());
    partner->problem = problem;
  } else if (bytes > 0) {
    const LocalRequest& from = send ? *this : *partner;
    const LocalRequest& to = send ? *partner : *this;
    std::memcpy(to.data, from.data, bytes);
  }
  stage.store(Stage::Done, std::memory_order_release);
  // Under the mutex: the partner may be about to sleep, and once Done it may be destroyed by its owner.
  const std::lock_guard lock(world.mutex);
  const auto waker = static_cast<std::size_t>(partner->owner_in_world());
  partner->stage.store(Stage::Done, std::memory_order_release);
  world.changed[waker].notify_all();
}

LocalRequest::~LocalRequest() {
  if (done()) return;
  std::unique_lock lock(world.mutex);
  auto& box = group.unmatched[static_cast<std::size_t>(destination())];
  std::erase(box, this);
  while (stage.load(std::memory_order_acquire) == Stage::Copying) {  // the partner's thread holds our buffer
    lock.unlock();
    std::this_thread::yield();
    lock.lock();
  }
}

}  // namespace lacuna
