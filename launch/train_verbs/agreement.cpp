#include "launch/train_verbs/agreement.h"

#include <new>
#include <vector>

#include "src/base/error.h"
#include "src/base/log.h"

namespace lacuna {

void agree(Communicator& world, const std::function<void()>& body) {
  int code = 0;
  std::string message;
  try {
    body();
  } catch (const Error& error) {
    code = error.exit_code();
    message = error.what();
  } catch (const std::bad_alloc&) {
    code = static_cast<int>(ErrorKind::NoFit);
    message = "out of memory";
  } catch (const std::exception& error) {
    code = static_cast<int>(ErrorKind::Internal);
    message = error.what();
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
