#include "src/checkpoint/state_file.h"

#include <cstring>
#include <span>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/h5/file.h"

namespace lacuna {

namespace {

constexpr std::int64_t kMaxState = std::int64_t{1} << 32;

template <class T>
std::vector<T> read_list(const h5::File& file, const std::string& name, DType dtype) {
  const h5::Dataset set = file.open_dataset(name);
  LACUNA_CHECK(set.info().dtype == dtype && set.info().shape.size() == 1, ErrorKind::BadInput,
               "{}: dataset '{}' is not a list of {}", file.path(), name, name_of(dtype));
  std::vector<T> out(static_cast<std::size_t>(set.info().shape[0]));
  set.read(out.data());
  return out;
}

void write_probe(h5::File& file, const Probe& probe) {
  std::vector<std::int32_t> tokens;
  std::vector<std::int64_t> lengths;
  std::vector<double> logits;
  const auto count = static_cast<std::int64_t>(probe.sequences.size());
  LACUNA_ASSERT(probe.logits.size() == probe.sequences.size());
  for (std::size_t i = 0; i < probe.sequences.size(); ++i) {
    tokens.insert(tokens.end(), probe.sequences[i].begin(), probe.sequences[i].end());
    lengths.push_back(static_cast<std::int64_t>(probe.sequences[i].size()));
    LACUNA_ASSERT(probe.logits[i].size() == probe.logits[0].size());
    logits.insert(logits.end(), probe.logits[i].begin(), probe.logits[i].end());
  }
  file.write_all("probe/tokens", DType::I32, static_cast<std::int64_t>(tokens.size()), tokens.data());
  file.write_all("probe/lengths", DType::I64, count, lengths.data());
  std::string routes;
  for (const auto& sequence : probe.routes) routes.append(sequence.begin(), sequence.end());
  if (!routes.empty()) file.write_bytes("probe/routes", routes);
  const auto vocab = static_cast<std::int64_t>(probe.logits[0].size());
  file.create_dataset("probe/logits", DType::F64, {count, vocab}).write(logits.data());
}

// As many bytes for each token of a sequence.
void read_routes(const h5::File& file, std::size_t tokens, Probe& probe) {
  if (!file.has("probe/routes")) return;
  const std::string all = file.read_bytes("probe/routes", kMaxState);
  LACUNA_CHECK(tokens > 0 && all.size() % tokens == 0, ErrorKind::BadInput,
               "{}: the probe has {} routes for {} tokens", file.path(), all.size(), tokens);
  auto at = all.begin();
  for (const auto& sequence : probe.sequences) {
    const auto end = at + static_cast<std::ptrdiff_t>(all.size() / tokens * sequence.size());
    probe.routes.emplace_back(at, end);
    at = end;
  }
}

Probe read_probe(const h5::File& file, const Manifest& manifest) {
  const auto tokens = read_list<std::int32_t>(file, "probe/tokens", DType::I32);
  const auto lengths = read_list<std::int64_t>(file, "probe/lengths", DType::I64);
  const h5::Dataset logits = file.open_dataset("probe/logits");
  const std::vector<std::int64_t>& shape = logits.info().shape;
  LACUNA_CHECK(logits.info().dtype == DType::F64 && shape.size() == 2 && shape[0] == manifest.probes &&
                   static_cast<std::int64_t>(lengths.size()) == manifest.probes,
               ErrorKind::BadInput, "{}: the probe does not have {} sequences", file.path(), manifest.probes);
  Probe probe;
  probe.compute = manifest.probe_compute;
  std::size_t at = 0;
  for (std::int64_t length : lengths) {
    LACUNA_CHECK(length >= 0 && static_cast<std::size_t>(length) <= tokens.size() - at, ErrorKind::BadInput,
                 "{}: the probe's lengths exceed its tokens", file.path());
    const auto begin = tokens.begin() + static_cast<std::ptrdiff_t>(at);
    probe.sequences.emplace_back(begin, begin + length);
    at += static_cast<std::size_t>(length);
    std::vector<double>& row = probe.logits.emplace_back(static_cast<std::size_t>(shape[1]));
    logits.read({static_cast<std::int64_t>(probe.logits.size()) - 1, 0}, {1, shape[1]}, row.data());
  }
  read_routes(file, at, probe);
  return probe;
}

}  // namespace

void write_state_file(const std::string& path, const CheckpointMeta& meta) {
  h5::File file = h5::File::create(path);
  file.set_attribute("step", meta.step);
  std::size_t index = 0;
  for (const auto& [name, bytes] : meta.state) file.write_bytes("state/" + std::to_string(index++), bytes);
  if (!meta.probe.sequences.empty()) write_probe(file, meta.probe);
  file.close();
}

void read_state_file(const std::string& path, const Manifest& manifest, CheckpointMeta& meta) {
  const h5::File file = h5::File::open(path);
  for (std::size_t i = 0; i < manifest.state.size(); ++i)
    meta.state[manifest.state[i]] = file.read_bytes("state/" + std::to_string(i), kMaxState);
  if (manifest.probes > 0) meta.probe = read_probe(file, manifest);
}

std::string pack_probe(const Probe& probe) {
  std::string out;
  const auto put = [&](const auto* data, std::size_t count) {
    const std::uint64_t bytes = count * sizeof(*data);
    out.append(reinterpret_cast<const char*>(&bytes), sizeof bytes);
    out.append(reinterpret_cast<const char*>(data), bytes);
  };
  if (probe.sequences.empty()) return out;
  put(probe.compute.data(), probe.compute.size());
  for (const auto& sequence : probe.sequences) put(sequence.data(), sequence.size());
  for (const auto& logits : probe.logits) put(logits.data(), logits.size());
  LACUNA_ASSERT(probe.routes.empty() || probe.routes.size() == probe.sequences.size());
  for (std::size_t i = 0; i < probe.sequences.size(); ++i)
    put(probe.routes.empty() ? nullptr : probe.routes[i].data(),
        probe.routes.empty() ? 0 : probe.routes[i].size());
  return out;
}

Probe unpack_probe(const std::string& bytes) {
  BoundedReader reader(std::as_bytes(std::span(bytes)), "probe");
  std::vector<std::span<const std::byte>> parts;
  while (reader.remaining() > 0) {
    const std::uint64_t size = reader.u64();
    parts.push_back(reader.take(size));
  }
  Probe probe;
  LACUNA_ASSERT(parts.size() % 3 == 1);
  const std::size_t count = parts.size() / 3;
  probe.compute.assign(reinterpret_cast<const char*>(parts[0].data()), parts[0].size());
  for (std::size_t i = 0; i < count; ++i) {
    auto& sequence = probe.sequences.emplace_back(parts[1 + i].size() / sizeof(std::int32_t));
    if (!sequence.empty()) std::memcpy(sequence.data(), parts[1 + i].data(), parts[1 + i].size());
    auto& logits = probe.logits.emplace_back(parts[1 + count + i].size() / sizeof(double));
    if (!logits.empty()) std::memcpy(logits.data(), parts[1 + count + i].data(), parts[1 + count + i].size());
    const std::span<const std::byte> routes = parts[1 + 2 * count + i];
    if (routes.empty()) continue;
    const auto* on = reinterpret_cast<const std::uint8_t*>(routes.data());
    probe.routes.emplace_back(on, on + routes.size());
  }
  return probe;
}

}  // namespace lacuna
