#include "tests/support/test_data.h"

#include <stdlib.h>

#include <cstdlib>
#include <filesystem>

#include "src/base/error.h"

namespace lacuna::test {

std::string data_folder() {
  if (const char* named = std::getenv("LACUNA_TEST_DATA")) return named;
  const std::string beside = "../shared/data";  // tests run from the root of the checkout
  if (std::filesystem::is_directory(beside)) return beside;
  fail(ErrorKind::BadInput, "no test data: set LACUNA_TEST_DATA, or run from a checkout beside shared/data");
}

TempFolder::TempFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "lacuna-test-XXXXXX").string();
  if (!mkdtemp(pattern.data())) fail(ErrorKind::Storage, "cannot make a temporary folder like {}", pattern);
  path_ = pattern;
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace lacuna::test
