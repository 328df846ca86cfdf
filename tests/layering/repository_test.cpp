// The repository itself under the rules: include arrows, rooms of libraries, sizes, recipe names, paths in
// docs.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "src/base/file.h"
#include "tests/layering/rules.h"

namespace lacuna::layering {
namespace {

namespace fs = std::filesystem;

// Files below the rooms of the repository with one of the endings, as paths from the root.
std::vector<std::string> files(const std::vector<std::string>& rooms,
                               const std::vector<std::string>& endings) {
  std::vector<std::string> out;
  for (const std::string& room : rooms) {
    if (!fs::exists(room)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(room))
      if (entry.is_regular_file() &&
          std::find(endings.begin(), endings.end(), entry.path().extension()) != endings.end())
        out.push_back(entry.path().string());
  }
  return out;
}

std::vector<std::string> sources() {
  return files({"src", "parallel", "optim", "kernels", "recipes", "launch", "tests"},
               {".h", ".cpp", ".cu", ".cuh"});
}

std::string text_of(const std::string& path) {
  return read_file(path, 10'000'000);
}

std::string joined(const Complaints& complaints) {
  std::string out;
  for (const std::string& line : complaints) out += line + "\n";
  return out;
}

Modules modules() {
  return read_modules(text_of("CMakeLists.txt"));
}

TEST(Repository, ModuleTableKeepsTheFloors) {
  EXPECT_GE(modules().may_include.size(), 20u);
  EXPECT_EQ(joined(check_floors(modules())), "");
}

TEST(Repository, IncludesFollowTheModuleTable) {
  const Modules table = modules();
  const auto all = sources();
  EXPECT_GE(all.size(), 50u);
  Complaints complaints;
  for (const std::string& path : all) {
    if (path.rfind("launch/program/", 0) == 0) continue;  // the two mains see everything that they link
    const Complaints more = check_includes(path, text_of(path), table);
    complaints.insert(complaints.end(), more.begin(), more.end());
  }
  EXPECT_EQ(joined(complaints), "");
}

TEST(Repository, NoSourceIsAboveTheWall) {
  Complaints complaints;
  for (const std::string& path : sources()) {
    const Complaints more = check_size(path, text_of(path));
    complaints.insert(complaints.end(), more.begin(), more.end());
  }
  EXPECT_EQ(joined(complaints), "");
}

TEST(Repository, NoRecipeIsNamedOutsideItsRooms) {
  std::set<std::string> recipes = {"prosparse", "lte", "cmoe", "fusegpt", "teal", "wina", "cats", "tda"};
  if (fs::exists("recipes"))
    for (const auto& entry : fs::directory_iterator("recipes"))
      if (entry.is_directory()) recipes.insert(entry.path().filename().string());
  Complaints complaints;
  for (const std::string& path : sources()) {
    const Complaints more = check_recipe_names(path, text_of(path), recipes);
    complaints.insert(complaints.end(), more.begin(), more.end());
  }
  EXPECT_EQ(joined(complaints), "");
}

TEST(Repository, PathsNamedInDocumentationExist) {
  std::vector<std::string> pages = files({"docs"}, {".md"});
  for (const char* page : {"README.md", "CONTRIBUTING.md", "CHANGELOG.md"})
    if (fs::exists(page)) pages.push_back(page);
  std::string missing;
  for (const std::string& page : pages)
    for (const std::string& path : named_paths(text_of(page)))
      if (!fs::exists(path)) missing += page + " names " + path + ", which is not there\n";
  EXPECT_EQ(missing, "");
}

}  // namespace
}  // namespace lacuna::layering
