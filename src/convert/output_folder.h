// An output folder that appears whole or not at all: written under a temporary name beside its place, then
// renamed. What stood there is replaced only where the caller says that it is of a kind it may replace.
#pragma once

#include <functional>
#include <string>

namespace lacuna {

class OutputFolder {
 public:
  // Makes "<path>.tmp-<process>". An existing `path` that is not an empty folder is Error(Usage), unless
  // `force` is set and replaceable(path) says yes. Error(Storage) when it cannot be made.
  OutputFolder(const std::string& path, bool force,
               const std::function<bool(const std::string&)>& replaceable);
  ~OutputFolder();  // removes the temporary folder unless committed
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::string& temporary() const { return temporary_; }
  const std::string& path() const { return path_; }
  void commit();

 private:
  std::string path_, temporary_;
  bool committed_ = false;
};

}  // namespace lacuna
