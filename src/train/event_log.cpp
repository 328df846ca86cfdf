#include "src/train/event_log.h"

#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/log.h"

namespace lacuna {

namespace {

double monotonic_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Keeps the whole lines whose "step" is at most `last`; a torn last line is dropped.
void cut_log(const std::string& path, std::int64_t last) {
  if (!std::filesystem::exists(path)) return;
  const std::string text = read_file(path, std::size_t{1} << 32);
  std::string kept;
  for (std::size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
    const std::string line = text.substr(at, end - at);
    const Json entry = parse_json(line, path);
    if (json_int(entry, "step", path) <= last) kept += line + "\n";
  }
  if (kept.size() != text.size()) write_file_atomic(path, kept);
}

std::string clock_text(double seconds) {
  const long s = std::lround(seconds);
  return s >= 3600 ? fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
                   : fmt::format("{}:{:02}", s / 60, s % 60);
}

}  // namespace

EventLog::EventLog(const std::string& folder, std::int64_t first_step, std::int64_t last_step)
    : path_(folder + "/log.jsonl"),
      first_step_(first_step),
      last_step_(last_step),
      started_(monotonic_seconds()),
      terminal_(isatty(STDERR_FILENO) == 1) {
  std::filesystem::create_directories(folder);
  cut_log(path_, first_step);
  file_ = std::fopen(path_.c_str(), "ab");
  LACUNA_CHECK(file_, ErrorKind::Storage, "cannot open {}: {}", path_, std::strerror(errno));
  board_ = std::make_unique<TensorBoardFile>(folder);
}

EventLog::~EventLog() {
  if (file_) std::fclose(file_);
}

void EventLog::write(const std::string& kind, std::int64_t step, const LogValues& values,
                     const std::vector<double>& zeros_per_layer) {
  Json line;
  line["kind"] = kind;
  line["step"] = step;
  for (const auto& [name, value] : values) {
    if (std::isfinite(value))
      line[name] = value;
    else
      line[name] = std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
    board_->scalar(kind + "/" + name, step, value);
  }
  if (!zeros_per_layer.empty()) line["ffn_zeros"] = zeros_per_layer;
  for (std::size_t layer = 0; layer < zeros_per_layer.size(); ++layer)
    board_->scalar(fmt::format("ffn_zeros/layer_{:03}", layer), step, zeros_per_layer[layer]);
  const std::string text = line.dump() + "\n";
  LACUNA_CHECK(std::fwrite(text.data(), 1, text.size(), file_) == text.size() && std::fflush(file_) == 0,
               ErrorKind::Storage, "cannot write {}: {}", path_, std::strerror(errno));
  board_->flush();
}

void EventLog::progress(std::int64_t steps_done, const std::string& text) {
  const double elapsed = monotonic_seconds() - started_;
  const auto done = static_cast<double>(steps_done - first_step_);
  const auto left = static_cast<double>(last_step_ - steps_done);
  const std::string eta = done > 0 ? clock_text(elapsed / done * left) : "?";
  if (!terminal_) {
    log_info("step {}/{} {} · {} left", steps_done, last_step_, text, eta);
    return;
  }
  constexpr int kWidth = 24;
  const int filled = last_step_ > 0 ? static_cast<int>(kWidth * steps_done / last_step_) : kWidth;
  std::string bar;
  for (int i = 0; i < kWidth; ++i) bar += i < filled ? "█" : "░";
  std::fprintf(stderr, "\r\033[K%s %lld/%lld %s · %s left", bar.c_str(), static_cast<long long>(steps_done),
               static_cast<long long>(last_step_), text.c_str(), eta.c_str());
  std::fflush(stderr);
  bar_open_ = true;
}

void EventLog::end_progress() {
  if (bar_open_) std::fputc('\n', stderr);
  bar_open_ = false;
}

}  // namespace lacuna
