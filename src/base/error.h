// The one exception type. Its kind is the exit code of the program, its context grows while it unwinds.
#pragma once

#include <fmt/format.h>

#include <exception>
#include <string>
#include <utility>

namespace lacuna {

enum class ErrorKind : int {
  Usage = 64,       // command line or configuration
  BadInput = 65,    // bad model, data or checkpoint
  NoFit = 69,       // does not fit; also out of memory
  Internal = 70,    // a broken invariant of ours
  Storage = 74,     // full disk, I/O
  Hang = 75,        // hang or lost peer: retry
  Permission = 77,  // not allowed to
  Stopped = 80,     // stopped on request, saved
  Numeric = 81,     // the numeric guard is exhausted
};

class Error : public std::exception {
 public:
  Error(ErrorKind kind, std::string message) : kind_(kind), text_(std::move(message)) {}
  ErrorKind kind() const { return kind_; }
  int exit_code() const { return static_cast<int>(kind_); }
  const char* what() const noexcept override { return text_.c_str(); }
  // Adds " (while <doing>)"; the innermost context comes first. The text stays one line.
  void add_context(const std::string& doing) { text_ += " (while " + doing + ")"; }

 private:
  ErrorKind kind_;
  std::string text_;
};

template <class... Args>
[[noreturn]] void fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(kind, fmt::format(format, std::forward<Args>(args)...));
}

// Runs body(); an Error that passes through gets "(while <doing>)" appended.
template <class Body>
decltype(auto) with_context(const std::string& doing, Body&& body) {
  try {
    return std::forward<Body>(body)();
  } catch (Error& error) {
    error.add_context(doing);
    throw;
  }
}

// A user's or a file's mistake: LACUNA_CHECK(rows == want, ErrorKind::BadInput, "{}: {} rows, wanted {}", ...).
#define LACUNA_CHECK(condition, kind, ...)                         \
  do {                                                             \
    if (!(condition)) [[unlikely]] ::lacuna::fail(kind, __VA_ARGS__); \
  } while (0)

// Our own mistake: names the place and the condition; on in every build.
#define LACUNA_ASSERT(condition)                                                                      \
  do {                                                                                                \
    if (!(condition)) [[unlikely]]                                                                    \
      ::lacuna::fail(::lacuna::ErrorKind::Internal, "broken invariant {} at {}:{}", #condition, __FILE__, \
                     __LINE__);                                                                       \
  } while (0)

}  // namespace lacuna
