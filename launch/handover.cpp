#include "launch/handover.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "launch/mpirun.h"
#include "src/base/error.h"
#include "src/base/fields.h"
#include "src/base/file.h"

namespace lacuna {
namespace {

bool is_file(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

// The build writes the torch folder it linked against into `lacuna-train.torch` beside the program. Another
// folder can be named with LACUNA_TORCH; the loader then looks there first.
void find_torch(const std::string& folder) {
  const char* named = std::getenv("LACUNA_TORCH");
  std::string torch = named ? named : "";
  if (torch.empty() && is_file(folder + "/lacuna-train.torch")) {
    torch = read_file(folder + "/lacuna-train.torch", 4096);
    while (!torch.empty() && torch.back() == '\n') torch.pop_back();
  }
  if (torch.empty()) return;  // linked into a place of the system: the loader's business
  LACUNA_CHECK(
      is_file(torch + "/lib/libtorch_cpu.so"), ErrorKind::Usage,
      "no libtorch at {}{}: run launch/setup.sh, or set LACUNA_TORCH to the folder 'torch' of a torch 2.11 "
      "wheel",
      printable(torch), named ? " (from LACUNA_TORCH)" : ", where it was when lacuna-train was built");
  if (!named) return;
  const char* before = std::getenv("LD_LIBRARY_PATH");
  const std::string path = torch + "/lib" + (before && *before ? std::string(":") + before : "");
  ::setenv("LD_LIBRARY_PATH", path.c_str(), 1);
}

int run_train(const std::vector<std::string>& arguments) {
  return hand_over("train", arguments);
}
int run_recipe(const std::vector<std::string>& arguments) {
  return hand_over("recipe", arguments);
}

}  // namespace

std::vector<Verb> handed_verbs() {
  return {{"train", "pretrains or fine-tunes a model, pipeline x tensor x data parallel",
           "mpirun -n 4 lacuna train --arch tiny.ini --data tokens.h5 -o RUN --pp 2 --tp 2 --global-batch 16 "
           "--micro-batch 2 --seq-len 256 --steps 1000 --lr 1e-3",
           run_train},
          {"recipe", "makes a model sparse: recipe ls, recipe show NAME, recipe NAME",
           "mpirun -n 4 lacuna recipe drelu -m MODEL --data tokens.h5 -o RUN --pp 2 --tp 2 --global-batch 16 "
           "--micro-batch 2 --seq-len 256 --steps 500 --lr 5e-4",
           run_recipe}};
}

int take_ranks(std::vector<std::string>& arguments) {
  int ranks = 0;
  for (std::size_t i = 0; i < arguments.size() && arguments[i] != "--"; ++i) {
    const bool joined = arguments[i].rfind("--ranks=", 0) == 0;
    if (!joined && arguments[i] != "--ranks") continue;
    LACUNA_CHECK(ranks == 0, ErrorKind::Usage, "--ranks is given twice");
    LACUNA_CHECK(joined || i + 1 < arguments.size(), ErrorKind::Usage, "--ranks needs a value");
    const std::string text = joined ? arguments[i].substr(8) : arguments[i + 1];
    with_context("reading --ranks", [&] { from_text(text, ranks); });
    LACUNA_CHECK(ranks >= 1, ErrorKind::Usage, "--ranks {}: wanted at least 1", ranks);
    const auto at = arguments.begin() + static_cast<std::ptrdiff_t>(i);
    arguments.erase(at, at + (joined ? 1 : 2));
    --i;
  }
  return ranks;
}

std::string own_folder() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  LACUNA_CHECK(!error, ErrorKind::Internal, "cannot read /proc/self/exe: {}", error.message());
  return self.parent_path().string();
}

int hand_over(const std::string& verb, const std::vector<std::string>& arguments) {
  const std::string folder = own_folder();
  const std::string program = folder + "/lacuna-train";
  LACUNA_CHECK(
      is_file(program), ErrorKind::Usage,
      "'{}' needs {}, which is not there: build with -DLACUNA_TRAIN=ON and libtorch (launch/setup.sh does)",
      verb, printable(program));
  find_torch(folder);
  std::vector<std::string> words = {program, verb};
  words.insert(words.end(), arguments.begin(), arguments.end());
  const int ranks = take_ranks(words);
  if (ranks > 0 && !started_as_rank()) return run_mpirun({ranks, words});
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::execv(program.c_str(), argv.data());
  fail(ErrorKind::Internal, "cannot start {}: {}", printable(program), std::strerror(errno));
}

}  // namespace lacuna
