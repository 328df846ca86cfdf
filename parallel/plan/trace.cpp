#include "parallel/plan/trace.h"

#include <fmt/format.h>

#include "parallel/plan/text.h"

namespace lacuna {
namespace {

void name(std::string& out, const char* what, int rank, int track, const std::string& value) {
  out += fmt::format("{{\"ph\":\"M\",\"name\":\"{}\",\"pid\":{},\"tid\":{},\"args\":{{\"name\":\"{}\"}}}},\n",
                     what, rank, track, value);
}

// Transfers overlap, so each kind has a track; everything else has the track of its engine.
int track_of(Op op) {
  if (engine_of(op) != Engine::Transfer) return engine_of(op) == Engine::Compute ? 0 : 5;
  return 1 + static_cast<int>(op) - static_cast<int>(Op::SendForward);
}

}  // namespace

std::string trace_json(const Schedule& schedule, const EventTimes& times, double unit_us) {
  constexpr const char* kTracks[] = {"compute", "send F", "recv F", "send B", "recv B", "copy"};
  std::string out = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n";
  for (int rank = 0; rank < static_cast<int>(schedule.ranks.size()); ++rank) {
    name(out, "process_name", rank, 0, fmt::format("rank {}", rank));
    for (int track = 0; track < 6; ++track) name(out, "thread_name", rank, track, kTracks[track]);
    for (std::size_t e = 0; e < kEngines; ++e) {
      const auto engine = static_cast<Engine>(e);
      for (int i = 0; const Action& a : schedule.ranks[static_cast<std::size_t>(rank)].row(engine)) {
        const Span& time = times.at(rank, engine, i++);
        out += fmt::format(
            "{{\"ph\":\"X\",\"name\":\"{}\",\"cat\":\"{}\",\"pid\":{},\"tid\":{},\"ts\":{},\"dur\":{}}},\n",
            to_text(a), name_of(engine), rank, track_of(a.op), time.start * unit_us,
            (time.end - time.start) * unit_us);
      }
    }
  }
  out.resize(out.size() - 2);
  return out + "\n]}\n";
}

}  // namespace lacuna
