#include "recipes/cmoe/calib_writer.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/checkpoint/together.h"

namespace lacuna {

namespace {

constexpr std::int64_t kBlockBytes = 16 << 20;  // of rows that travel at a time
constexpr int kTag = 0;

struct Named {
  std::string name;
  at::Tensor values;  // on the CPU, contiguous
};

std::vector<Named> datasets_of(const CalibWriter::Measured& measured) {
  const NeuronStatistics& s = measured.statistics;
  std::vector<Named> out = {{"inputs", measured.layer.inputs},
                            {"output_moment", measured.layer.output_moment},
                            {"counts", s.counts},
                            {"mean", s.mean},
                            {"second", s.second},
                            {"peak", s.peak},
                            {"input_mean", s.input_mean},
                            {"input_second", s.input_second},
                            {"top_neurons", s.top_neurons}};
  std::erase_if(out, [](const Named& each) { return !each.values.defined(); });
  for (Named& each : out) each.values = each.values.cpu().contiguous();
  return out;
}

// ---- a layer's way to rank 0: a text that lists its datasets, then their rows, block after block

struct Announced {
  std::string name;
  DType dtype = DType::U8;
  std::vector<std::int64_t> shape;
};

struct Announcement {
  std::string weights;
  std::vector<Announced> datasets;
};

std::string to_text(const std::string& weights, const std::vector<Named>& datasets) {
  Json out;
  out["weights"] = weights;
  for (const Named& each : datasets)
    out["datasets"].push_back({{"name", each.name},
                               {"dtype", std::string(name_of(calib_type(each.values)))},
                               {"shape", each.values.sizes().vec()}});
  return out.dump();
}

Announcement announcement_of(const std::string& text) {
  const Json json = Json::parse(text);
  Announcement out{json["weights"].get<std::string>(), {}};
  for (const Json& each : json["datasets"])
    out.datasets.push_back({each["name"].get<std::string>(), parse_dtype(each["dtype"].get<std::string>()),
                            each["shape"].get<std::vector<std::int64_t>>()});
  return out;
}

// Blocks of whole rows [first, first + count) of a dataset with their place among its bytes; both ends cut
// alike.
struct Block {
  std::int64_t first = 0, count = 0;
  std::size_t at = 0, bytes = 0;
};

std::vector<Block> blocks_of(const std::vector<std::int64_t>& shape, DType dtype) {
  auto row = static_cast<std::int64_t>(size_of(dtype));
  for (std::size_t d = 1; d < shape.size(); ++d) row *= shape[d];
  const std::int64_t rows = std::max<std::int64_t>(1, kBlockBytes / std::max<std::int64_t>(row, 1));
  std::vector<Block> out;
  for (std::int64_t first = 0; first < shape.at(0); first += rows) {
    const std::int64_t count = std::min(rows, shape[0] - first);
    out.push_back(
        {first, count, static_cast<std::size_t>(first * row), static_cast<std::size_t>(count * row)});
  }
  return out;
}

void write_block(h5::Dataset& set, const Block& block, const void* data) {
  std::vector<std::int64_t> offset(set.info().shape.size(), 0), extent = set.info().shape;
  offset[0] = block.first;
  extent[0] = block.count;
  set.write(offset, extent, data);
}

void send(Communicator& world, std::span<const std::byte> bytes) {
  world.wait(*world.isend(0, kTag, bytes));
}

void receive(Communicator& world, int from, std::span<std::byte> bytes) {
  world.wait(*world.irecv(from, kTag, bytes));
}

void send_layer(Communicator& world, const std::string& text, const std::vector<Named>& datasets) {
  const std::uint64_t size = text.size();
  send(world, std::as_bytes(std::span(&size, 1)));
  send(world, std::as_bytes(std::span(text)));
  for (const Named& each : datasets)
    for (const Block& block : blocks_of(each.values.sizes().vec(), calib_type(each.values)))
      send(world, {static_cast<const std::byte*>(each.values.const_data_ptr()) + block.at, block.bytes});
}

h5::Dataset create(h5::File& file, int layer, const Announced& dataset, const std::string& weights) {
  h5::Dataset set = file.create_dataset(calib_dataset(layer, dataset.name), dataset.dtype, dataset.shape);
  if (dataset.name == "inputs") set.set_attribute("weights", weights);
  return set;
}

void receive_layer(Communicator& world, int from, h5::File& file, int layer) {
  std::uint64_t size = 0;
  receive(world, from, std::as_writable_bytes(std::span(&size, 1)));
  std::string text(size, '\0');
  receive(world, from, std::as_writable_bytes(std::span(text)));
  const Announcement announced = announcement_of(text);
  std::vector<std::byte> buffer;
  for (const Announced& each : announced.datasets) {
    h5::Dataset set = create(file, layer, each, announced.weights);
    for (const Block& block : blocks_of(each.shape, each.dtype)) {
      buffer.resize(block.bytes);
      receive(world, from, buffer);
      write_block(set, block, buffer.data());
    }
  }
}

// ---- files

void sync_file(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool good = file >= 0 && ::fsync(file) == 0;
  const int error = errno;
  if (file >= 0) ::close(file);
  LACUNA_CHECK(good, ErrorKind::Storage, "cannot sync {}: {}", path, std::strerror(error));
}

std::string folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

}  // namespace

CalibWriter::CalibWriter(Communicator& world, std::string path, const CalibLabel& label)
    : world_(world), path_(std::move(path)) {
  rank0_alone(world, "creating " + path_, [&] {
    std::error_code ignored;
    std::filesystem::create_directories(folder_of(path_), ignored);  // what fails shows in what follows
    std::filesystem::remove(temporary(), ignored);
    file_ = std::make_unique<h5::File>(h5::File::create(temporary()));
    file_->set_attribute("format", std::string(kCalibFormat));
    file_->set_attribute("layers", label.layers);
    file_->set_attribute("hidden", label.hidden);
    file_->set_attribute("tokens", label.tokens);
    file_->set_attribute("check_tokens", label.check_tokens);
    file_->set_attribute("data", label.data);
    return std::string();
  });
}

CalibWriter::~CalibWriter() {
  if (!file_) return;
  file_.reset();
  std::error_code ignored;
  std::filesystem::remove(temporary(), ignored);
}

void CalibWriter::add(int layer, int owner, const std::function<Measured()>& measured) {
  if (world_.rank() != owner) {
    if (world_.rank() == 0) receive_layer(world_, owner, *file_, layer);
    return;
  }
  const Measured mine = measured();
  const std::vector<Named> datasets = datasets_of(mine);
  if (owner != 0) return send_layer(world_, to_text(mine.layer.weights, datasets), datasets);
  for (const Named& each : datasets)
    create(*file_, layer, {each.name, calib_type(each.values), each.values.sizes().vec()}, mine.layer.weights)
        .write(each.values.const_data_ptr());
}

void CalibWriter::finish() {
  rank0_alone(world_, "finishing " + path_, [&] {
    file_->close();
    file_.reset();
    sync_file(temporary());
    std::error_code failed;
    std::filesystem::rename(temporary(), path_, failed);
    LACUNA_CHECK(!failed, ErrorKind::Storage, "cannot rename {} to {}: {}", temporary(), path_,
                 failed.message());
    fsync_folder(folder_of(path_));
    return std::string();
  });
}

}  // namespace lacuna
