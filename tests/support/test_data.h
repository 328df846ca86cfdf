// Where tests find real models and texts: $LACUNA_TEST_DATA, or ../shared/data beside the checkout.
#pragma once

#include <string>

namespace lacuna::test {

// The folder of test data. Throws Error(BadInput) with the searched places when there is none.
std::string data_folder();

// A fresh empty folder below the system's temporary folder, removed when the object dies.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace lacuna::test
