#include "src/infer/generate.h"

#include <algorithm>
#include <chrono>

#include "src/base/error.h"

namespace lacuna {

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

bool ends_text(const Engine& engine, const Tokenizer& tokenizer, std::int32_t id) {
  const std::vector<std::int64_t>& listed = engine.config().eos_ids;
  return std::find(listed.begin(), listed.end(), id) != listed.end() || tokenizer.is_eos(id);
}

}  // namespace

std::string StopWatch::push(std::string_view text) {
  if (found_) return {};
  held_ += text;
  std::size_t cut = std::string::npos;
  for (const std::string& stop : stops_) cut = std::min(cut, held_.find(stop));
  if (cut != std::string::npos) {
    found_ = true;
    held_.resize(cut);
    return std::exchange(held_, {});
  }
  std::size_t keep = 0;  // the longest end of held_ that begins a stop text
  for (const std::string& stop : stops_)
    for (std::size_t n = std::min(stop.size() - 1, held_.size()); n > keep; --n)
      if (std::string_view(held_).substr(held_.size() - n) == std::string_view(stop).substr(0, n)) keep = n;
  std::string out = held_.substr(0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return out;
}

std::string StopWatch::finish() {
  return std::exchange(held_, {});
}

Generation generate(Engine& engine, const Tokenizer& tokenizer, std::span<const std::int32_t> prompt,
                    const GenerateOptions& options, const std::function<void(std::string_view)>& on_text) {
  options.sampler.check();
  LACUNA_CHECK(options.max_tokens >= 0, ErrorKind::Usage, "--max-tokens is {}, wanted >= 0",
               options.max_tokens);
  for (const std::string& stop : options.stop)
    LACUNA_CHECK(!stop.empty(), ErrorKind::Usage, "--stop with an empty text would stop at once");
  LACUNA_CHECK(!prompt.empty(), ErrorKind::Usage,
               "the prompt has no token; give some text, or --special for the begin-of-text token");
  Generation out;
  StopWatch watch(options.stop);
  TextStream stream = tokenizer.stream();
  const auto emit = [&](const std::string& text) {
    if (text.empty()) return;
    out.text += text;
    if (on_text) on_text(text);
  };
  const auto next_after = [&](std::span<const std::int32_t> tokens, std::int64_t index) {
    if (options.sampler.temperature == 0) return engine.prefill_greedy(tokens);
    return sample(engine.prefill(tokens), options.sampler, static_cast<std::uint64_t>(index));
  };
  engine.reset();
  auto start = std::chrono::steady_clock::now();
  std::int32_t next = next_after(prompt, 0);
  out.prefill_seconds = seconds_since(start);
  start = std::chrono::steady_clock::now();
  while (out.finish.empty()) {
    const auto made = static_cast<std::int64_t>(out.ids.size());
    if (made == options.max_tokens) {
      out.finish = "length";
      break;
    }
    const std::int32_t id = next;
    out.ids.push_back(id);
    if (!options.ignore_eos && ends_text(engine, tokenizer, id)) {
      out.finish = "eos";
      break;
    }
    if (!tokenizer.is_special(id)) emit(watch.push(stream.push(id)));
    if (watch.found()) {
      out.finish = "stop";
    } else if (made + 1 == options.max_tokens) {
      out.finish = "length";
    } else if (engine.position() == engine.context()) {
      out.finish = "context";
    } else {
      next = next_after({&id, 1}, made + 1);
      ++out.decode_steps;
    }
  }
  out.decode_seconds = seconds_since(start);
  if (!watch.found()) {
    emit(watch.push(stream.finish()));
    emit(watch.finish());
    if (watch.found()) out.finish = "stop";
  }
  return out;
}

}  // namespace lacuna
