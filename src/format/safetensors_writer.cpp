#include "src/format/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/json.h"

namespace lacuna {

namespace {

// A new file that is written from front to back; what goes wrong is named with the path.
class OutputFile {
 public:
  explicit OutputFile(const std::string& path) : path_(path) {
    handle_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    check(handle_ >= 0, "cannot create");
  }
  ~OutputFile() {
    if (handle_ >= 0) ::close(handle_);
  }
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  void write(const void* data, std::size_t bytes) {
    const auto* at = static_cast<const char*>(data);
    while (bytes > 0) {
      const ssize_t done = ::write(handle_, at, std::min<std::size_t>(bytes, 1 << 30));
      if (done < 0 && errno == EINTR) continue;
      check(done > 0, "cannot write");
      at += done;
      bytes -= static_cast<std::size_t>(done);
    }
  }
  void finish() {
    check(::fsync(handle_) == 0, "cannot flush");
    check(::close(std::exchange(handle_, -1)) == 0, "cannot close");
  }

 private:
  void check(bool good, const char* what) const {
    LACUNA_CHECK(good, ErrorKind::Storage, "{}: {}: {}", path_, what, std::strerror(errno));
  }
  std::string path_;
  int handle_ = -1;
};

std::string header_text(const std::vector<const OutputTensor*>& sorted,
                        const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  auto& members = header.get_ref<Json::object_t&>();
  std::uint64_t at = 0;
  for (const OutputTensor* tensor : sorted) {
    LACUNA_ASSERT(members.empty() || members.back().first != tensor->name);
    Json entry = {{"dtype", std::string(name_of(tensor->dtype))},
                  {"shape", tensor->shape},
                  {"data_offsets", {at, at + tensor->bytes()}}};
    members.emplace_back(tensor->name, std::move(entry));
    at += tensor->bytes();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

}  // namespace

std::uint64_t OutputTensor::bytes() const {
  std::uint64_t count = size_of(dtype);
  for (const std::int64_t extent : shape) count *= static_cast<std::uint64_t>(extent);
  return count;
}

void write_safetensors(const std::string& path, const std::vector<OutputTensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<const OutputTensor*> sorted;
  for (const OutputTensor& tensor : tensors) sorted.push_back(&tensor);
  std::sort(sorted.begin(), sorted.end(), [](const OutputTensor* a, const OutputTensor* b) {
    return std::pair(size_of(b->dtype), std::string_view(a->name)) <
           std::pair(size_of(a->dtype), std::string_view(b->name));
  });
  const std::string header = header_text(sorted, metadata);
  const std::uint64_t length = header.size();
  OutputFile file(path);
  file.write(&length, sizeof length);
  file.write(header.data(), header.size());
  for (const OutputTensor* tensor : sorted) {
    const auto buffer = std::make_unique_for_overwrite<std::byte[]>(tensor->bytes());
    tensor->fill(buffer.get());
    file.write(buffer.get(), tensor->bytes());
  }
  file.finish();
}

std::vector<std::string> write_model_shards(const std::string& folder,
                                            const std::vector<OutputTensor>& tensors,
                                            std::uint64_t max_bytes) {
  std::vector<std::vector<OutputTensor>> shards(1);
  std::uint64_t filled = 0, total = 0;
  for (const OutputTensor& tensor : tensors) {
    if (filled > 0 && filled + tensor.bytes() > max_bytes) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().push_back(tensor);
    filled += tensor.bytes();
    total += tensor.bytes();
  }
  const std::map<std::string, std::string> metadata = {{"format", "pt"}};  // transformers asks for it
  if (shards.size() == 1) {
    write_safetensors(folder + "/model.safetensors", tensors, metadata);
    return {"model.safetensors"};
  }
  std::vector<std::string> names;
  std::map<std::string, std::string> weight_map;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    names.push_back(fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size()));
    write_safetensors(folder + "/" + names.back(), shards[i], metadata);
    for (const OutputTensor& tensor : shards[i]) weight_map[tensor.name] = names.back();
  }
  const Json index = {{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}};
  write_file_atomic(folder + "/model.safetensors.index.json", index.dump(2) + "\n");
  names.push_back("model.safetensors.index.json");
  return names;
}

}  // namespace lacuna
