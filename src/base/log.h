// Text for people goes to stderr, one line a message, with the rank in front when there are several.
// stdout belongs to results (--json prints exactly one object there).
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace lacuna {

// What this process (or thread, for local ranks) is called in its lines; rank < 0: no prefix.
void set_log_rank(int rank, int world);
void set_log_quiet(bool quiet);  // information is dropped, warnings stay

void log_line(std::string_view level, std::string_view text);  // level "", "warning", "error"

template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  log_line("", fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  log_line("warning", fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace lacuna
