#include "tests/parallel/run/issued_ahead.h"

#include <algorithm>
#include <mutex>

#include "parallel/run/executor.h"
#include "parallel/run/local_communicator.h"
#include "src/base/error.h"

namespace lacuna::test {
namespace {

class LoggingDevice final : public Device {
 public:
  std::byte* allocate(std::size_t bytes) override { return host_.allocate(bytes); }
  void release(std::byte* data) noexcept override { host_.release(data); }
  Queue open_queue() override { return queues_++; }
  Mark mark(Queue queue) override {
    log.push_back({.kind = Issued::Kind::Mark, .queue = queue, .mark = marks_});
    return marks_++;
  }
  void wait(Queue queue, Mark mark) override {
    log.push_back({.kind = Issued::Kind::Wait, .queue = queue, .mark = mark});
  }
  void recycle_marks() override {}
  void copy(Queue queue, std::byte*, const std::byte*, std::size_t) override {
    log.push_back({.kind = Issued::Kind::Copy, .queue = queue});
  }
  void finish(Queue) override {}
  DeviceCounters counters() const override { return {}; }

  std::vector<Issued> log;

 private:
  HostDevice host_;
  Queue queues_ = 3;
  Mark marks_ = 0;
};

// Each channel has a queue of its own.
class LoggingCommunicator final : public Communicator {
 public:
  LoggingCommunicator(Communicator& host, LoggingDevice& device, Posting posting)
      : host_(host), device_(device), posting_(posting) {}
  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }
  const std::string& name() const override { return host_.name(); }
  void report_to(Progress*) override {}
  Communicator& control() override { return host_; }
  Queue queue_of(const Channel& channel) override {
    const auto [found, fresh] = queues_.try_emplace(channel);
    if (fresh) found->second = device_.open_queue();
    return found->second;
  }
  std::unique_ptr<Request> isend(int peer, int tag, std::span<const std::byte>) override {
    return post(Issued::Kind::Send, {rank(), peer, tag});
  }
  std::unique_ptr<Request> irecv(int peer, int tag, std::span<std::byte>) override {
    return post(Issued::Kind::Receive, {peer, rank(), tag});
  }
  bool test(Request& request) override {
    const bool issued = static_cast<Transfer&>(request).issued;
    for (Transfer* transfer : posted_) {
      device_.log.push_back(transfer->entry);
      transfer->end = device_.mark(transfer->entry.queue);
      transfer->issued = true;
    }
    posted_.clear();
    return issued;
  }
  void wait(Request&) override {}
  void idle() override {}
  void barrier() override { host_.barrier(); }
  void broadcast(int root, std::span<std::byte> data) override { host_.broadcast(root, data); }
  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all) override {
    host_.all_gather(mine, all);
  }
  void all_gather_v(std::span<const std::byte> mine, std::span<const std::size_t> counts,
                    std::span<std::byte> all) override {
    host_.all_gather_v(mine, counts, all);
  }
  void reduce_scatter_sum(const void* all, std::span<const std::size_t> counts, void* mine,
                          DType dtype) override {
    host_.reduce_scatter_sum(all, counts, mine, dtype);
  }
  void all_reduce_sum(void* data, std::size_t count, DType dtype) override {
    host_.all_reduce_sum(data, count, dtype);
  }
  void all_reduce_max(void* data, std::size_t count, DType dtype) override {
    host_.all_reduce_max(data, count, dtype);
  }
  std::unique_ptr<Communicator> split(int, int, const std::string&) override { return nullptr; }
  std::unique_ptr<SharedWindow> open_window(std::size_t bytes) override { return host_.open_window(bytes); }
  void close_window(std::unique_ptr<SharedWindow> window) override { host_.close_window(std::move(window)); }

 private:
  struct Transfer final : Request {
    Issued entry;
    bool issued = false;
  };
  std::unique_ptr<Request> post(Issued::Kind kind, const Channel& channel) {
    auto transfer = std::make_unique<Transfer>();
    transfer->entry = {.kind = kind, .queue = queue_of(channel), .channel = channel};
    transfer->issued = posting_ == Posting::AtOnce;
    if (transfer->issued)
      device_.log.push_back(transfer->entry);
    else
      posted_.push_back(transfer.get());
    return transfer;
  }
  Communicator& host_;
  LoggingDevice& device_;
  Posting posting_;
  std::map<Channel, Queue> queues_;
  std::vector<Transfer*> posted_;
};

class LoggingStage final : public Stage {
 public:
  explicit LoggingStage(LoggingDevice& device) : device_(device) {}
  void forward(int, int, const std::byte*, std::byte*, StashPieces) override { log(Op::Forward); }
  void input_grad(int, int, const std::byte*, std::byte*, StashPieces) override { log(Op::InputGrad); }
  void weight_grad(int, int, StashPieces) override { log(Op::WeightGrad); }
  void backward(int, int, const std::byte*, std::byte*, StashPieces) override { log(Op::Backward); }
  void reduce(int) override { log(Op::Reduce); }
  std::size_t boundary_bytes() const override { return 64; }
  std::size_t piece_bytes(int, int) const override { return 64; }

 private:
  void log(Op op) { device_.log.push_back({.kind = Issued::Kind::Compute, .op = op}); }
  LoggingDevice& device_;
};

// One rank's queues while they run.
struct Rank {
  const std::vector<Issued>* log = nullptr;
  std::vector<bool> blocks;     // the host waits after this entry
  std::size_t issued = 0;       // entries that the host has issued
  std::vector<bool> ran;        // of every entry
  std::map<Queue, double> now;  // where each queue stands
  std::map<Mark, double> marks;
  double host = 0;  // when the host issues what comes next
};

// The k-th send of a channel and the k-th receive, by when their queues reached them.
struct Meeting {
  double sends = -1, receives = -1;
};

class Player {
 public:
  Player(const Schedule& schedule, const std::vector<std::vector<Issued>>& logs, const Costs& costs,
         const std::set<Op>& blocks)
      : schedule_(schedule), costs_(costs) {
    for (const std::vector<Issued>& log : logs) {
      Rank rank{.log = &log};
      std::set<Op> seen;
      for (const Issued& entry : log)
        rank.blocks.push_back(entry.kind == Issued::Kind::Compute && blocks.contains(entry.op) &&
                              seen.insert(entry.op).second);
      rank.ran.resize(log.size());
      ranks_.push_back(std::move(rank));
    }
  }

  Replay play() {
    bool news = true;
    while (news) {
      news = false;
      for (Rank& rank : ranks_) news = advance(rank) || news;
    }
    Replay out;
    for (Rank& rank : ranks_) {
      out.stuck |= rank.issued < rank.log->size() || !all_ran(rank);
      out.compute_ends.push_back(std::move(ends_[&rank]));
    }
    return out;
  }

 private:
  static bool all_ran(const Rank& rank) {
    return std::find(rank.ran.begin(), rank.ran.begin() + static_cast<std::ptrdiff_t>(rank.issued), false) ==
           rank.ran.begin() + static_cast<std::ptrdiff_t>(rank.issued);
  }

  bool advance(Rank& rank) {
    bool news = false;
    while (rank.issued < rank.log->size() &&
           (rank.issued == 0 || !rank.blocks[rank.issued - 1] || all_ran(rank))) {
      if (rank.issued > 0 && rank.blocks[rank.issued - 1])
        for (const auto& [queue, time] : rank.now) rank.host = std::max(rank.host, time);
      ++rank.issued;
      news = true;
    }
    std::set<Queue> held;  // by an entry that cannot run yet
    for (std::size_t i = 0; i < rank.issued; ++i) {
      if (rank.ran[i] || held.contains((*rank.log)[i].queue)) continue;
      if (run(rank, i)) {
        rank.ran[i] = news = true;
      } else {
        held.insert((*rank.log)[i].queue);
      }
    }
    return news;
  }

  bool run(Rank& rank, std::size_t index) {
    const Issued& entry = (*rank.log)[index];
    double& now = rank.now[entry.queue];
    now = std::max(now, rank.host);
    switch (entry.kind) {
      case Issued::Kind::Compute:
        now += costs_.of(entry.op, schedule_.pieces);
        ends_[&rank].push_back(now);
        return true;
      case Issued::Kind::Copy:
        now += costs_.of(Op::Evict, schedule_.pieces);
        return true;
      case Issued::Kind::Mark:
        rank.marks[entry.mark] = now;
        return true;
      case Issued::Kind::Wait: {
        const auto found = rank.marks.find(entry.mark);
        if (found == rank.marks.end()) return false;
        now = std::max(now, found->second);
        return true;
      }
      case Issued::Kind::Send:
      case Issued::Kind::Receive:
        return transfer(rank, index, now);
    }
    return false;
  }

  bool transfer(Rank& rank, std::size_t index, double& now) {
    const Issued& entry = (*rank.log)[index];
    const bool send = entry.kind == Issued::Kind::Send;
    const auto [place, fresh] = turn_.try_emplace({&rank, index}, counts_[{entry.channel, send}]);
    if (fresh) ++counts_[{entry.channel, send}];
    Meeting& meeting = meetings_[{entry.channel, place->second}];
    (send ? meeting.sends : meeting.receives) = now;
    if (meeting.sends < 0 || meeting.receives < 0) return false;
    now = std::max(meeting.sends, meeting.receives) + costs_.latency;
    return true;
  }

  const Schedule& schedule_;
  const Costs& costs_;
  std::vector<Rank> ranks_;
  std::map<const Rank*, std::vector<double>> ends_;
  std::map<std::pair<const Rank*, std::size_t>, int> turn_;
  std::map<std::pair<Channel, bool>, int> counts_;
  std::map<std::pair<Channel, int>, Meeting> meetings_;
};

}  // namespace

std::vector<std::vector<Issued>> issue_ahead(const Schedule& schedule, Posting posting) {
  std::vector<std::vector<Issued>> logs(schedule.ranks.size());
  std::mutex mutex;
  run_local(static_cast<int>(schedule.ranks.size()), [&](Communicator& host, int rank) {
    LoggingDevice device;
    LoggingCommunicator pipeline(host, device, posting);
    LoggingStage stage(device);
    Progress progress;
    Executor executor(schedule, pipeline, stage, progress, device);
    executor.run();
    const std::lock_guard lock(mutex);
    logs[static_cast<std::size_t>(rank)] = device.log;
  });
  return logs;
}

Replay replay(const Schedule& schedule, const std::vector<std::vector<Issued>>& ranks, const Costs& costs,
              const std::set<Op>& blocks) {
  return Player(schedule, ranks, costs, blocks).play();
}

}  // namespace lacuna::test
