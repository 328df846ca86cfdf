// The fused update is the CPU's, bit for bit, in fp64 and fp32; working weights are the rounded masters.
#include "optim/adamw.h"

#include "kernels/cuda/adamw.h"
#include "tests/kernels/cuda/device_array.h"

namespace lacuna::cuda {
namespace {

using namespace test;

const std::int64_t kCounts[] = {1, 3, 0, 2048, kChunkElements - 1, 4096, 2 * kChunkElements + 5, 7};

// Segments back to back in flat buffers, as an optimizer keeps them; `shift` elements in front, so that some
// segments lie at odd addresses.
struct Flat {
  DType sums, compute;
  std::int64_t total = 0, shift;
  Values master, grad, exp_avg, exp_avg_sq;

  Flat(DType type, std::int64_t first) : sums(accumulation(type)), compute(type), shift(first) {
    for (std::int64_t count : kCounts) total += count;
    master = normals(sums, "master", total + shift, 0.02);
    grad = normals(sums, "grad", total + shift);
    exp_avg = normals(sums, "m", total + shift, 0.1);
    exp_avg_sq = normals(sums, "v", total + shift);
    for (double& v : exp_avg_sq) v = rounded(sums, v * v * 1e-3);
    grad[static_cast<std::size_t>(shift)] = 0;
    exp_avg_sq[static_cast<std::size_t>(shift)] = 0;
  }
};

template <class T>
void cpu_update(Flat& flat, const AdamWStep& step, double scale) {
  const auto typed = [](const Values& v) { return std::vector<T>(v.begin(), v.end()); };
  std::vector<T> w = typed(flat.master), g = typed(flat.grad), m = typed(flat.exp_avg),
                 v = typed(flat.exp_avg_sq);
  std::int64_t at = flat.shift;
  int index = 0;
  for (std::int64_t count : kCounts) {
    lacuna::adamw(w.data() + at, g.data() + at, m.data() + at, v.data() + at, static_cast<std::size_t>(count),
                  step.lr, index++ % 2 == 0 ? 0.1 : 0.0, scale, step.step,
                  {step.beta1, step.beta2, step.eps, 0});
    at += count;
  }
  flat.master.assign(w.begin(), w.end());
  flat.exp_avg.assign(m.begin(), m.end());
  flat.exp_avg_sq.assign(v.begin(), v.end());
}

struct OnDevice {
  DeviceArray master, grad, exp_avg, exp_avg_sq, weight;
  explicit OnDevice(const Flat& f)
      : master(f.sums, f.master),
        grad(f.sums, f.grad),
        exp_avg(f.sums, f.exp_avg),
        exp_avg_sq(f.sums, f.exp_avg_sq),
        weight(f.compute, f.total + f.shift) {}

  void update(const Flat& f, const AdamWStep& step, const UpdateControl& control) {
    std::vector<AdamWSegment> table;
    std::vector<std::int64_t> counts;
    std::int64_t at = f.shift;
    for (std::int64_t count : kCounts) {
      table.push_back({master.at(at), grad.at(at), exp_avg.at(at), exp_avg_sq.at(at), weight.at(at), count,
                       table.size() % 2 == 0 ? 0.1 : 0.0});
      counts.push_back(count);
      at += count;
    }
    const std::vector<Chunk> cut = cut_into_chunks(counts);
    const DeviceList<AdamWSegment> segments(table);
    const DeviceList<Chunk> chunks(cut);
    const DeviceList<UpdateControl> controls({control});
    cuda::adamw(f.compute, segments.data(), {chunks.data(), static_cast<std::int64_t>(cut.size())}, step,
                controls.data(), nullptr);
    finish();
    EXPECT_TRUE(master.intact() && grad.intact() && exp_avg.intact() && exp_avg_sq.intact() &&
                weight.intact());
  }
};

TEST(AdamWCuda, HasTheBitsOfTheCpu) {
  for (DType dtype : kFloatTypes)
    for (std::int64_t shift : {0, 1}) {
      Flat flat(dtype, shift);
      OnDevice device(flat);
      for (std::int64_t number = 1; number <= 3; ++number) {
        const AdamWStep step{3e-4 * static_cast<double>(number), 0.9, 0.95, 1e-8, number};
        const double scale = number == 2 ? 0.37 : 1.0;
        device.update(flat, step, {1.5, scale, 1});
        if (dtype == DType::F64)
          cpu_update<double>(flat, step, scale);
        else
          cpu_update<float>(flat, step, scale);
        EXPECT_EQ(device.master.get(), flat.master) << name_of(dtype) << " " << number;
        EXPECT_EQ(device.exp_avg.get(), flat.exp_avg) << name_of(dtype);
        EXPECT_EQ(device.exp_avg_sq.get(), flat.exp_avg_sq) << name_of(dtype);
        const Values weight = device.weight.get();
        for (std::size_t i = static_cast<std::size_t>(shift); i < weight.size(); ++i)
          ASSERT_EQ(weight[i], rounded(dtype, flat.master[i])) << name_of(dtype) << " " << i;
      }
    }
}

TEST(AdamWCuda, NothingHappensWhenNotFinite) {
  for (DType dtype : kFloatTypes) {
    const Flat flat(dtype, 0);
    OnDevice device(flat);
    const auto before = device.weight.bytes();
    device.update(flat, {}, {std::nan(""), std::nan(""), 0});
    EXPECT_EQ(device.master.get(), flat.master);
    EXPECT_EQ(device.exp_avg.get(), flat.exp_avg);
    EXPECT_EQ(device.exp_avg_sq.get(), flat.exp_avg_sq);
    EXPECT_EQ(device.weight.bytes(), before);
  }
}

}  // namespace
}  // namespace lacuna::cuda
