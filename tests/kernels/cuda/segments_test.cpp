// Zero fill, conversion, squares and the clip factor over tables of segments, some empty, some at odd
// addresses.
#include "kernels/cuda/segments.h"

#include <algorithm>
#include <limits>

#include "kernels/cuda/norms.h"
#include "tests/kernels/cuda/device_array.h"

namespace lacuna::cuda {
namespace {

using namespace test;

const std::vector<std::int64_t> kCounts = {5, 0, 1, kChunkElements, 3, 2 * kChunkElements + 13, 0, 4096};

std::int64_t total() {
  std::int64_t sum = 0;
  for (std::int64_t count : kCounts) sum += count;
  return sum;
}

// The segments back to back from element `shift` on; `to` may be null.
struct Tables {
  std::vector<Chunk> cut = cut_into_chunks(kCounts);
  DeviceList<Segment> table;
  DeviceList<Chunk> list{cut};

  Tables(const DeviceArray* to, const DeviceArray* from, std::int64_t shift) : table(make(to, from, shift)) {}
  Chunks chunks() const { return {list.data(), static_cast<std::int64_t>(cut.size())}; }

  static std::vector<Segment> make(const DeviceArray* to, const DeviceArray* from, std::int64_t shift) {
    std::vector<Segment> out;
    std::int64_t at = shift;
    for (std::int64_t count : kCounts) {
      out.push_back({to ? to->at(at) : nullptr, from ? from->at(at) : nullptr, count});
      at += count;
    }
    return out;
  }
};

TEST(SegmentsCuda, ChunksCoverEveryElementOnce) {
  std::vector<std::int64_t> covered(kCounts.size(), 0);
  for (const Chunk& chunk : cut_into_chunks(kCounts)) {
    const std::int64_t begin = chunk.part * kChunkElements,
                       count = kCounts[static_cast<std::size_t>(chunk.segment)];
    ASSERT_LT(begin, count);
    EXPECT_EQ(begin, covered[static_cast<std::size_t>(chunk.segment)]);
    covered[static_cast<std::size_t>(chunk.segment)] = std::min(count, begin + kChunkElements);
  }
  EXPECT_EQ(covered, kCounts);
}

TEST(SegmentsCuda, ZerosWhatIsListed) {
  for (DType dtype : kFloatTypes)
    for (std::int64_t shift : {0, 1}) {
      const DeviceArray to(dtype, total() + shift);
      const Tables tables(&to, nullptr, shift);
      fill_zero(dtype, tables.table.data(), tables.chunks(), nullptr);
      finish();
      const Values got = to.get();
      for (std::size_t i = 0; i < got.size(); ++i)
        ASSERT_EQ(std::isnan(got[i]) ? 1.0 : got[i], i < static_cast<std::size_t>(shift) ? 1.0 : 0.0) << i;
      EXPECT_TRUE(to.intact());
    }
}

// Rounded to the nearest bf16 in one step, ties to even.
double nearest_bf16(double x) {
  if (!std::isfinite(x)) return x;
  int exponent = 0;
  std::frexp(x, &exponent);
  const double step = std::ldexp(1.0, std::max(exponent, -125) - 8);
  return std::nearbyint(x / step) * step;
}

TEST(SegmentsCuda, ConvertsWithOneRounding) {
  for (DType from_type : kFloatTypes)
    for (DType to_type : kFloatTypes)
      for (std::int64_t shift : {0, 1, 2}) {
        Values values = normals(from_type, "values", total() + shift);
        values[10] = std::numeric_limits<double>::infinity();
        values[11] = rounded(from_type, 1 + 0x1p-8 + 0x1p-40);  // just above a tie of bf16
        values[12] = rounded(from_type, 1 + 0x1p-8);            // a tie
        values[13] = -0.0;
        values[14] = rounded(from_type, 3e-40);
        const DeviceArray from(from_type, values), to(to_type, total() + shift);
        const Tables tables(&to, &from, shift);
        convert(from_type, to_type, tables.table.data(), tables.chunks(), nullptr);
        finish();
        const Values got = to.get();
        for (std::size_t i = static_cast<std::size_t>(shift); i < got.size(); ++i)
          ASSERT_EQ(got[i], to_type == DType::BF16 ? nearest_bf16(values[i]) : rounded(to_type, values[i]))
              << name_of(from_type) << " to " << name_of(to_type) << " " << i;
        EXPECT_TRUE(to.intact());
      }
}

TEST(NormsCuda, SquaresAgreeAndDoNotDependOnAddresses) {
  for (DType dtype : kFloatTypes) {
    Values first;
    for (std::int64_t shift : {0, 1, 0}) {
      Values values(static_cast<std::size_t>(shift), std::nan(""));
      const Values real = normals(dtype, "grads", total());
      values.insert(values.end(), real.begin(), real.end());
      const DeviceArray from(dtype, values), squares(DType::F64, static_cast<std::int64_t>(kCounts.size()));
      const Tables tables(nullptr, &from, shift);
      const Workspace workspace(sum_squares_workspace(tables.chunks().count));
      sum_squares(dtype, tables.table.data(), static_cast<std::int64_t>(kCounts.size()), tables.chunks(),
                  squares.as<double>(), workspace.data(), nullptr);
      finish();
      EXPECT_TRUE(squares.intact() && workspace.intact());
      const Values got = squares.get();
      std::size_t at = 0;
      for (std::size_t segment = 0; segment < kCounts.size(); ++segment) {
        double want = 0;
        for (std::int64_t i = 0; i < kCounts[segment]; ++i, ++at) want += real[at] * real[at];
        // 64 terms a thread, a tree of eight levels, the chunks; the reference's own chain.
        EXPECT_NEAR(got[segment], want, (100.0 + static_cast<double>(kCounts[segment])) * 0x1p-53 * want);
      }
      EXPECT_EQ(got, first.empty() ? got : first) << name_of(dtype) << " shift " << shift;
      first = got;
    }
  }
}

UpdateControl clip(const Values& squares, double max_norm, double loss) {
  const DeviceArray table(DType::F64, squares), loss_at(DType::F64, Values{loss});
  const DeviceList<UpdateControl> control({{-1, -1, -1}});
  clip_gradients(table.as<double>(), table.count(), max_norm, loss_at.as<double>(), control.data(), nullptr);
  finish();
  return control.get()[0];
}

TEST(NormsCuda, ClipsAsTheCpuDoes) {
  for (std::int64_t count : {1, 7, 256, 257, 1000}) {
    Values squares = normals(DType::F64, "squares", count);
    double sum = 0;
    for (double& x : squares) sum += x = x * x;
    const double norm = std::sqrt(sum);
    for (double max_norm : {0.0, 0.5 * norm, 2 * norm}) {
      const UpdateControl got = clip(squares, max_norm, 1.0);
      EXPECT_EQ(got.grad_norm, norm) << count;
      EXPECT_EQ(got.grad_scale, max_norm > 0 ? std::min(1.0, max_norm / (norm + 1e-6)) : 1.0) << count;
      EXPECT_EQ(got.finite, 1);
    }
  }
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(clip({1, std::nan(""), 1}, 1, 1).finite, 0);
  EXPECT_EQ(clip({1, infinity}, 1, 1).finite, 0);
  EXPECT_EQ(clip({1}, 1, std::nan("")).finite, 0);
  EXPECT_EQ(clip({1}, 1, -infinity).finite, 0);
  EXPECT_EQ(clip({}, 1, 0).grad_norm, 0);
}

}  // namespace
}  // namespace lacuna::cuda
