// The shared state behind LocalWorld: groups, mailboxes of unmatched transfers, windows, and who has left.
// One mutex guards everything but the copying of bytes.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "parallel/run/aligned_bytes.h"
#include "parallel/run/local_communicator.h"

namespace lacuna {

class LocalRequest;

// The ranks of one communicator.
struct LocalGroup {
  int id = 0;
  std::vector<int> world_ranks;
  std::vector<std::vector<LocalRequest*>>
      unmatched;  // per destination rank: posted, in order, no partner yet
};

struct LocalWorld::State {
  State(int ranks, std::chrono::milliseconds the_limit);

  // All of these take the mutex.
  const std::string& keep_name(const std::string& name);
  LocalGroup& group_of_split(const LocalGroup& parent, int split, int colour, std::vector<int> world_ranks);
  std::byte* allocate_window(std::size_t bytes);
  void release_window(const std::byte* base);

  const std::chrono::milliseconds limit;
  mutable std::mutex mutex;
  std::vector<std::condition_variable> changed;  // per world rank
  std::deque<LocalGroup> groups;                 // the first is the world; addresses stay
  std::map<std::tuple<int, int, int>, LocalGroup*> splits;
  std::deque<std::string> names;
  std::list<AlignedBytes> windows;
  std::atomic<std::uint64_t> window_syncs{0};
  std::vector<bool> left;                // per world rank
  std::atomic<bool> anyone_left{false};  // looked at without the mutex
  std::exception_ptr error;              // of the first rank that failed
  int failed_rank = -1;
  std::string failure;  // its text
};

// One side of a transfer. Queued until its partner arrives; the later of the two threads copies.
class LocalRequest : public Request {
 public:
  enum class Stage : std::uint8_t { Queued, Copying, Done };

  LocalRequest(LocalWorld::State& the_world, LocalGroup& the_group, bool is_send, int the_owner, int the_peer,
               int the_tag, std::byte* the_data, std::size_t the_bytes)
      : world(the_world),
        group(the_group),
        send(is_send),
        owner(the_owner),
        peer(the_peer),
        tag(the_tag),
        data(the_data),
        bytes(the_bytes),
        posted(std::chrono::steady_clock::now()) {}
  ~LocalRequest() override;  // withdraws the transfer when it is still queued

  void post();
  bool done() const { return stage.load(std::memory_order_acquire) == Stage::Done; }
  int destination() const { return send ? peer : owner; }
  int owner_in_world() const { return group.world_ranks[static_cast<std::size_t>(owner)]; }
  int peer_in_world() const { return group.world_ranks[static_cast<std::size_t>(peer)]; }
  std::string text() const;  // "send of 64 bytes to rank 2, tag 3"

  LocalWorld::State& world;
  LocalGroup& group;
  const bool send;
  const int owner, peer;  // ranks in the group
  const int tag;          // below 0: the collectives' channel
  std::byte* const data;
  const std::size_t bytes;
  const std::chrono::steady_clock::time_point posted;
  std::atomic<Stage> stage{Stage::Queued};
  std::string problem;  // written before Done

 private:
  LocalRequest* take_partner();
};

}  // namespace lacuna
