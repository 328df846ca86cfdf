#include "recipes/cmoe/calib_file.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/hash.h"

namespace lacuna {

namespace {

at::Tensor get(const h5::File& file, const std::string& name, at::ScalarType type,
               const std::vector<std::int64_t>& shape) {
  const h5::Dataset set = file.open_dataset(name);
  at::Tensor out = at::empty(shape, type);
  LACUNA_CHECK(set.info().dtype == calib_type(out) && set.info().shape == shape, ErrorKind::BadInput,
               "{}: {} is {} [{}], wanted {} [{}]", file.path(), name, name_of(set.info().dtype),
               fmt::join(set.info().shape, ", "), name_of(calib_type(out)), fmt::join(shape, ", "));
  set.read(out.data_ptr());
  return out;
}

}  // namespace

DType calib_type(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kDouble:
      return DType::F64;
    case at::kFloat:
      return DType::F32;
    case at::kLong:
      return DType::I64;
    case at::kInt:
      return DType::I32;
    default:
      fail(ErrorKind::Internal, "no dataset type for a tensor of {}", c10::toString(tensor.scalar_type()));
  }
}

std::string calib_dataset(int layer, const std::string& name) {
  return fmt::format("layers/{}/{}", layer, name);
}

std::string calib_fingerprint(const SlabSource& weights, const ModelConfig& config, int layer) {
  constexpr std::int64_t kBlock = 4 << 20;  // elements
  std::string hashes;
  for (const Parameter& p : parameters(config)) {
    const bool outside = p.layer < 0 || p.layer >= static_cast<int>(config.layers);
    if (p.layer != layer && !(outside && layer == 0)) continue;
    const std::int64_t width = p.elements() / p.shape[0], rows = std::max<std::int64_t>(1, kBlock / width);
    for (std::int64_t first = 0; first < p.shape[0]; first += rows) {
      Slab slab{std::vector<std::int64_t>(p.shape.size(), 0), p.shape};
      slab.offset[0] = first;
      slab.extent[0] = std::min(rows, p.shape[0] - first);
      const at::Tensor values = at::empty(slab.extent, at::kFloat);
      weights(p.name, slab, DType::F32, values.data_ptr());
      hashes += to_hex(hash64(values.const_data_ptr(), values.nbytes()));
    }
  }
  return to_hex(hash64(hashes.data(), hashes.size()));
}

CalibReader::CalibReader(const std::string& path, const CalibLabel& expected)
    : label_(expected), file_(h5::File::open(path)) {
  LACUNA_CHECK(file_.has_attribute("format") && file_.text_attribute("format") == kCalibFormat,
               ErrorKind::BadInput, "{}: not a calibration file (wanted format {})", path, kCalibFormat);
  const auto same = [&](const char* what, const auto& got, const auto& want) {
    LACUNA_CHECK(got == want, ErrorKind::BadInput, "{}: {} is {}, wanted {}; give another --statistics", path,
                 what, got, want);
  };
  same("layers", file_.int_attribute("layers"), expected.layers);
  same("hidden", file_.int_attribute("hidden"), expected.hidden);
  same("data", file_.text_attribute("data"), expected.data);
  same("tokens", file_.int_attribute("tokens"), expected.tokens);
  same("check_tokens", file_.int_attribute("check_tokens"), expected.check_tokens);
}

CalibLayer CalibReader::read(int layer, const std::string& weights) const {
  const std::string name = calib_dataset(layer, "inputs");
  CalibLayer out;
  out.weights = file_.open_dataset(name).text_attribute("weights");
  LACUNA_CHECK(out.weights == weights, ErrorKind::BadInput,
               "{}: layer {} is of another model (weights {}, this one's are {}); give another --statistics",
               file_.path(), layer, printable(out.weights), weights);
  out.inputs = get(file_, name, at::kFloat, {label_.tokens, label_.hidden});
  const std::string moment = calib_dataset(layer, "output_moment");
  if (file_.has(moment)) out.output_moment = get(file_, moment, at::kDouble, {label_.hidden, label_.hidden});
  return out;
}

}  // namespace lacuna
