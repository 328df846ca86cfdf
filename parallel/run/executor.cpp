#include "parallel/run/executor.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <utility>

#include "parallel/plan/dependencies.h"
#include "parallel/run/stash_store.h"
#include "src/base/error.h"

namespace lacuna {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// What a person reads in the watchdog's line.
const char* work_name(Op op) {
  constexpr const char* kNames[] = {"forward", "input gradient", "weight gradient", "backward", "reduce",
                                    "send F",  "recv F",         "send B",          "recv B",   "evict",
                                    "load"};
  return kNames[static_cast<std::size_t>(op)];
}

const RankTable& table_of(const Schedule& schedule, const Communicator& pipeline) {
  LACUNA_CHECK(pipeline.size() == static_cast<int>(schedule.ranks.size()), ErrorKind::Internal,
               "schedule {}: for {} ranks, '{}' has {}", schedule.name, schedule.ranks.size(),
               pipeline.name(), pipeline.size());
  return schedule.ranks[static_cast<std::size_t>(pipeline.rank())];
}

Channel channel_of(int rank, const TransferLink& link) {
  const int tag = static_cast<int>(link.tag);
  return link.send ? Channel{rank, link.peer, tag} : Channel{link.peer, rank, tag};
}

// Of all ranks, so that everybody connects in one order; one entry a transfer.
std::vector<Channel> channels_of(const Schedule& schedule) {
  std::vector<Channel> all;
  for (int rank = 0; rank < static_cast<int>(schedule.ranks.size()); ++rank) {
    for (const TransferLink& link : rank_links(schedule, rank).transfers)
      if (link.send) all.push_back(channel_of(rank, link));
  }
  std::sort(all.begin(), all.end());
  return all;
}

}  // namespace

struct Executor::State {
  // One engine's row while a step runs.
  struct Row {
    const std::vector<Action>* actions = nullptr;
    std::vector<Queue> queues;  // of each action
    std::vector<bool> marked;   // an action in another queue waits for it
    std::vector<Mark> marks;    // its end, once ended
    std::vector<bool> ended;    // on a device: issued
    std::size_t next = 0;       // to start
    bool finished() const { return next == actions->size(); }
  };
  struct Flight {
    std::size_t index;  // in the transfer row
    std::unique_ptr<Request> request;
  };

  State(const Schedule& the_schedule, Communicator& the_pipeline, Stage& the_stage, Progress& the_progress,
        Device& the_device, const StashStore* lender)
      : schedule(the_schedule),
        table(table_of(the_schedule, the_pipeline)),
        pipeline(the_pipeline),
        stage(the_stage),
        progress(the_progress),
        device(the_device),
        links(rank_links(the_schedule, the_pipeline.rank())),
        store(the_schedule, the_pipeline, the_stage, the_device, lender) {
    for (std::size_t e = 0; e < kEngines; ++e) rows[e].actions = &table.rows[e];
    flights.reserve(table.row(Engine::Transfer).size());
    pipeline.connect(channels_of(schedule));
    assign_queues();
  }

  Row& row(Engine engine) { return rows[static_cast<std::size_t>(engine)]; }
  bool ready(Engine engine, std::size_t index) { return !first_missing(engine, index); }
  const ActionRef* first_missing(Engine engine, std::size_t index);
  void assign_queues();
  void order(Engine engine, std::size_t index);
  void end(Engine engine, std::size_t index, Mark mark = kNoMark);
  void name_work(const Action& action, const char* doing, int peer);

  void begin();
  void join();
  bool all_done();
  bool finish_transfers();
  bool start_transfers();
  bool run_copy();
  bool run_compute();
  void compute(const Action& action, const ComputeLink& link);
  void wait_for_news();
  void name_wait();

  const Schedule& schedule;
  const RankTable& table;
  Communicator& pipeline;
  Stage& stage;
  Progress& progress;
  Device& device;
  const RankLinks links;
  StashStore store;
  Row rows[kEngines];
  std::set<Queue> side_queues;  // all but the compute queue
  std::vector<Flight> flights;
  ExecutorStats stats;
};

const ActionRef* Executor::State::first_missing(Engine engine, std::size_t index) {
  for (const ActionRef& before : links.before(engine, static_cast<int>(index))) {
    if (!row(before.engine).ended[static_cast<std::size_t>(before.index)]) return &before;
  }
  return nullptr;
}

void Executor::State::assign_queues() {
  for (const Engine engine : {Engine::Compute, Engine::Transfer, Engine::Copy}) {
    Row& all = row(engine);
    for (std::size_t i = 0; i < all.actions->size(); ++i) {
      Queue queue = kComputeQueue;
      if (engine == Engine::Transfer)
        queue = pipeline.queue_of(channel_of(pipeline.rank(), links.transfers[i]));
      if (engine == Engine::Copy) queue = (*all.actions)[i].op == Op::Evict ? kEvictQueue : kLoadQueue;
      all.queues.push_back(queue);
      if (queue != kComputeQueue) side_queues.insert(queue);
    }
    all.marks.resize(all.queues.size());
    all.marked.resize(all.queues.size());
  }
  for (const Engine engine : {Engine::Compute, Engine::Transfer, Engine::Copy}) {
    for (std::size_t i = 0; i < row(engine).queues.size(); ++i) {
      for (const ActionRef& before : links.before(engine, static_cast<int>(i))) {
        Row& other = row(before.engine);
        const auto at = static_cast<std::size_t>(before.index);
        if (other.queues[at] != row(engine).queues[i]) other.marked[at] = true;
      }
    }
  }
}

// The action's queue waits for what the action depends on; its own queue is in order anyway.
void Executor::State::order(Engine engine, std::size_t index) {
  const Queue queue = row(engine).queues[index];
  for (const ActionRef& before : links.before(engine, static_cast<int>(index))) {
    const Row& other = row(before.engine);
    const auto at = static_cast<std::size_t>(before.index);
    if (other.queues[at] != queue) device.wait(queue, other.marks[at]);
  }
}

void Executor::State::end(Engine engine, std::size_t index, Mark mark) {
  Row& done = row(engine);
  const Action& action = (*done.actions)[index];
  if (done.marked[index]) done.marks[index] = mark == kNoMark ? device.mark(done.queues[index]) : mark;
  done.ended[index] = true;
  progress.last.store(work_name(action.op), std::memory_order_relaxed);
  progress.last_micro.store(action.micro, std::memory_order_relaxed);
  progress.last_stage.store(action.stage, std::memory_order_relaxed);
  progress.tick();
}

void Executor::State::name_work(const Action& action, const char* doing, int peer) {
  progress.doing.store(doing, std::memory_order_relaxed);
  progress.with.store(pipeline.name().c_str(), std::memory_order_relaxed);
  progress.peer.store(peer, std::memory_order_relaxed);
  progress.micro.store(action.micro, std::memory_order_relaxed);
  progress.stage.store(action.stage, std::memory_order_relaxed);
}

void Executor::State::begin() {
  for (Row& row : rows) {
    row.ended.assign(row.actions->size(), false);
    row.next = 0;
  }
  flights.clear();
  stats = {};
  device.recycle_marks();
  const Mark start = device.mark(kComputeQueue);  // the buffers of the step before are free
  for (const Queue queue : side_queues) device.wait(queue, start);
}

void Executor::State::join() {
  for (const Queue queue : side_queues) device.wait(kComputeQueue, device.mark(queue));
}

bool Executor::State::all_done() {
  return flights.empty() &&
         std::all_of(std::begin(rows), std::end(rows), [](Row& row) { return row.finished(); });
}

bool Executor::State::finish_transfers() {
  const auto arrived = [&](Flight& flight) {
    if (!pipeline.test(*flight.request)) return false;
    end(Engine::Transfer, flight.index, flight.request->end);
    return true;
  };
  return std::erase_if(flights, arrived) > 0;
}

// Posts everything that may start, so that opposite orders at the two ends meet. What has ended with that (a
// device's queue has it) gets its mark at once: the queue's next transfer must not come before the mark.
bool Executor::State::start_transfers() {
  Row& transfers = row(Engine::Transfer);
  const std::size_t first = transfers.next;
  for (; !transfers.finished() && ready(Engine::Transfer, transfers.next); ++transfers.next) {
    order(Engine::Transfer, transfers.next);
    const TransferLink& link = links.transfers[transfers.next];
    const int tag = static_cast<int>(link.tag);
    const std::size_t bytes = store.boundary_bytes();
    std::unique_ptr<Request> request =
        link.send ? pipeline.isend(link.peer, tag, {store.send_buffer(link.tag, link.buffer), bytes})
                  : pipeline.irecv(link.peer, tag, {store.receive_buffer(link.tag, link.buffer), bytes});
    if (pipeline.test(*request))
      end(Engine::Transfer, transfers.next, request->end);
    else
      flights.push_back({transfers.next, std::move(request)});
  }
  return transfers.next > first;
}

bool Executor::State::run_copy() {
  Row& copies = row(Engine::Copy);
  if (copies.finished() || !ready(Engine::Copy, copies.next)) return false;
  const Action& action = (*copies.actions)[copies.next];
  name_work(action, work_name(action.op), table.partner);
  order(Engine::Copy, copies.next);
  if (action.op == Op::Evict) {
    store.evict(action);
    ++stats.evictions;
  } else {
    store.load(action);
  }
  end(Engine::Copy, copies.next++);
  return true;
}

bool Executor::State::run_compute() {
  Row& computes = row(Engine::Compute);
  if (computes.finished() || !ready(Engine::Compute, computes.next)) return false;
  const Action& action = (*computes.actions)[computes.next];
  name_work(action, work_name(action.op), -1);
  const auto begin = Clock::now();
  order(Engine::Compute, computes.next);
  try {
    compute(action, links.compute[computes.next]);
  } catch (Error& error) {
    error.add_context(
        fmt::format("{} of micro-batch {} on stage {}", work_name(action.op), action.micro, action.stage));
    throw;
  }
  stats.compute_seconds += seconds_since(begin);
  end(Engine::Compute, computes.next++);
  return true;
}

void Executor::State::compute(const Action& action, const ComputeLink& link) {
  switch (action.op) {
    case Op::Forward:
      stage.forward(action.stage, action.micro, store.receive_buffer(Tag::Activation, link.input),
                    store.send_buffer(Tag::Activation, link.output), store.arrive(action));
      if (schedule.forward_only) store.leave(action);
      break;
    case Op::InputGrad:
      stage.input_grad(action.stage, action.micro, store.receive_buffer(Tag::Gradient, link.input),
                       store.send_buffer(Tag::Gradient, link.output), store.present(action));
      break;
    case Op::WeightGrad:
      stage.weight_grad(action.stage, action.micro, store.present(action));
      store.leave(action);
      break;
    case Op::Backward:
      stage.backward(action.stage, action.micro, store.receive_buffer(Tag::Gradient, link.input),
                     store.send_buffer(Tag::Gradient, link.output), store.present(action));
      store.leave(action);
      break;
    case Op::Reduce:
      stage.reduce(action.stage);
      break;
    default:
      fail(ErrorKind::Internal, "{} in a compute row", short_name(action.op));
  }
}

// Says what the next piece of work lacks: normally a transfer, and with it the peer.
void Executor::State::name_wait() {
  for (const Engine engine : {Engine::Compute, Engine::Copy, Engine::Transfer}) {
    Row& waiting = row(engine);
    if (waiting.finished()) continue;
    const ActionRef* missing = first_missing(engine, waiting.next);
    if (!missing) continue;
    const auto index = static_cast<std::size_t>(missing->index);
    const Action& action = (*row(missing->engine).actions)[index];
    const int peer = missing->engine == Engine::Transfer ? links.transfers[index].peer : -1;
    return name_work(action, work_name(action.op), peer);
  }
  if (flights.empty()) return;
  const Action& action = (*row(Engine::Transfer).actions)[flights.front().index];
  name_work(action, work_name(action.op), links.transfers[flights.front().index].peer);
}

void Executor::State::wait_for_news() {
  // Local dependencies alone are settled in the same loop: only a transfer can bring news.
  LACUNA_CHECK(!flights.empty(), ErrorKind::Internal,
               "schedule {}: rank {} waits for nothing under way; the table is not legal", schedule.name,
               pipeline.rank());
  name_wait();
  const auto begin = Clock::now();
  while (!finish_transfers()) pipeline.idle();
  stats.idle_seconds += seconds_since(begin);
}

Executor::Executor(const Schedule& schedule, Communicator& pipeline, Stage& stage, Progress& progress,
                   Device& device, const Executor* lender)
    : state_(std::make_unique<State>(schedule, pipeline, stage, progress, device,
                                     lender ? &lender->state_->store : nullptr)) {}

Executor::Executor(const Schedule& schedule, Communicator& pipeline, Stage& stage, Progress& progress)
    : own_device_(std::make_unique<HostDevice>()),
      state_(std::make_unique<State>(schedule, pipeline, stage, progress, *own_device_, nullptr)) {}

Executor::~Executor() = default;

void Executor::rehearse() {
  State& s = *state_;
  const Doing doing(&s.progress, "rehearsal", s.pipeline.name().c_str());
  const std::vector<Action>& row = s.table.row(Engine::Compute);
  for (std::size_t f = 0; f < row.size(); ++f) {
    if (row[f].op != Op::Forward || row[f].micro > 1) continue;
    s.compute(row[f], s.links.compute[f]);
    for (std::size_t i = f + 1; i < row.size(); ++i) {
      Action action = row[i];
      if (action.op == Op::Reduce || action.stage != row[f].stage || action.micro != row[f].micro) continue;
      action.slots = row[f].slots;  // the stash has not moved meanwhile
      s.compute(action, s.links.compute[i]);
    }
  }
  s.device.finish(kComputeQueue);
}

void Executor::run() {
  State& s = *state_;
  const Doing doing(&s.progress, "pipeline", s.pipeline.name().c_str());
  s.begin();
  while (!s.all_done()) {
    bool news = s.finish_transfers();
    news = s.start_transfers() || news;
    news = s.run_copy() || news;  // before compute: a load may be what the next backward needs
    news = s.run_compute() || news;
    if (!news) s.wait_for_news();
  }
  s.join();
  LACUNA_ASSERT(s.store.empty());
  s.store.tell_guest_high_water();
  s.progress.micro = s.progress.stage = -1;
}

void Executor::close() {
  state_->store.close();
}

const ExecutorStats& Executor::stats() const {
  state_->stats.peak_own_bytes = state_->store.own_high_water();
  state_->stats.peak_guest_bytes = state_->store.guest_high_water();
  return state_->stats;
}

}  // namespace lacuna
