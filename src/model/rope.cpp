#include "src/model/rope.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>

#include "src/base/error.h"
#include "src/model/cuda/ops.h"
#include "src/model/element_types.h"

namespace lacuna {

namespace {

double llama3_scaled(double frequency, const RopeScaling& s) {
  const double turns = static_cast<double>(s.original_positions) * frequency / (2 * std::numbers::pi);
  if (turns < s.low_freq_factor) return frequency / s.factor;
  if (turns > s.high_freq_factor) return frequency;
  const double keep = (turns - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
  return (1 - keep) * frequency / s.factor + keep * frequency;
}

template <class T, class A>
void rotate_rows(T* x, const A* cos, const A* sin, std::int64_t tokens, std::int64_t heads,
                 std::int64_t seq_len, std::int64_t half) {
  for (std::int64_t token = 0; token < tokens; ++token) {
    const A* c = cos + token % seq_len * half;
    const A* s = sin + token % seq_len * half;
    for (std::int64_t head = 0; head < heads; ++head, x += 2 * half)
      for (std::int64_t i = 0; i < half; ++i) {
        const A a = static_cast<A>(x[i]), b = static_cast<A>(x[i + half]);
        x[i] = static_cast<T>(a * c[i] - b * s[i]);
        x[i + half] = static_cast<T>(b * c[i] + a * s[i]);
      }
  }
}

void rotate_tensor(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, std::int64_t seq_len,
                   std::int64_t half) {
  with_element_type(x.scalar_type(), [&]<class T>(T) {
    using A = Accumulate<T>;
    rotate_rows(x.data_ptr<T>(), cos.const_data_ptr<A>(), sin.const_data_ptr<A>(), x.size(0),
                x.size(1) / (2 * half), seq_len, half);
  });
}

}  // namespace

std::vector<double> rope_frequencies(const ModelConfig& config) {
  std::vector<double> out;
  const RopeScaling& scaling = config.rope_scaling;
  for (std::int64_t pair = 0; pair < config.head_dim / 2; ++pair) {
    const double exponent = static_cast<double>(2 * pair) / static_cast<double>(config.head_dim);
    double frequency = std::pow(config.rope_theta, -exponent);
    if (scaling.kind == "linear") frequency /= scaling.factor;
    if (scaling.kind == "llama3") frequency = llama3_scaled(frequency, scaling);
    out.push_back(frequency);
  }
  return out;
}

RopeTable::RopeTable(const ModelConfig& config, std::int64_t seq_len, at::ScalarType compute,
                     at::Device device)
    : seq_len_(seq_len), half_(config.head_dim / 2) {
  const std::vector<double> frequencies = rope_frequencies(config);
  at::Tensor angle = at::empty({seq_len, half_}, at::kDouble);
  double* out = angle.data_ptr<double>();
  for (std::int64_t position = 0; position < seq_len; ++position)
    for (double frequency : frequencies) *out++ = static_cast<double>(position) * frequency;
  cos_ = angle.cos().to(accumulate_type(compute)).to(device).contiguous();
  sin_ = angle.sin().to(accumulate_type(compute)).to(device).contiguous();
  minus_sin_ = sin_.neg();
}

void RopeTable::rotate(const at::Tensor& query, const at::Tensor& key) const {
  if (query.is_cuda()) return on_cuda::rotate({query, key, {}, {}}, cos_, sin_, seq_len_, false);
  for (const at::Tensor& x : {query, key}) rotate_tensor(x, cos_, sin_, seq_len_, half_);
}

void RopeTable::rotate_back(const at::Tensor& query, const at::Tensor& key, const at::Tensor& query_from,
                            const at::Tensor& key_from) const {
  if (query.is_cuda()) return on_cuda::rotate({query, key, query_from, key_from}, cos_, sin_, seq_len_, true);
  LACUNA_ASSERT(!query_from.defined() && !key_from.defined());
  for (const at::Tensor& x : {query, key}) rotate_tensor(x, cos_, minus_sin_, seq_len_, half_);
}

}  // namespace lacuna
