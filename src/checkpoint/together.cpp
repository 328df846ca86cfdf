#include "src/checkpoint/together.h"

#include <new>
#include <optional>
#include <span>

#include "src/base/error.h"

namespace lacuna {

namespace {

// What one rank tells the others: kind 0 and its text, or the kind and message of its error.
struct Outcome {
  int kind = 0;
  std::string text;
};

Outcome outcome_of(const std::function<std::string()>& body) {
  try {
    return {0, body()};
  } catch (const Error& error) {
    return {error.exit_code(), error.what()};
  } catch (const std::bad_alloc&) {
    return {static_cast<int>(ErrorKind::NoFit), "out of memory"};
  } catch (const std::exception& error) {
    return {static_cast<int>(ErrorKind::Internal), error.what()};
  }
}

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span<const T, 1>(&value, 1));
}

std::vector<Outcome> exchange(Communicator& world, const Outcome& mine) {
  struct Header {
    std::int64_t kind, bytes;
  };
  const auto ranks = static_cast<std::size_t>(world.size());
  const Header header{mine.kind, static_cast<std::int64_t>(mine.text.size())};
  std::vector<Header> headers(ranks);
  world.all_gather(bytes_of(header), std::as_writable_bytes(std::span(headers)));
  std::vector<std::size_t> counts;
  std::size_t total = 0;
  for (const Header& h : headers) total += counts.emplace_back(static_cast<std::size_t>(h.bytes));
  std::string all(total, '\0');
  world.all_gather_v(std::as_bytes(std::span(mine.text)), counts, std::as_writable_bytes(std::span(all)));
  std::vector<Outcome> out;
  std::size_t at = 0;
  for (std::size_t r = 0; r < ranks; ++r) {
    out.push_back({static_cast<int>(headers[r].kind), all.substr(at, counts[r])});
    at += counts[r];
  }
  return out;
}

}  // namespace

std::vector<std::string> together(Communicator& world, const std::string& doing,
                                  const std::function<std::string()>& body) {
  const std::vector<Outcome> outcomes = exchange(world, outcome_of(body));
  std::vector<std::string> texts;
  for (std::size_t r = 0; r < outcomes.size(); ++r) {
    if (outcomes[r].kind != 0)
      throw Error(static_cast<ErrorKind>(outcomes[r].kind),
                  fmt::format("rank {}: {} (while {})", r, outcomes[r].text, doing));
    texts.push_back(outcomes[r].text);
  }
  return texts;
}

std::string rank0_alone(Communicator& world, const std::string& doing,
                        const std::function<std::string()>& body) {
  return together(world, doing, [&] { return world.rank() == 0 ? body() : std::string(); }).front();
}

}  // namespace lacuna
