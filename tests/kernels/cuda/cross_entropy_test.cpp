// The loss of one rank and of several against double. With K packs a thread, every term of a row's sum passes
// through at most K·(V + 6) + 30 roundings (sums, and a factor each time the running maximum grows), and
// exponentials of differences up to R carry (4 + 3.4·R) units (2 + 1.2·R last places of the fast one, and the
// rounding of the difference). In powers of two, a maximum M is rounded: 3·M units.
#include "kernels/cuda/cross_entropy.h"

#include <algorithm>
#include <limits>

#include "kernels/gradients.h"
#include "tests/kernels/cuda/device_array.h"

namespace lacuna::cuda {
namespace {

using namespace test;

struct Size {
  std::int64_t rows, cols, valid;
};
const Size kSizes[] = {{1, 1, 1},         {3, 7, 7},         {5, 8, 5},          {4, 97, 90},
                       {9, 1000, 1000},   {6, 4096, 4001},   {400, 520, 513},    {3, 32000, 32000},
                       {3, 50257, 50257}, {2, 65536, 65529}, {3, 128256, 128256}};

struct Case {
  DType dtype;
  Size size;
  Values logits;
  std::vector<std::int32_t> targets;
  double scale = 1.0 / 77;

  Case(DType type, Size s) : dtype(type), size(s) {
    logits = normals(dtype, "logits", s.rows * s.cols, 3);
    for (std::int64_t row = 0; row < s.rows; ++row) {
      for (std::int64_t i = s.valid; i < s.cols; ++i) logits[at(row, i)] = std::nan("");  // never read
      const std::uint64_t key = rng_key(3, "target");
      const double draw = rng_uniform(key, static_cast<std::uint64_t>(row));
      targets.push_back(row % 4 == 2 ? -1 : static_cast<std::int32_t>(draw * static_cast<double>(s.valid)));
    }
  }
  std::size_t at(std::int64_t row, std::int64_t col) const {
    return static_cast<std::size_t>(row * size.cols + col);
  }
};

// Gradient and its bound, summed loss and its bound.
struct Want {
  Values grad, bounds;
  double loss = 0, loss_bound = 0;
};

Want reference(const Case& c, int ranks) {
  const Size& s = c.size;
  const double u = unit(c.dtype);
  Want want{c.logits, Values(c.logits.size()), 0, 0};
  for (std::int64_t row = 0; row < s.rows; ++row) {
    const std::int64_t target = c.targets[static_cast<std::size_t>(row)];
    const auto first = c.logits.begin() + row * s.cols;
    const auto [low, high] = std::minmax_element(first, first + s.valid);
    const double range = *high - *low, most = std::max(std::abs(*low), std::abs(*high));
    const double loss = cross_entropy_ref(&want.grad[c.at(row, 0)], s.cols, s.valid, target, c.scale);
    want.loss += loss;
    const double packs = std::max(8.0, std::ceil(static_cast<double>(s.cols) / 512));
    const double sum_error = packs * (8 + 6) + 30 + ranks * (6 + range) + (4 + 3.4 * range) + 3 * most;
    if (target >= 0) want.loss_bound += u * (sum_error + 4 * (std::abs(loss) + range + 20));
    for (std::int64_t i = 0; i < s.cols; ++i) {
      const double grad = want.grad[c.at(row, i)], p = std::abs(grad + (i == target ? c.scale : 0));
      const bool zero = target < 0 || i >= s.valid;
      want.bounds[c.at(row, i)] = zero ? 0
                                       : p * u * (sum_error + 8 + 3.4 * range) + u * c.scale * (i == target) +
                                             (stored_unit(c.dtype) + u) * std::abs(grad) + tiny(c.dtype);
    }
  }
  return want;
}

LossChunk chunk_of(const Case& c, const DeviceArray& logits, const DeviceList<std::int32_t>& targets) {
  return {c.dtype, logits.data(), targets.data(), c.size.rows, c.size.cols, 0, c.size.valid, c.scale};
}

TEST(CrossEntropyCuda, OneRankAgreesWithDouble) {
  for (DType dtype : kFloatTypes)
    for (const Size& size : kSizes) {
      const Case c(dtype, size);
      const std::string what = label(dtype, size.rows, size.cols);
      const Want want = reference(c, 1);
      std::vector<std::byte> first;
      double first_loss = 0;
      for (int run = 0; run < 2; ++run) {
        const DeviceArray logits(dtype, c.logits), loss(DType::F64, Values{2.5});
        const DeviceList<std::int32_t> targets(c.targets);
        const Workspace workspace(cross_entropy_workspace(dtype, size.rows));
        cross_entropy(chunk_of(c, logits, targets), loss.as<double>(), workspace.data(), nullptr);
        finish();
        EXPECT_TRUE(logits.intact() && workspace.intact()) << what;
        if (run == 1) {
          EXPECT_EQ(first, logits.bytes()) << what;
          EXPECT_EQ(first_loss, loss.get()[0]) << what;
          continue;
        }
        first = logits.bytes();
        first_loss = loss.get()[0];
        expect_close(
            logits.get(), want.grad, [&](std::size_t i) { return want.bounds[i]; }, what);
        EXPECT_NEAR(first_loss - 2.5, want.loss, want.loss_bound + 1e-15 * (2.5 + want.loss)) << what;
      }
    }
}

// Ranks of uneven vocabularies; the last may have padding only. Reductions over ranks on the host.
void check_ranks(const Case& c, const std::vector<std::int64_t>& cuts, std::int64_t padding) {
  const Size& s = c.size;
  const DType sums_type = accumulation(c.dtype);
  const std::string what = label(c.dtype, s.rows, s.cols) + " over ranks";
  const Want want = reference(c, static_cast<int>(cuts.size()));
  const DeviceList<std::int32_t> targets(c.targets);
  std::vector<std::unique_ptr<DeviceArray>> logits, tops, sums;
  std::vector<LossChunk> chunks;
  std::int64_t first = 0;
  Values top(static_cast<std::size_t>(s.rows), -std::numeric_limits<double>::infinity());
  for (std::int64_t valid : cuts) {
    const std::int64_t cols = valid + padding;
    Values mine(static_cast<std::size_t>(s.rows * cols), std::nan(""));
    for (std::int64_t row = 0; row < s.rows; ++row)
      for (std::int64_t i = 0; i < valid; ++i)
        mine[static_cast<std::size_t>(row * cols + i)] = c.logits[c.at(row, first + i)];
    logits.push_back(std::make_unique<DeviceArray>(c.dtype, mine));
    tops.push_back(std::make_unique<DeviceArray>(sums_type, s.rows));
    sums.push_back(std::make_unique<DeviceArray>(sums_type, 2 * s.rows));
    chunks.push_back({c.dtype, logits.back()->data(), targets.data(), s.rows, cols, first, valid, c.scale});
    cross_entropy_statistics(chunks.back(), tops.back()->data(), sums.back()->data(), nullptr);
    finish();
    const Values here = tops.back()->get();
    for (std::size_t row = 0; row < top.size(); ++row) top[row] = std::max(top[row], here[row]);
    first += valid;
  }
  const DeviceArray top_of_all(sums_type, top);
  Values total(2 * top.size(), 0.0);
  for (std::size_t rank = 0; rank < chunks.size(); ++rank) {
    cross_entropy_rebase(chunks[rank], tops[rank]->data(), top_of_all.data(), sums[rank]->data(), nullptr);
    finish();
    const Values here = sums[rank]->get();
    for (std::size_t i = 0; i < total.size(); ++i) total[i] = rounded(sums_type, total[i] + here[i]);
    EXPECT_TRUE(tops[rank]->intact() && sums[rank]->intact()) << what;
  }
  const DeviceArray all_sums(sums_type, total);
  first = 0;
  for (std::size_t rank = 0; rank < chunks.size(); ++rank) {
    const DeviceArray loss(DType::F64, Values{0});
    const Workspace workspace(cross_entropy_workspace(c.dtype, s.rows));
    cross_entropy_gradient(chunks[rank], top_of_all.data(), all_sums.data(), loss.as<double>(),
                           workspace.data(), nullptr);
    finish();
    EXPECT_NEAR(loss.get()[0], want.loss, want.loss_bound + 1e-15 * want.loss) << what;
    EXPECT_TRUE(logits[rank]->intact()) << what;
    const Values got = logits[rank]->get();
    for (std::int64_t row = 0; row < s.rows; ++row)
      for (std::int64_t i = 0; i < chunks[rank].cols; ++i) {
        const double value = got[static_cast<std::size_t>(row * chunks[rank].cols + i)];
        const bool real = i < cuts[rank];
        ASSERT_NEAR(value, real ? want.grad[c.at(row, first + i)] : 0.0,
                    real ? want.bounds[c.at(row, first + i)] : 0.0)
            << what << " rank " << rank << " row " << row << " column " << i;
      }
    first += cuts[rank];
  }
}

TEST(CrossEntropyCuda, RanksTogetherAgreeWithDouble) {
  for (DType dtype : kFloatTypes) {
    check_ranks(Case(dtype, {5, 97, 97}), {40, 50, 7}, 0);
    check_ranks(Case(dtype, {5, 97, 97}), {48, 49, 0}, 8);
    check_ranks(Case(dtype, {7, 4000, 4000}), {2000, 2000}, 0);
    check_ranks(Case(dtype, {2, 50257, 50257}), {12565, 12565, 12565, 12562}, 3);
  }
}

TEST(CrossEntropyCuda, BadNumbersAreNotHidden) {
  for (DType dtype : kFloatTypes)
    for (std::int64_t cols : {40, 41})
      for (double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
        Case c(dtype, {3, cols, cols});
        c.logits[c.at(1, 5)] = bad;
        c.logits[c.at(0, 7)] = -std::numeric_limits<double>::infinity();  // an impossible token is no error
        c.targets = {0, 1, 2};
        const DeviceArray logits(dtype, c.logits), loss(DType::F64, Values{0});
        const DeviceList<std::int32_t> targets(c.targets);
        const Workspace workspace(cross_entropy_workspace(dtype, 3));
        cross_entropy(chunk_of(c, logits, targets), loss.as<double>(), workspace.data(), nullptr);
        finish();
        EXPECT_TRUE(std::isnan(loss.get()[0]));
        const Values grad = logits.get();
        EXPECT_TRUE(std::isnan(grad[c.at(1, 0)]));
        EXPECT_EQ(grad[c.at(0, 7)], 0);
        EXPECT_TRUE(std::isfinite(grad[c.at(0, 0)]) && std::isfinite(grad[c.at(2, 0)]));
      }
}

}  // namespace
}  // namespace lacuna::cuda
