#include "tests/parallel/plan/shadow_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <vector>

#include "parallel/plan/dependencies.h"
#include "parallel/plan/text.h"
#include "src/base/rng.h"

namespace lacuna::test {
namespace {

struct Buffer {
  enum class State { Free, Filling, Full } state = State::Free;
  int stage = -1, micro = -1, piece = -1;
};

struct Problem {
  std::string text;
};

class Run {
 public:
  Run(const Schedule& schedule, std::uint64_t seed, bool duplex)
      : schedule_(schedule),
        duplex_(duplex),
        partners_(transfer_partners(schedule)),
        key_(rng_key(seed, "shadow run")) {
    for (std::size_t r = 0; r < schedule.ranks.size(); ++r) {
      const RankTable& table = schedule.ranks[r];
      links_.push_back(rank_links(schedule, static_cast<int>(r)));
      Rank rank;
      rank.own.resize(static_cast<std::size_t>(table.own_slots));
      rank.guest.resize(static_cast<std::size_t>(table.guest_slots));
      for (int kind = 0; kind < 2; ++kind) {
        rank.receive[kind].resize(static_cast<std::size_t>(table.recv_buffers));
        rank.send[kind].resize(static_cast<std::size_t>(table.send_buffers));
      }
      for (std::size_t e = 0; e < kEngines; ++e) rank.ended[e].assign(table.rows[e].size(), false);
      ranks_.push_back(std::move(rank));
    }
  }

  std::string run() try {
    for (;;) {
      std::vector<Choice> choices;
      for (std::size_t r = 0; r < ranks_.size(); ++r)
        for (std::size_t e = 0; e < kEngines; ++e) offer(choices, r, static_cast<Engine>(e));
      if (choices.empty()) break;
      const Choice& choice = choices[rng_below(key_, draws_++, choices.size())];
      choice.ends ? end(choice.rank, choice.at) : start(choice.rank, choice.at);
    }
    for (std::size_t r = 0; r < ranks_.size(); ++r)
      for (std::size_t e = 0; e < kEngines; ++e)
        if (!ranks_[r].started[e].empty() || ranks_[r].head[e] < static_cast<int>(ranks_[r].ended[e].size()))
          return fmt::format("rank {} is stuck in its {} row at {}", r, name_of(static_cast<Engine>(e)),
                             ranks_[r].head[e]);
    return "";
  } catch (const Problem& problem) {
    return problem.text;
  }

 private:
  struct Rank {
    std::vector<Buffer> own, guest, receive[2], send[2];
    std::array<int, kEngines> head{};
    std::array<std::vector<int>, kEngines> started;  // not ended yet
    std::array<std::vector<bool>, kEngines> ended;
    std::map<int, int> last_gradient;  // stage -> micro
  };
  struct Choice {
    std::size_t rank;
    ActionRef at;
    bool ends;
  };

  const Action& action(std::size_t r, ActionRef at) const {
    return schedule_.ranks[r].row(at.engine)[static_cast<std::size_t>(at.index)];
  }
  void offer(std::vector<Choice>& choices, std::size_t r, Engine engine) {
    const auto e = static_cast<std::size_t>(engine);
    Rank& rank = ranks_[r];
    for (const int index : rank.started[e])
      if (engine != Engine::Transfer || other_end_started(r, index))
        choices.push_back({r, {engine, index}, true});
    if (rank.head[e] >= static_cast<int>(rank.ended[e].size())) return;
    if (engine == Engine::Compute && !rank.started[e].empty()) return;
    if (engine == Engine::Copy)
      for (const int index : rank.started[e])
        if (!duplex_ || action(r, {engine, index}).op == action(r, {engine, rank.head[e]}).op) return;
    for (const ActionRef& before : links_[r].before(engine, rank.head[e]))
      if (!rank.ended[static_cast<std::size_t>(before.engine)][static_cast<std::size_t>(before.index)])
        return;
    choices.push_back({r, {engine, rank.head[e]}, false});
  }
  std::pair<std::size_t, int> other_end(std::size_t r, int index) const {
    const auto i = static_cast<std::size_t>(index);
    return {static_cast<std::size_t>(links_[r].transfers[i].peer), partners_[r][i]};
  }
  bool other_end_started(std::size_t r, int index) const {
    const auto [peer, at] = other_end(r, index);
    const auto& started = ranks_[peer].started[1];
    return std::find(started.begin(), started.end(), at) != started.end();
  }

  void take(Buffer& buffer, const Action& a, int piece, const char* what) {
    if (buffer.state != Buffer::State::Free)
      throw Problem{fmt::format("{} writes a {} that holds {}.{}.{}", to_text(a), what, buffer.stage,
                                buffer.micro, buffer.piece)};
    buffer = {Buffer::State::Filling, a.stage, a.micro, piece};
  }
  static void fill(Buffer& buffer) { buffer.state = Buffer::State::Full; }
  void expect(const Buffer& buffer, const Action& a, int piece, const char* what) {
    if (buffer.state != Buffer::State::Full || buffer.stage != a.stage || buffer.micro != a.micro ||
        buffer.piece != piece)
      throw Problem{fmt::format("{} finds {}.{}.{} in its {}", to_text(a), buffer.stage, buffer.micro,
                                buffer.piece, what)};
  }
  static Buffer& at(std::vector<Buffer>& buffers, int index) {
    return buffers.at(static_cast<std::size_t>(index));
  }

  void start(std::size_t r, ActionRef ref) {
    const auto e = static_cast<std::size_t>(ref.engine);
    ++ranks_[r].head[e];
    ranks_[r].started[e].push_back(ref.index);
    const Action& a = action(r, ref);
    if (ref.engine == Engine::Compute && a.op != Op::Reduce) compute(r, ref.index, a, true);
    if (ref.engine == Engine::Transfer) {
      Rank& rank = ranks_[r];
      const int kind = a.op == Op::SendForward || a.op == Op::RecvForward ? 0 : 1;
      is_send(a.op) ? expect(at(rank.send[kind], a.slots[0]), a, 0, "send buffer")
                    : take(at(rank.receive[kind], a.slots[0]), a, 0, "receive buffer");
    }
    if (ref.engine == Engine::Copy) copy(r, a, true);
  }
  void end(std::size_t r, ActionRef ref) {
    const Action& a = action(r, ref);
    finish(r, ref);
    if (ref.engine == Engine::Compute && a.op != Op::Reduce) compute(r, ref.index, a, false);
    if (ref.engine == Engine::Copy) copy(r, a, false);
    if (ref.engine != Engine::Transfer) return;
    const auto [peer, index] = other_end(r, ref.index);
    const Action& b = action(peer, {Engine::Transfer, index});
    finish(peer, {Engine::Transfer, index});
    const bool sends = is_send(a.op);
    const Action &from = sends ? a : b, &to = sends ? b : a;
    const int kind = from.op == Op::SendForward ? 0 : 1;
    if (from.micro != to.micro || from.stage + (kind == 0 ? 1 : -1) != to.stage)
      throw Problem{to_text(from) + " arrives as " + to_text(to)};
    at(ranks_[sends ? r : peer].send[kind], from.slots[0]) = {};
    fill(at(ranks_[sends ? peer : r].receive[kind], to.slots[0]));
  }
  void finish(std::size_t r, ActionRef ref) {
    const auto e = static_cast<std::size_t>(ref.engine);
    std::erase(ranks_[r].started[e], ref.index);
    ranks_[r].ended[e][static_cast<std::size_t>(ref.index)] = true;
  }

  void compute(std::size_t r, int index, const Action& a, bool starts) {
    Rank& rank = ranks_[r];
    const ComputeLink& link = links_[r].compute[static_cast<std::size_t>(index)];
    const int kind = a.op == Op::Forward ? 0 : 1;
    const bool frees = a.op == Op::Backward || a.op == Op::WeightGrad || schedule_.forward_only;
    for (int piece = 0; piece < schedule_.pieces; ++piece) {
      Buffer& slot = at(rank.own, a.slots[static_cast<std::size_t>(piece)]);
      if (starts && a.op == Op::Forward) take(slot, a, piece, "slot");
      if (!starts && a.op == Op::Forward) fill(slot);
      if (a.op != Op::Forward) expect(slot, a, piece, "slot");
      if (!starts && frees) slot = {};
    }
    if (link.input >= 0) {
      Buffer& input = at(rank.receive[kind], link.input);
      expect(input, a, 0, "receive buffer");
      if (!starts) input = {};
    }
    if (link.output >= 0) {
      Buffer& output = at(rank.send[kind], link.output);
      starts ? take(output, a, 0, "send buffer") : fill(output);
    }
    if (starts || (a.op != Op::Backward && a.op != Op::WeightGrad)) return;
    const auto [last, first] = rank.last_gradient.emplace(a.stage, -1);
    if (a.micro != last->second + 1)
      throw Problem{fmt::format("{} adds its gradient after micro-batch {}", to_text(a), last->second)};
    last->second = a.micro;
  }

  void copy(std::size_t r, const Action& a, bool starts) {
    Buffer& own = at(ranks_[r].own, a.slots[0]);
    Buffer& guest = at(ranks_.at(static_cast<std::size_t>(schedule_.ranks[r].partner)).guest, a.guest);
    Buffer &from = a.op == Op::Evict ? own : guest, &to = a.op == Op::Evict ? guest : own;
    expect(from, a, a.piece, "source");
    if (starts) return take(to, a, a.piece, "destination");
    fill(to);
    from = {};
  }

  const Schedule& schedule_;
  const bool duplex_;
  std::vector<RankLinks> links_;
  std::vector<std::vector<int>> partners_;
  std::vector<Rank> ranks_;
  const std::uint64_t key_;
  std::uint64_t draws_ = 0;
};

}  // namespace

std::string shadow_run(const Schedule& schedule, std::uint64_t seed, bool duplex) {
  return Run(schedule, seed, duplex).run();
}

}  // namespace lacuna::test
