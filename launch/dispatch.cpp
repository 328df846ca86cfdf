#include "launch/dispatch.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>

#include "launch/command_line.h"
#include "launch/output.h"
#include "src/base/error.h"
#include "src/base/file.h"

namespace lacuna {
namespace {

// One write, so that the line stays whole among the lines of other ranks.
void complain(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  text = "lacuna: error: " + text + "\n";
  if (::write(STDERR_FILENO, text.data(), text.size()) < 0) return;  // nobody listens
}

int unknown_verb(const std::vector<Verb>& verbs, const std::string& name) {
  std::vector<std::string> names;
  for (const Verb& verb : verbs) names.emplace_back(verb.name);
  std::vector<std::string> near = closest(name, names);
  std::string text = fmt::format("unknown verb '{}'", printable(name));
  if (!near.empty()) text += fmt::format("; did you mean {}?", fmt::join(near, ", "));
  text += fmt::format(" The verbs are: {} (lacuna --help)", fmt::join(names, ", "));
  complain(text);
  return static_cast<int>(ErrorKind::Usage);
}

}  // namespace

std::string program_help(const std::vector<Verb>& verbs) {
  std::string out =
      "lacuna " LACUNA_VERSION
      ": turns a dense LLaMA-like checkpoint into a sparse one and runs it\n\nusage: lacuna VERB [FLAGS]\n\n";
  std::size_t width = 0;
  for (const Verb& verb : verbs) width = std::max(width, std::string(verb.name).size());
  for (const Verb& verb : verbs) {
    out += fmt::format("  {:<{}}  {}\n", verb.name, width, verb.summary);
    out += fmt::format("  {:<{}}    {}\n", "", width, verb.example);
  }
  out +=
      "\nlacuna VERB --help lists a verb's flags. Exit codes: 0 done, 64 usage or configuration, 65 bad "
      "model, data\n"
      "or checkpoint, 69 does not fit, 70 internal, 74 storage, 75 hang or lost peer (retry), 77 "
      "permission,\n"
      "80 stopped on request and saved, 81 numeric guard exhausted, 128+n signal.\n";
  return out;
}

int run_guarded(int (*body)(const std::vector<std::string>&), const std::vector<std::string>& arguments) {
  try {
    return body(arguments);
  } catch (const Error& error) {
    complain(error.what());
    return error.exit_code();
  } catch (const std::bad_alloc&) {
    complain("out of memory");
    return static_cast<int>(ErrorKind::NoFit);
  } catch (const std::exception& error) {
    complain(fmt::format("internal: {}", error.what()));
  } catch (...) {
    complain("internal: an exception of unknown type");
  }
  return static_cast<int>(ErrorKind::Internal);
}

int run_program(const std::vector<Verb>& verbs, int argc, char** argv) {
  const std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h" || arguments[0] == "help") {
    std::fputs(program_help(verbs).c_str(), arguments.empty() ? stderr : stdout);
    return arguments.empty() ? static_cast<int>(ErrorKind::Usage) : 0;
  }
  if (arguments[0] == "--version") {
    std::puts("lacuna " LACUNA_VERSION);
    return 0;
  }
  for (const Verb& verb : verbs)
    if (arguments[0] == verb.name) return run_guarded(verb.run, {arguments.begin() + 1, arguments.end()});
  return unknown_verb(verbs, arguments[0]);
}

}  // namespace lacuna
