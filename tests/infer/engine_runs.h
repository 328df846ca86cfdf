// What the tests of the engine run through it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/base/rng.h"
#include "src/infer/engine.h"

namespace lacuna::test {

inline std::vector<std::int32_t> some_ids(std::size_t count, std::int64_t vocab) {
  std::vector<std::int32_t> out;
  for (std::size_t i = 0; i < count; ++i)
    out.push_back(static_cast<std::int32_t>(rng_below(5, i, static_cast<std::uint64_t>(vocab))));
  return out;
}

// Of every position, from an empty context.
inline std::vector<float> all_logits(Engine& engine, std::span<const std::int32_t> ids) {
  std::vector<float> out;
  engine.reset();
  engine.score(ids, [&](std::int64_t, ConstRows logits) {
    for (std::int64_t t = 0; t < logits.count; ++t)
      out.insert(out.end(), logits.row(t), logits.row(t) + logits.width);
  });
  return out;
}

}  // namespace lacuna::test
