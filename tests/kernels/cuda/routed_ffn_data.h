// A routed FFN on the device, around a router, with its output in double.
#pragma once

#include <algorithm>

#include "kernels/cuda/decode_ffn.h"
#include "kernels/cuda/decode_rows.h"
#include "tests/kernels/cuda/route_data.h"

namespace lacuna::cuda::test {

// A routed FFN with a linear router.
class RoutedFfnData {
 public:
  RoutedFfnData(DType dtype, const RouteShape& shape, Gating gating)
      : router(shape, RouteBy::Linear),
        gate(dtype, "gate", shape.ffn, shape.hidden, 1),
        up(dtype, "up", shape.ffn, shape.hidden, 3),
        down(dtype, "down", shape.ffn, shape.hidden, 2),
        mean(DType::F32, "mean", shape.experts, shape.hidden),
        before(normals(DType::F32, "before", shape.hidden)),
        partial(DType::F32, shape.blocks * partial_stride(shape.hidden)),
        kind(gating) {}

  // before + the FFN of the token; raw floats, so that bits can be compared.
  Values run(bool whole) {
    router.call.whole = whole;
    gates = router.run(1);
    const RouteShape& shape = router.shape;
    DeviceArray hidden(DType::F32, before);
    const DeviceList<DecodeCounts> counted({{0, 0, 0}});
    DecodeActiveFfn call{up.view, down.view, router.x.as<float>(), router.call.norm, nullptr,  router.lists,
                         kind,    whole,     partial.as<float>(),  counted.data(),   gate.view};
    decode_active_ffn(call, launch_of(shape.blocks, true));
    decode_add_partials(partial.as<float>(), shape.blocks, shape.hidden, hidden.as<float>(), stand_ins(),
                        launch_of(shape.blocks, true));
    finish();
    EXPECT_TRUE(hidden.intact() && partial.intact());
    counts = counted.get()[0];
    return hidden.get();
  }

  StandIns stand_ins() const {
    return {mean.array.as<float>(), mean.stride, static_cast<int>(router.shape.experts),
            router.gates.as<float>()};
  }
  // 1 for shared neurons.
  double gate_of(std::int64_t neuron) const {
    if (neuron < router.begin[0]) return 1;
    return gates[static_cast<std::size_t>(expert_of(neuron))];
  }
  std::int64_t neurons_on() const {
    std::int64_t on = 0;
    for (std::int64_t i = 0; i < router.shape.ffn; ++i) on += gate_of(i) != 0;
    return on;
  }

  // With the gates that the router gave, which its own test holds to their bound.
  void expect(const Values& got) const {
    const RouteShape& shape = router.shape;
    const Values input = router.input();
    Values want = before, bound(before.size());
    const double chain = static_cast<double>(shape.ffn) / shape.blocks + shape.blocks / 32.0 + 560 +
                         static_cast<double>(shape.experts) / 64;
    for (std::int64_t i = 0; i < shape.ffn; ++i) {
      const double factor = gate_of(i);
      if (factor == 0) continue;
      Bounded p = product_bound(kind, dot(gate.row(i), input), dot(up.row(i), input));
      p = {p.value * factor, std::abs(factor) * (p.bound + kUnit * std::abs(p.value))};
      for (std::size_t j = 0; j < want.size(); ++j) {
        const double w = down.row(i)[j];
        want[j] += p.value * w;
        bound[j] += (p.bound + chain * kUnit * (std::abs(p.value) + p.bound)) * std::abs(w);
      }
    }
    for (std::int64_t e = 0; e < shape.experts; ++e)
      for (std::size_t j = 0; j < want.size() && gates[static_cast<std::size_t>(e)] == 0; ++j) {
        want[j] += mean.row(e)[j];
        bound[j] += chain * kUnit * std::abs(mean.row(e)[j]);
      }
    for (std::size_t j = 0; j < want.size(); ++j)
      ASSERT_LE(std::abs(got[j] - want[j]), bound[j] + 4 * kUnit * std::abs(before[j]))
          << router.name() << ", FFN " << shape.ffn << ", column " << j;
  }

  // NaN in every row of neurons that are off and in the stand-ins of experts that are on.
  void poison() {
    const std::int64_t hidden = router.shape.hidden;
    const auto fill = [&](TestMatrix& matrix, std::int64_t row) {
      std::fill_n(matrix.values.begin() + row * hidden, hidden, std::nan(""));
    };
    for (std::int64_t i = 0; i < router.shape.ffn; ++i)
      for (TestMatrix* matrix : {&gate, &up, &down})
        if (gate_of(i) == 0) fill(*matrix, i);
    for (std::int64_t e = 0; e < router.shape.experts; ++e)
      if (gates[static_cast<std::size_t>(e)] != 0) fill(mean, e);
    for (TestMatrix* matrix : {&gate, &up, &down, &mean}) matrix->upload();
  }

  // Products and stand-ins of two tokens: one with the router's gates, one with all experts on.
  void expect_prefill() const {
    const RouteShape& shape = router.shape;
    const Values g = normals(DType::F32, "g", 2 * shape.ffn), u = normals(DType::F32, "u", 2 * shape.ffn);
    Values both = gates;
    both.resize(static_cast<std::size_t>(2 * shape.experts), 1);
    const DeviceArray device_g(DType::F32, g), device_u(DType::F32, u), device_gates(DType::F32, both);
    DeviceArray product(up.view.dtype, 2 * shape.ffn), rows(DType::F32, 2 * shape.hidden);
    const DeviceList<DecodeCounts> counted({{0, 0, 0}});
    prefill_gated(kind, device_g.as<float>(), device_u.as<float>(), shape.ffn,
                  {static_cast<int>(shape.experts), router.device_begin.data(), device_gates.as<float>()},
                  {product.data(), up.view.dtype, 2, shape.ffn, shape.ffn}, counted.data(),
                  launch_of(shape.blocks, true));
    Values start = before;
    start.insert(start.end(), before.begin(), before.end());
    rows.set(start);
    StandIns others = stand_ins();
    others.gates = device_gates.as<float>();
    prefill_stand_ins(others, shape.hidden, rows.as<float>(), shape.hidden, 2, launch_of(shape.blocks, true));
    finish();
    EXPECT_TRUE(product.intact() && rows.intact());
    const Values got = product.get(), sums = rows.get();
    unsigned long long zeros = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      const auto neuron = static_cast<std::int64_t>(i) % shape.ffn;
      const double factor = static_cast<std::int64_t>(i) < shape.ffn ? gate_of(neuron) : 1;
      const double want = factor == 0 ? 0 : glu_ref(kind, g[i], u[i]) * factor;
      zeros += want == 0;
      ASSERT_LE(std::abs(got[i] - want), (stored_unit(up.view.dtype) + 18 * kUnit) * std::abs(want)) << i;
    }
    EXPECT_EQ(counted.get()[0].zeros, zeros);
    EXPECT_EQ(counted.get()[0].up_rows, static_cast<unsigned long long>(shape.ffn));
    for (std::size_t j = 0; j < before.size(); ++j) {
      double want = before[j], size = std::abs(before[j]);
      for (std::int64_t e = 0; e < shape.experts; ++e)
        if (gates[static_cast<std::size_t>(e)] == 0) {
          want += mean.row(e)[j];
          size += std::abs(mean.row(e)[j]);
        }
      ASSERT_LE(std::abs(sums[j] - want), (static_cast<double>(shape.experts) + 1) * kUnit * size) << j;
      ASSERT_EQ(sums[before.size() + j], before[j]);  // all on: nothing stands in
    }
  }

  TestRouter router;
  TestMatrix gate, up, down, mean;
  Values before;
  DeviceArray partial;
  Gating kind;
  Values gates;
  DecodeCounts counts{};

 private:
  std::int64_t expert_of(std::int64_t neuron) const {
    const auto after = std::upper_bound(router.begin.begin(), router.begin.end(), neuron);
    return static_cast<std::int64_t>(after - router.begin.begin()) - 1;
  }
};

}  // namespace lacuna::cuda::test
