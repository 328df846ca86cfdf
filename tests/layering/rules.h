// The rules of the architecture as functions over texts, so that tests can show that each rule catches its
// breach. Every function returns complaints, one line each; none is good.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

namespace lacuna::layering {

using Complaints = std::vector<std::string>;

// The module table of CMakeLists.txt: folder -> every folder it may include, itself among them.
struct Modules {
  std::map<std::string, std::set<std::string>> may_include;
  std::map<std::string, std::set<std::string>> direct;
  // The module that `path` belongs to: its own folder, or the nearest one above (headers of a folder without
  // sources of its own, as kernels/x.h for kernels/cpu); "" if none.
  std::string module_of(const std::string& path) const;
};

Modules read_modules(const std::string& cmake_text);

// Floor of a folder in docs of the architecture, 0 at the bottom; -1 for a folder that is on no floor.
int floor_of(const std::string& folder);

// A module may depend only on its own floor or lower ones, and on nothing that depends on it.
Complaints check_floors(const Modules& modules);

// The #include lines of one source: repository headers only from modules that the table allows, libraries
// only in their rooms.
Complaints check_includes(const std::string& path, const std::string& text, const Modules& modules);

// No file above 600 lines.
Complaints check_size(const std::string& path, const std::string& text);

// Names of recipes (folders below recipes/) as words. The activation drelu is a property of a model and is
// not looked for.
Complaints check_recipe_names(const std::string& path, const std::string& text,
                              const std::set<std::string>& recipes);

// Paths of the repository that a page names: src/..., launch/..., without those that hold a wildcard.
std::set<std::string> named_paths(const std::string& page);

}  // namespace lacuna::layering
