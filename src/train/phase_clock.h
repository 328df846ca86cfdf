// Seconds of a piece of work by phase, for the line that says where the time went. Phases may nest: a second
// counts for the innermost one alone. At the ends of a phase a GPU is waited for, so that its work counts
// where it was issued.
#pragma once

#include <c10/core/Device.h>

#include <chrono>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace lacuna {

class PhaseClock {
 public:
  explicit PhaseClock(at::Device device) : device_(device), mark_(Clock::now()) {}

  // body(), and what it returns, in phase `name`.
  template <class Body>
  std::invoke_result_t<Body> in(const std::string& name, Body&& body) {
    const std::size_t around = begin(name);
    if constexpr (std::is_void_v<std::invoke_result_t<Body>>) {
      body();
      end(around);
    } else {
      std::invoke_result_t<Body> result = body();
      end(around);
      return result;
    }
  }

  // Phases in the order of their first appearance; what lay outside all of them comes last, as "other".
  std::vector<std::pair<std::string, double>> seconds();
  // "12.3 s = inputs 0.6 + clusters 3.1 + other 8.6".
  std::string text();

 private:
  using Clock = std::chrono::steady_clock;
  std::size_t begin(const std::string& name);  // returns the phase around it
  void end(std::size_t around);
  void settle();  // what has passed since the last mark goes to the current phase

  at::Device device_;
  Clock::time_point mark_;
  std::vector<std::pair<std::string, double>> phases_{{"other", 0.0}};
  std::size_t current_ = 0;
};

}  // namespace lacuna
