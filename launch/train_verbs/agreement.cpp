#include "launch/train_verbs/agreement.h"

#include <vector>

#include "launch/train_verbs/failure.h"
#include "src/base/log.h"

namespace lacuna {

void agree(Communicator& world, const std::function<void()>& body) {
  int code = 0;
  std::string message;
  try {
    body();
  } catch (const std::exception& any) {
    const Failure failure = describe(any);
    code = static_cast<int>(failure.kind);
    message = failure.text;
  }
  std::vector<int> codes(static_cast<std::size_t>(world.size()));
  world.all_gather(std::as_bytes(std::span(&code, 1)), std::as_writable_bytes(std::span(codes)));
  for (int rank = 0; rank < world.size(); ++rank) {
    if (codes[static_cast<std::size_t>(rank)] == 0) continue;
    if (rank == world.rank()) log_line("error", message);
    throw AgreedFailure{codes[static_cast<std::size_t>(rank)]};
  }
}

}  // namespace lacuna
