#include "recipes/cmoe/calib_file.h"

#include <ATen/ATen.h>

#include <filesystem>

#include "src/base/error.h"
#include "src/base/hash.h"
#include "src/h5/file.h"

namespace lacuna {

namespace {

constexpr const char* kFormat = "lacuna.calib.v1";

DType type_of(const at::Tensor& tensor) {
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

void put(h5::File& file, const std::string& name, const at::Tensor& values) {
  const at::Tensor host = values.cpu().contiguous();
  h5::Dataset set = file.create_dataset(name, type_of(host), host.sizes().vec());
  set.write(host.const_data_ptr());
}

at::Tensor get(const h5::File& file, const std::string& name, at::ScalarType type, std::int64_t cols) {
  const h5::Dataset set = file.open_dataset(name);
  const h5::DatasetInfo& info = set.info();
  at::Tensor out = at::empty(info.shape, type);
  LACUNA_CHECK(info.dtype == type_of(out) && info.shape.size() == 2 && (cols < 0 || info.shape[1] == cols),
               ErrorKind::BadInput, "{}: {} is not what calibration wrote", file.path(), name);
  set.read(out.data_ptr());
  return out;
}

}  // namespace

std::string fingerprint_of(const FfnWeights& ffn) {
  std::string text;
  for (const at::Tensor* matrix : {&ffn.gate, &ffn.up, &ffn.down}) {
    const at::Tensor host = matrix->cpu().contiguous();
    text += to_hex(hash64(host.const_data_ptr(), host.nbytes()));
  }
  return text;
}

void write_calib(const std::string& path, const CalibLayer& layer, const NeuronStatistics& s) {
  const std::string temporary = path + ".tmp";
  std::filesystem::remove(temporary);
  h5::File file = h5::File::create(temporary);
  file.set_attribute("format", std::string(kFormat));
  file.set_attribute("layer", static_cast<std::int64_t>(layer.layer));
  file.set_attribute("check_tokens", layer.check_tokens);
  file.set_attribute("weights", layer.weights);
  file.set_attribute("data", layer.data);
  put(file, "inputs", layer.inputs);
  if (layer.output_moment.defined()) put(file, "output_moment", layer.output_moment);
  put(file, "counts", s.counts);
  put(file, "mean", s.mean);
  put(file, "second", s.second);
  put(file, "peak", s.peak);
  put(file, "input_mean", s.input_mean);
  put(file, "input_second", s.input_second);
  put(file, "top_neurons", s.top_neurons);
  file.close();
  std::filesystem::rename(temporary, path);
}

CalibLayer read_calib(const std::string& path, const CalibLayer& expected) {
  const h5::File file = h5::File::open(path);
  LACUNA_CHECK(file.has_attribute("format") && file.text_attribute("format") == kFormat, ErrorKind::BadInput,
               "{}: not a calibration file", path);
  const auto same = [&](const char* what, const auto& got, const auto& want) {
    LACUNA_CHECK(got == want, ErrorKind::BadInput,
                 "{}: of another {} ({}, wanted {}); give another --statistics", path, what, got, want);
  };
  CalibLayer out;
  out.layer = static_cast<int>(file.int_attribute("layer"));
  out.check_tokens = file.int_attribute("check_tokens");
  out.weights = file.text_attribute("weights");
  out.data = file.text_attribute("data");
  same("layer", out.layer, expected.layer);
  same("model", out.weights, expected.weights);
  same("calibration", out.data, expected.data);
  out.inputs = get(file, "inputs", at::kFloat, -1);
  if (file.has("output_moment"))
    out.output_moment = get(file, "output_moment", at::kDouble, out.inputs.size(1));
  return out;
}

}  // namespace lacuna
