#include "recipes/common/neuron_statistics.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "src/base/error.h"

namespace lacuna {

namespace {

constexpr std::int64_t kChunk = 2048;  // tokens at a time

at::Tensor unit_rows(const at::Tensor& rows) {
  return rows / at::linalg_vector_norm(rows, 2, at::IntArrayRef({1}), true).clamp_min(1e-12);
}

}  // namespace

double NeuronStatistics::rate(std::int64_t neuron) const {
  return static_cast<double>(counts[neuron].item<std::int64_t>()) / static_cast<double>(tokens);
}

FfnWeights with_unit_rows(const FfnWeights& ffn) {
  return {unit_rows(ffn.gate), unit_rows(ffn.up), ffn.down, ffn.activation};
}

NeuronStatistics neuron_statistics(const FfnWeights& given, const at::Tensor& inputs, std::int64_t top,
                                   bool unit) {
  LACUNA_CHECK(top >= 1 && top <= given.neurons(), ErrorKind::Usage,
               "the statistics mark {} neurons a token, wanted 1 to {}", top, given.neurons());
  const FfnWeights ffn = unit ? with_unit_rows(given) : given;
  const std::int64_t tokens = inputs.size(0), neurons = ffn.neurons();
  const auto wide = inputs.options().dtype(at::kDouble);
  NeuronStatistics s;
  s.tokens = tokens;
  s.top = top;
  s.counts = at::zeros({neurons}, wide.dtype(at::kLong));
  s.mean = at::zeros({neurons}, wide);
  s.second = at::zeros({neurons}, wide);
  at::Tensor peak = at::zeros({neurons}, inputs.options());
  s.input_mean = at::zeros({inputs.size(1)}, wide);
  s.input_second = at::zeros({inputs.size(1), inputs.size(1)}, wide);
  std::vector<at::Tensor> lists;
  for (std::int64_t first = 0; first < tokens; first += kChunk) {
    const at::Tensor x = inputs.narrow(0, first, std::min(kChunk, tokens - first));
    const at::Tensor h = ffn.products(unit ? unit_rows(x) : x);
    const at::Tensor size = h.abs();
    const at::Tensor chosen = std::get<1>(size.topk(top, 1, true, false));
    s.counts.add_(at::bincount(chosen.flatten(), {}, neurons));
    lists.push_back(std::get<0>(chosen.sort(1)).to(at::kInt));
    peak = at::maximum(peak, size.amax(0));
    const at::Tensor hd = h.to(at::kDouble), xd = x.to(at::kDouble);
    s.mean.add_(hd.sum(0));
    s.second.add_(hd.square().sum(0));
    s.input_mean.add_(xd.sum(0));
    s.input_second.addmm_(xd.t(), xd);
  }
  const double n = static_cast<double>(tokens);
  for (at::Tensor* sum : {&s.mean, &s.second, &s.input_mean, &s.input_second}) sum->div_(n);
  s.peak = (peak * ffn.down.abs().amax(0)).to(at::kDouble);
  s.top_neurons = at::cat(lists);
  return s;
}

at::Tensor marks_of(const NeuronStatistics& s, const std::vector<std::int32_t>& list) {
  const at::Tensor top = s.top_neurons.cpu();
  std::vector<std::int32_t> place(static_cast<std::size_t>(s.counts.numel()), -1);
  for (std::size_t i = 0; i < list.size(); ++i)
    place.at(static_cast<std::size_t>(list[i])) = static_cast<int>(i);
  at::Tensor out = at::zeros({static_cast<std::int64_t>(list.size()), s.tokens}, at::kFloat);
  float* to = out.data_ptr<float>();
  const std::int32_t* from = top.const_data_ptr<std::int32_t>();
  for (std::int64_t token = 0; token < s.tokens; ++token)
    for (std::int64_t k = 0; k < s.top; ++k) {
      const std::int32_t row = place[static_cast<std::size_t>(from[token * s.top + k])];
      if (row >= 0) to[row * s.tokens + token] = 1;
    }
  return out;
}

at::Tensor coactivation(const NeuronStatistics& s, const std::vector<std::int32_t>& rows,
                        const std::vector<std::int32_t>& cols) {
  return at::matmul(marks_of(s, rows), marks_of(s, cols).t()).round().to(at::kLong);
}

}  // namespace lacuna
