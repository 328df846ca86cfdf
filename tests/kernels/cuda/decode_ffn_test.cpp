#include "kernels/cuda/decode_ffn.h"

#include <set>

#include "kernels/cuda/decode_linear.h"
#include "tests/kernels/cuda/decode_data.h"

namespace lacuna::cuda::test {
namespace {

constexpr float kEps = 1e-5f;
constexpr Gating kGatings[] = {Gating::Silu, Gating::Relu, Gating::Drelu};

struct Shape {
  std::int64_t hidden, ffn;
  int blocks;
};
constexpr Shape kShapes[] = {{48, 70, 132}, {72, 300, 7}, {520, 1100, 132}, {4096, 330, 3}, {8200, 40, 5}};

// One FFN on the device and its parts in double.
struct Ffn {
  Ffn(DType dtype, const Shape& shape)
      : at(shape),
        gate(dtype, "gate", shape.ffn, shape.hidden),
        up(dtype, "up", shape.ffn, shape.hidden, 3),
        down(dtype, "down", shape.ffn, shape.hidden, 2),
        x(normals(DType::F32, "x", shape.hidden)),
        gain(normals(DType::F32, "gain", shape.hidden)),
        before(normals(DType::F32, "before", shape.hidden)),
        device_x(DType::F32, padded(x)),
        device_gain(DType::F32, padded(gain)),
        values(DType::F32, shape.ffn),
        partial(DType::F32, shape.blocks * partial_stride(shape.hidden)),
        runs(std::vector<ActiveRun>(
            static_cast<std::size_t>(shape.blocks * ActiveLists::capacity_for(shape.ffn, shape.blocks)),
            {-1, -1})),
        run_counts(std::vector<std::int32_t>(static_cast<std::size_t>(shape.blocks), -1)) {
    lists = {shape.ffn, shape.blocks, ActiveLists::capacity_for(shape.ffn, shape.blocks), run_counts.data(),
             runs.data()};
  }

  void find_gates(bool whole) {
    decode_gate_first(
        {gate.view, device_x.as<float>(), {device_gain.as<float>(), kEps}, values.as<float>(), lists, whole},
        launch_of(at.blocks, true));
  }
  // before + the FFN of what is listed; raw floats, so that bits can be compared.
  Values run(Gating gating, bool keep_zeros) {
    DeviceArray hidden(DType::F32, at.hidden);
    hidden.set(before);
    const DeviceList<DecodeCounts> counts({{0, 0, 0}});
    decode_active_ffn({up.view,
                       down.view,
                       device_x.as<float>(),
                       {device_gain.as<float>(), kEps},
                       values.as<float>(),
                       lists,
                       gating,
                       keep_zeros,
                       partial.as<float>(),
                       counts.data()},
                      launch_of(at.blocks, true));
    decode_add_partials(partial.as<float>(), at.blocks, at.hidden, hidden.as<float>(), {},
                        launch_of(at.blocks, true));
    finish();
    last_counts = counts.get()[0];
    EXPECT_TRUE(hidden.intact() && partial.intact());
    return hidden.get();
  }
  std::vector<std::int64_t> listed() const {
    std::vector<std::int64_t> out;
    const std::vector<std::int32_t> counts = run_counts.get();
    const std::vector<ActiveRun> all = runs.get();
    for (int s = 0; s < at.blocks; ++s)
      for (std::int32_t r = 0; r < counts[static_cast<std::size_t>(s)]; ++r) {
        const ActiveRun run = all[static_cast<std::size_t>(s * lists.capacity + r)];
        EXPECT_GE(run.start, segment_begin(at.ffn, at.blocks, s));
        EXPECT_LE(run.start + run.length, segment_begin(at.ffn, at.blocks, s + 1));
        EXPECT_TRUE(out.empty() || run.start > out.back());
        for (std::int32_t i = 0; i < run.length; ++i) out.push_back(run.start + i);
      }
    return out;
  }
  // The result of the neurons in `take`, and how far a kernel may be from it.
  void expect(Gating gating, const std::vector<std::int64_t>& take, const Values& got) const {
    const Values input = normed(x, gain, kEps);
    Values want = before, bound(before.size());
    // A segment adds its neurons in a chain, groups of threads and of segments add theirs.
    const double chain = static_cast<double>(at.ffn) / at.blocks + at.blocks / 32.0 + 560;
    for (std::int64_t i : take) {
      const Dot g = dot(gate.row(i), input), u = dot(up.row(i), input);
      const double p = glu_ref(gating, g.value, u.value);
      const double p_bound = 1.1 * g.bound * (std::abs(u.value) + u.bound) + std::abs(g.value) * u.bound +
                             16 * kUnit * std::abs(p);
      for (std::size_t j = 0; j < want.size(); ++j) {
        const double w = down.row(i)[j];
        want[j] += p * w;
        bound[j] += (p_bound + chain * kUnit * (std::abs(p) + p_bound)) * std::abs(w);
      }
    }
    for (std::size_t j = 0; j < want.size(); ++j)
      ASSERT_LE(std::abs(got[j] - want[j]), bound[j] + 4 * kUnit * std::abs(before[j]))
          << at.hidden << " x " << at.ffn << " column " << j;
  }
  std::vector<std::int64_t> all() const {
    std::vector<std::int64_t> out;
    for (std::int64_t i = 0; i < at.ffn; ++i) out.push_back(i);
    return out;
  }

  Shape at;
  TestMatrix gate, up, down;
  Values x, gain, before;
  DeviceArray device_x, device_gain, values, partial;
  DeviceList<ActiveRun> runs;
  DeviceList<std::int32_t> run_counts;
  ActiveLists lists;
  DecodeCounts last_counts{};
};

TEST(DecodeFfn, GatesAreWithinTheirBoundAndListedAsRuns) {
  for (DType dtype : kWeightTypes)
    for (const Shape& shape : kShapes) {
      Ffn ffn(dtype, shape);
      ffn.find_gates(false);
      finish();
      const Values got = ffn.values.get(), input = normed(ffn.x, ffn.gain, kEps);
      std::vector<std::int64_t> open;
      for (std::int64_t i = 0; i < shape.ffn; ++i) {
        const Dot want = dot(ffn.gate.row(i), input);
        ASSERT_LE(std::abs(got[static_cast<std::size_t>(i)] - want.value), want.bound);
        if (got[static_cast<std::size_t>(i)] > 0) open.push_back(i);
      }
      EXPECT_EQ(ffn.listed(), open);
      ffn.find_gates(true);
      finish();
      EXPECT_EQ(ffn.listed(), ffn.all());
    }
}

TEST(DecodeFfn, SparseIsWithinItsBoundAndHasTheBitsOfDense) {
  for (DType dtype : kWeightTypes)
    for (const Shape& shape : kShapes)
      for (Gating gating : kGatings) {
        Ffn ffn(dtype, shape);
        ffn.find_gates(true);
        const Values dense = ffn.run(gating, true);
        const auto neurons = static_cast<unsigned long long>(shape.ffn);
        EXPECT_EQ(ffn.last_counts.up_rows, neurons);
        EXPECT_EQ(ffn.last_counts.down_rows, neurons);
        const unsigned long long zeros = ffn.last_counts.zeros;
        ffn.expect(gating, ffn.all(), dense);
        if (gating == Gating::Silu) continue;
        ffn.find_gates(false);
        const Values sparse = ffn.run(gating, false);
        EXPECT_EQ(sparse, dense);
        EXPECT_EQ(ffn.last_counts.up_rows, ffn.listed().size());
        EXPECT_EQ(ffn.last_counts.down_rows, neurons - zeros);
        EXPECT_EQ(ffn.last_counts.zeros, zeros);
        EXPECT_EQ(ffn.run(gating, false), sparse);  // run to run
      }
}

TEST(DecodeFfn, NanInRowsOfInactiveNeuronsChangesNoBit) {
  for (DType dtype : kWeightTypes)
    for (Gating gating : {Gating::Relu, Gating::Drelu}) {
      Ffn ffn(dtype, {520, 1100, 132});
      ffn.find_gates(false);
      const Values want = ffn.run(gating, false);
      const Values input = normed(ffn.x, ffn.gain, kEps);
      const std::vector<std::int64_t> listed = ffn.listed();
      const std::set<std::int64_t> open(listed.begin(), listed.end());
      for (std::int64_t i = 0; i < 1100; ++i) {
        const bool shut = open.count(i) == 0;
        const Dot u = dot(ffn.up.row(i), input);
        const bool no_product = shut || (gating == Gating::Drelu && u.value < -u.bound);
        for (std::int64_t c = 0; c < 520; ++c) {
          if (shut) ffn.up.values[static_cast<std::size_t>(i * 520 + c)] = std::nan("");
          if (no_product) ffn.down.values[static_cast<std::size_t>(i * 520 + c)] = std::nan("");
        }
      }
      ffn.up.upload();
      ffn.down.upload();
      EXPECT_EQ(ffn.run(gating, false), want);
    }
}

// A list need not come from the gate: runs of any length, some segments without any.
TEST(DecodeFfn, ReadsTheListOfAnyProducer) {
  for (DType dtype : kWeightTypes) {
    Ffn ffn(dtype, {72, 300, 7});
    ffn.find_gates(false);
    finish();
    std::vector<ActiveRun> runs = ffn.runs.get();
    std::vector<std::int32_t> counts(7);
    std::vector<std::int64_t> take;
    for (int s : {0, 2, 6}) {
      const auto begin = static_cast<std::int32_t>(segment_begin(300, 7, s));
      const auto end = static_cast<std::int32_t>(segment_begin(300, 7, s + 1));
      const std::vector<ActiveRun> mine =
          s == 2 ? std::vector<ActiveRun>{{begin, end - begin}}
                 : std::vector<ActiveRun>{{begin, 1}, {begin + 3, 9}, {end - 2, 2}};
      counts[static_cast<std::size_t>(s)] = static_cast<std::int32_t>(mine.size());
      for (std::size_t r = 0; r < mine.size(); ++r) {
        runs[static_cast<std::size_t>(s * ffn.lists.capacity) + r] = mine[r];
        for (std::int32_t i = 0; i < mine[r].length; ++i) take.push_back(mine[r].start + i);
      }
    }
    const DeviceList<ActiveRun> own_runs(runs);
    const DeviceList<std::int32_t> own_counts(counts);
    ffn.lists.runs = own_runs.data();
    ffn.lists.counts = own_counts.data();
    ffn.expect(Gating::Silu, take, ffn.run(Gating::Silu, false));
    EXPECT_EQ(ffn.last_counts.up_rows, take.size());
  }
}

TEST(DecodeFfn, GateUpMultipliesAllNeurons) {
  for (DType dtype : kWeightTypes)
    for (const Shape& shape : kShapes)
      for (Gating gating : kGatings) {
        const Ffn ffn(dtype, shape);
        DeviceArray product(DType::F32, shape.ffn);
        const DeviceList<DecodeCounts> counts({{1, 1, 1}});
        decode_gate_up({ffn.gate.view,
                        ffn.up.view,
                        ffn.device_x.as<float>(),
                        {ffn.device_gain.as<float>(), kEps},
                        gating,
                        product.as<float>(),
                        counts.data()},
                       launch_of(shape.blocks, false));
        finish();
        const Values got = product.get(), input = normed(ffn.x, ffn.gain, kEps);
        unsigned long long zeros = 1;
        for (std::int64_t i = 0; i < shape.ffn; ++i) {
          const Dot g = dot(ffn.gate.row(i), input), u = dot(ffn.up.row(i), input);
          const double want = glu_ref(gating, g.value, u.value), value = got[static_cast<std::size_t>(i)];
          zeros += value == 0;
          ASSERT_LE(std::abs(value - want), 1.1 * g.bound * (std::abs(u.value) + u.bound) +
                                                std::abs(g.value) * u.bound + 16 * kUnit * std::abs(want));
        }
        EXPECT_EQ(counts.get()[0].zeros, zeros);
        EXPECT_EQ(counts.get()[0].up_rows, static_cast<unsigned long long>(shape.ffn) + 1);
        EXPECT_TRUE(product.intact());
      }
}

}  // namespace
}  // namespace lacuna::cuda::test
