#include "parallel/plan/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "src/base/error.h"

namespace lacuna {

std::string to_text(const Action& action) {
  std::string text = fmt::format("{}{}", action.stage, short_name(action.op));
  if (action.op != Op::Reduce) text += std::to_string(action.micro);
  if (engine_of(action.op) == Engine::Copy) text += fmt::format(".{}>{}", action.piece, action.guest);
  return text;
}

}  // namespace lacuna
