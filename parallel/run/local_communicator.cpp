#include "parallel/run/local_communicator.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <thread>

#include "parallel/run/local_world.h"
#include "parallel/run/ordered_collectives.h"
#include "src/base/error.h"
#include "src/base/log.h"

namespace lacuna {
namespace {

using Clock = std::chrono::steady_clock;

class LocalWindow : public SharedWindow {
 public:
  LocalWindow(std::vector<std::span<std::byte>> areas, std::atomic<std::uint64_t>& syncs)
      : areas_(std::move(areas)), syncs_(syncs) {}
  std::byte* base(int rank) override { return areas_.at(static_cast<std::size_t>(rank)).data(); }
  std::size_t bytes(int rank) const override { return areas_.at(static_cast<std::size_t>(rank)).size(); }
  void sync() override { syncs_.fetch_add(1, std::memory_order_acq_rel); }  // what came before is seen after

 private:
  std::vector<std::span<std::byte>> areas_;
  std::atomic<std::uint64_t>& syncs_;
};

class LocalCommunicator : public OrderedCollectives {
 public:
  LocalCommunicator(LocalWorld::State& world, LocalGroup& group, int rank, const std::string& kept_name,
                    Progress* progress)
      : OrderedCollectives(rank, static_cast<int>(group.world_ranks.size()), kept_name, progress),
        world_(world),
        group_(group) {}

  void own(std::unique_ptr<LocalWorld> world) { own_world_ = std::move(world); }

  std::unique_ptr<Request> isend(int peer, int tag, std::span<const std::byte> data) override {
    LACUNA_ASSERT(tag >= 0);
    return post(true, peer, tag, const_cast<std::byte*>(data.data()), data.size());
  }
  std::unique_ptr<Request> irecv(int peer, int tag, std::span<std::byte> data) override {
    LACUNA_ASSERT(tag >= 0);
    return post(false, peer, tag, data.data(), data.size());
  }
  bool test(Request& request) override;
  void wait(Request& request) override;
  void idle() override { std::this_thread::yield(); }

  std::unique_ptr<Communicator> split(int colour, int key, const std::string& new_name) override;
  std::unique_ptr<SharedWindow> open_window(std::size_t bytes) override;
  void close_window(std::unique_ptr<SharedWindow> window) override;

 protected:
  std::unique_ptr<Request> post_send(int peer, std::span<const std::byte> data) override {
    return post(true, peer, -1, const_cast<std::byte*>(data.data()), data.size());
  }
  std::unique_ptr<Request> post_recv(int peer, std::span<std::byte> data) override {
    return post(false, peer, -1, data.data(), data.size());
  }

 private:
  std::unique_ptr<Request> post(bool send, int peer, int tag, std::byte* data, std::size_t bytes) {
    LACUNA_CHECK(peer >= 0 && peer < size() && peer != rank(), ErrorKind::Internal,
                 "'{}': rank {} of {} exchanges with rank {}", name(), rank(), size(), peer);
    auto request = std::make_unique<LocalRequest>(world_, group_, send, rank(), peer, tag, data, bytes);
    request->post();
    return request;
  }
  bool ended(const LocalRequest& request) const;
  void check_peers(const LocalRequest& request) const;  // with the world's mutex held
  void check_limit(const LocalRequest& request) const;

  std::unique_ptr<LocalWorld> own_world_;  // of single_rank()
  LocalWorld::State& world_;
  LocalGroup& group_;
  int splits_ = 0;
};

bool LocalCommunicator::ended(const LocalRequest& request) const {
  if (!request.done()) return false;
  LACUNA_CHECK(request.problem.empty(), ErrorKind::Internal, "'{}' on rank {}: {}", name(), rank(),
               request.problem);
  return true;
}

void LocalCommunicator::check_peers(const LocalRequest& request) const {
  if (request.stage.load(std::memory_order_acquire) != LocalRequest::Stage::Queued) return;
  const int peer = request.peer_in_world();
  if (world_.failed_rank >= 0) {
    fail(ErrorKind::Hang, "'{}' on rank {}: lost rank {} ({}), waiting in a {}", name(), rank(),
         world_.failed_rank, world_.failure, request.text());
  }
  if (world_.left[static_cast<std::size_t>(peer)]) {
    fail(ErrorKind::Hang, "'{}' on rank {}: rank {} of the world has ended, waiting in a {}", name(), rank(),
         peer, request.text());
  }
}

void LocalCommunicator::check_limit(const LocalRequest& request) const {
  LACUNA_CHECK(Clock::now() - request.posted < world_.limit, ErrorKind::Hang,
               "'{}' on rank {}: nothing for {} ms, waiting in a {}", name(), rank(), world_.limit.count(),
               request.text());
}

bool LocalCommunicator::test(Request& request) {
  auto& local = static_cast<LocalRequest&>(request);
  if (ended(local)) return true;
  if (world_.anyone_left.load(std::memory_order_acquire)) {
    const std::lock_guard lock(world_.mutex);
    check_peers(local);
  }
  check_limit(local);
  return false;
}

void LocalCommunicator::wait(Request& request) {
  auto& local = static_cast<LocalRequest&>(request);
  if (!local.done()) {
    const Doing doing(progress_,
                      local.tag >= 0 ? "wait"
                      : progress_    ? progress_->doing.load()
                                     : "",
                      name().c_str(), local.peer);
    std::unique_lock lock(world_.mutex);
    auto& changed = world_.changed[static_cast<std::size_t>(local.owner_in_world())];
    while (!local.done()) {
      check_peers(local);
      if (changed.wait_until(lock, local.posted + world_.limit) == std::cv_status::timeout && !local.done()) {
        check_limit(local);
      }
    }
  }
  ended(local);
}

std::unique_ptr<Communicator> LocalCommunicator::split(int colour, int key, const std::string& new_name) {
  struct Choice {
    int colour, key;
  };
  const Choice mine{colour, key};
  std::vector<Choice> choices(static_cast<std::size_t>(size()));
  all_gather(std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(choices)));
  std::vector<int> members;
  for (int r = 0; r < size(); ++r) {
    if (choices[static_cast<std::size_t>(r)].colour == colour) members.push_back(r);
  }
  std::stable_sort(members.begin(), members.end(), [&](int a, int b) {
    return choices[static_cast<std::size_t>(a)].key < choices[static_cast<std::size_t>(b)].key;
  });
  const auto place = std::find(members.begin(), members.end(), rank()) - members.begin();
  if (own_world_) {  // stands on its own, as this one does
    auto alone = single_rank(new_name);
    alone->report_to(progress_);
    return alone;
  }
  for (int& member : members) member = group_.world_ranks[static_cast<std::size_t>(member)];
  LocalGroup& group = world_.group_of_split(group_, splits_++, colour, std::move(members));
  return std::make_unique<LocalCommunicator>(world_, group, static_cast<int>(place),
                                             world_.keep_name(new_name), progress_);
}

std::unique_ptr<SharedWindow> LocalCommunicator::open_window(std::size_t bytes) {
  const std::span<std::byte> mine(world_.allocate_window(bytes), bytes);
  std::vector<std::span<std::byte>> areas(static_cast<std::size_t>(size()));
  all_gather(std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(areas)));
  return std::make_unique<LocalWindow>(std::move(areas), world_.window_syncs);
}

void LocalCommunicator::close_window(std::unique_ptr<SharedWindow> window) {
  barrier();  // nobody uses the areas any more
  world_.release_window(window->base(rank()));
}

}  // namespace

LocalWorld::LocalWorld(int ranks, std::chrono::milliseconds limit) {
  LACUNA_CHECK(ranks >= 1, ErrorKind::Internal, "a world of {} ranks", ranks);
  state_ = std::make_unique<State>(ranks, limit);
}
LocalWorld::~LocalWorld() = default;

std::unique_ptr<Communicator> LocalWorld::communicator(int rank, const std::string& name) {
  LACUNA_ASSERT(rank >= 0 && rank < static_cast<int>(state_->left.size()));
  return std::make_unique<LocalCommunicator>(*state_, state_->groups.front(), rank, state_->keep_name(name),
                                             nullptr);
}

void LocalWorld::leave(int rank, std::exception_ptr error) {
  const std::lock_guard lock(state_->mutex);
  state_->left[static_cast<std::size_t>(rank)] = true;
  if (error && !state_->error) {
    state_->error = error;
    state_->failed_rank = rank;
    try {
      std::rethrow_exception(error);
    } catch (const std::exception& known) {
      state_->failure = known.what();
    } catch (...) {
      state_->failure = "an unknown exception";
    }
  }
  state_->anyone_left.store(true, std::memory_order_release);
  for (auto& changed : state_->changed) changed.notify_all();
}

std::exception_ptr LocalWorld::first_error() const {
  const std::lock_guard lock(state_->mutex);
  return state_->error;
}

void run_local(int ranks, const std::function<void(Communicator& world, int rank)>& body,
               std::chrono::milliseconds limit) {
  LocalWorld world(ranks, limit);
  {
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < ranks; ++rank) {
      threads.emplace_back([&world, &body, rank, ranks] {
        set_log_rank(rank, ranks);
        std::exception_ptr error;
        try {
          const auto communicator = world.communicator(rank);
          body(*communicator, rank);
        } catch (...) {
          error = std::current_exception();
        }
        world.leave(rank, error);
      });
    }
  }
  if (const std::exception_ptr error = world.first_error()) std::rethrow_exception(error);
}

std::unique_ptr<Communicator> single_rank(const std::string& name) {
  auto world = std::make_unique<LocalWorld>(1);
  auto alone = world->communicator(0, name);
  static_cast<LocalCommunicator&>(*alone).own(std::move(world));
  return alone;
}

}  // namespace lacuna
