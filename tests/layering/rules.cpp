#include "tests/layering/rules.h"

#include <algorithm>
#include <functional>
#include <regex>
#include <sstream>

#include "src/base/error.h"

namespace lacuna::layering {
namespace {

const std::string kRooms = "src|parallel|optim|kernels|recipes|launch|tests|docs";

bool starts_with(const std::string& text, const std::string& part) {
  return text.rfind(part, 0) == 0;
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

bool below(const std::string& path, const std::string& folder) {
  return starts_with(path, folder + "/");
}

// A library, the pattern of its headers, and the folders that may include them.
struct Room {
  const char* library;
  const char* headers;
  std::vector<std::string> folders;
};

const std::vector<Room>& rooms() {
  static const std::vector<Room> all = {
      {"torch",
       "^(ATen|c10|torch|caffe2)/",
       {"src/model", "optim", "src/train", "recipes", "launch/train_verbs", "tests"}},
      {"MPI", "^mpi\\.h$", {"parallel/run/mpi", "tests/parallel/run/mpi"}},
      {"NCCL", "^nccl", {"parallel/run/nccl"}},
      {"HDF5", "^(hdf5|H5[A-Za-z]*|hdf5_hl)\\.h$", {"src/h5", "tests/h5"}},
      {"Boost", "^boost/", {}},
      {"GoogleTest", "^g(test|mock)/", {"tests"}},
      {"CUDA",
       "^(cuda|cublas|cudnn|nvtx3/)",
       {"kernels/cuda", "src/infer", "src/model", "parallel/run/cuda", "parallel/run/nccl", "tests"}},
  };
  return all;
}

}  // namespace

std::string Modules::module_of(const std::string& path) const {
  for (std::string folder = folder_of(path); !folder.empty(); folder = folder_of(folder))
    if (may_include.count(folder) > 0) return folder;
  return "";
}

Modules read_modules(const std::string& cmake_text) {
  std::map<std::string, std::string> folder_of_name;
  std::map<std::string, std::vector<std::string>> names;  // folder -> names of its dependencies
  const std::regex line(
      "lacuna_module\\(\\s*(\\w+)\\s+([\\w/"
      "]+)(?:\\s+CUDA)?(?:\\s+LIBS(?:\\s+lib_\\w+)+)?(?:\\s+DEPS\\s+([^)]*))?\\)");
  for (std::sregex_iterator at(cmake_text.begin(), cmake_text.end(), line), end; at != end; ++at) {
    folder_of_name[(*at)[1]] = (*at)[2];
    std::istringstream words((*at)[3]);
    std::string word;
    names[(*at)[2]];
    while (words >> word) names[(*at)[2]].push_back(word);
  }
  Modules out;
  for (const auto& [folder, words] : names)
    for (const std::string& word : words)
      if (folder_of_name.count(word) > 0) out.direct[folder].insert(folder_of_name[word]);
  for (const auto& [folder, words] : names) {
    std::set<std::string>& reached = out.may_include[folder];
    const std::function<void(const std::string&)> walk = [&](const std::string& next) {
      if (!reached.insert(next).second) return;
      for (const std::string& dep : out.direct[next]) walk(dep);
    };
    walk(folder);
  }
  return out;
}

int floor_of(const std::string& folder) {
  static const std::vector<std::pair<std::string, int>> floors = {
      {"src/base", 0},       {"parallel/plan", 1}, {"src/arch", 1}, {"parallel/run", 2}, {"src/format", 2},
      {"src/text", 2},       {"src/h5", 2},        {"kernels", 2},  {"src/model", 3},    {"src/infer", 3},
      {"src/checkpoint", 3}, {"src/data", 3},      {"optim", 3},    {"src/train", 4},    {"src/convert", 4},
      {"src/eval", 4},       {"src/report", 4},    {"recipes", 5},  {"launch", 6}};
  for (const auto& [name, floor] : floors)
    if (folder == name || below(folder, name)) return floor;
  return -1;
}

Complaints check_floors(const Modules& modules) {
  Complaints out;
  for (const auto& [folder, reached] : modules.may_include) {
    if (floor_of(folder) < 0) out.push_back(folder + " stands on no floor");
    for (const std::string& other : reached) {
      if (other == folder) continue;
      if (floor_of(other) > floor_of(folder))
        out.push_back(fmt::format("{} (floor {}) depends on {} (floor {})", folder, floor_of(folder), other,
                                  floor_of(other)));
      if (modules.may_include.at(other).count(folder) > 0)
        out.push_back(fmt::format("{} and {} depend on each other", folder, other));
    }
  }
  return out;
}

Complaints check_includes(const std::string& path, const std::string& text, const Modules& modules) {
  Complaints out;
  const bool is_test = starts_with(path, "tests/");
  const std::string own = modules.module_of(path);
  if (!is_test && own.empty()) return {path + " belongs to no module of CMakeLists.txt"};
  std::istringstream lines(text);
  std::string line;
  const std::regex include("^\\s*#\\s*include\\s*([<\"])([^>\"]+)[>\"].*");
  for (int number = 1; std::getline(lines, line); ++number) {
    std::smatch found;
    if (!std::regex_match(line, found, include)) continue;
    const std::string header = found[2];
    const auto complain = [&](const std::string& what) {
      out.push_back(fmt::format("{}:{}: {}", path, number, what));
    };
    if (found[1] == "\"") {
      const std::string other = modules.module_of(header);
      if (starts_with(header, "tests/")) {
        if (!is_test) complain(header + " is a test's");
      } else if (other.empty()) {
        complain(header + " is not named from the root of the repository");
      } else if (!is_test && modules.may_include.at(own).count(other) == 0 && !below(own, other)) {
        complain(fmt::format("{} may not include {}", own, other));
      }
      continue;
    }
    for (const Room& room : rooms()) {
      if (!std::regex_search(header, std::regex(room.headers))) continue;
      if (std::none_of(room.folders.begin(), room.folders.end(),
                       [&](const auto& f) { return below(path, f); }))
        complain(fmt::format("{} of {} outside its room", header, room.library));
    }
  }
  return out;
}

Complaints check_size(const std::string& path, const std::string& text) {
  const auto lines = std::count(text.begin(), text.end(), '\n');
  if (lines <= 600) return {};
  return {fmt::format("{}: {} lines, the wall is 600", path, lines)};
}

Complaints check_recipe_names(const std::string& path, const std::string& text,
                              const std::set<std::string>& recipes) {
  for (const char* room : {"recipes", "launch", "tests", "docs"})
    if (below(path, room)) return {};
  std::string names;  // one pattern: a regex search over every source is what this costs
  for (const std::string& recipe : recipes)
    if (recipe != "drelu" && recipe != "common") names += (names.empty() ? "" : "|") + recipe;
  if (names.empty()) return {};
  const std::regex words("\\b(" + names + ")\\b", std::regex::icase);
  Complaints out;
  for (std::sregex_iterator at(text.begin(), text.end(), words), end; at != end; ++at)
    out.push_back(fmt::format("{} names the recipe {}", path, at->str()));
  return out;
}

std::set<std::string> named_paths(const std::string& page) {
  std::set<std::string> out;
  const std::regex path("(^|[\\s`(\\[\"'./])((" + kRooms + ")/[^\\s`()\\[\\]\"',;:|]*)");
  for (std::sregex_iterator at(page.begin(), page.end(), path), end; at != end; ++at) {
    std::string name = (*at)[2];
    if (name.find_first_of("*{}<>$…") != std::string::npos) continue;
    while (!name.empty() && (name.back() == '.' || name.back() == '/')) name.pop_back();
    const std::size_t anchor = name.find('#');
    out.insert(name.substr(0, anchor));
  }
  return out;
}

}  // namespace lacuna::layering
