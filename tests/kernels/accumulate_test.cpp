// accumulate_rows against double: bound (rows + conversion)·u·sum|a||w|; skipped rows change no bit.
#include "kernels/accumulate.h"

#include "src/base/error.h"
#include "tests/kernels/kernel_data.h"

namespace lacuna {
namespace {

using namespace test;

struct Shape {
  std::int64_t rows, cols, tokens;
};
const Shape kShapes[] = {{1, 1, 1},    {0, 5, 2},     {3, 15, 1},    {7, 16, 4},
                         {13, 17, 5},  {4, 63, 3},    {33, 97, 9},   {64, 64, 33},
                         {300, 80, 6}, {257, 129, 4}, {1152, 67, 2}, {515, 131, 7}};

void check_close(const Weights& w, Runs runs, const std::vector<float>& a, const Guarded& y,
                 const Shape& shape) {
  std::vector<double> want(static_cast<std::size_t>(shape.tokens * shape.cols), 0);
  accumulate_rows_ref(w.view, runs, widened(a).data(), shape.tokens, want.data());
  for (std::int64_t t = 0; t < shape.tokens; ++t)
    for (std::int64_t j = 0; j < shape.cols; ++j) {
      double size = 0, steps = w.view.dtype == DType::F64 ? 1 : 0;
      for (const ActiveRun& run : runs)
        for (std::int64_t i = run.start; i < run.start + run.length; ++i, ++steps)
          size += std::abs(w.at(i, j) * a[static_cast<std::size_t>(t * shape.rows + i)]);
      ASSERT_NEAR(y.rows.row(t)[j], want[static_cast<std::size_t>(t * shape.cols + j)],
                  1.01 * steps * kUnit * size);
    }
}

TEST(AccumulateRows, AgreesWithDoubleAndAcrossInstructionSets) {
  for (const Shape& shape : kShapes)
    for (DType dtype : {DType::F32, DType::BF16, DType::F16, DType::F64}) {
      SCOPED_TRACE(testing::Message()
                   << shape.rows << "x" << shape.cols << " tokens " << shape.tokens << " " << name_of(dtype));
      const Weights w(dtype, shape.rows, shape.cols, 5, "w");
      const std::vector<float> a = random_floats("a", shape.tokens * shape.rows);
      for (const std::vector<ActiveRun>& runs : {whole(shape.rows), ragged(shape.rows)}) {
        Scratch scratch;
        Guarded first(shape.tokens, shape.cols);
        accumulate_rows(w.view, runs, rows_of(a, shape.tokens, shape.rows), first.rows, 0, shape.cols,
                        scratch, Isa::Scalar);
        EXPECT_TRUE(first.intact());
        check_close(w, runs, a, first, shape);
        for (Isa isa : supported_isas()) {
          Guarded y(shape.tokens, shape.cols);
          accumulate_rows(w.view, runs, rows_of(a, shape.tokens, shape.rows), y.rows, 0, shape.cols, scratch,
                          isa);
          EXPECT_TRUE(y == first) << name_of(isa);
        }
      }
    }
}

TEST(AccumulateRows, BitsDoNotDependOnTheCutOverColumnsOrTokens) {
  const std::int64_t rows = 301, cols = 149, tokens = 10;
  const Weights w(DType::BF16, rows, cols, 0, "w");
  const std::vector<float> a = random_floats("a", tokens * rows);
  for (Isa isa : supported_isas()) {
    Scratch scratch;
    Guarded together(tokens, cols), apart(tokens, cols);
    accumulate_rows(w.view, whole(rows), rows_of(a, tokens, rows), together.rows, 0, cols, scratch, isa);
    for (std::int64_t t = 0; t < tokens; ++t)
      for (std::int64_t begin = 0; begin < cols; begin += 23)
        accumulate_rows(w.view, whole(rows), {a.data() + t * rows, 1, rows, rows},
                        {apart.rows.row(t), 1, cols, cols}, begin, std::min(begin + 23, cols), scratch, isa);
    EXPECT_TRUE(together == apart) << name_of(isa);
  }
}

TEST(AccumulateRows, SkippingExactZerosChangesNoBitAndReadsNoInactiveRow) {
  const std::int64_t rows = 90, cols = 50;
  for (std::int64_t tokens : {1, 5})
    for (Isa isa : supported_isas()) {
      Weights w(DType::F32, rows, cols, 0, "w");
      std::vector<float> a = random_floats("a", tokens * rows);
      std::vector<ActiveRun> active;
      for (std::int32_t i = 0; i < rows; ++i) {
        if (i % 7 == 3)
          active.push_back({i, 1});
        else
          for (std::int64_t t = 0; t < tokens; ++t)
            a[static_cast<std::size_t>(t * rows + i)] = i % 2 ? 0.0f : -0.0f;
      }
      Scratch scratch;
      Guarded dense(tokens, cols), sparse(tokens, cols);
      accumulate_rows(w.view, whole(rows), rows_of(a, tokens, rows), dense.rows, 0, cols, scratch, isa);
      for (std::int64_t i = 0; i < rows; ++i)
        if (i % 7 != 3) {
          w.fill_row(i, std::nan(""));
          for (std::int64_t t = 0; t < tokens; ++t) a[static_cast<std::size_t>(t * rows + i)] = std::nanf("");
        }
      accumulate_rows(w.view, active, rows_of(a, tokens, rows), sparse.rows, 0, cols, scratch, isa);
      EXPECT_TRUE(dense == sparse) << name_of(isa);
    }
}

TEST(AccumulateRows, AnUnderflowToMinusZeroIsTheSameWithAndWithoutTheZeroThatFollows) {
  Weights w(DType::F32, 2, 16, 0, "w");
  w.fill_row(0, -1e-30);
  const std::vector<float> a = {1e-30f, 0.0f};
  const ActiveRun only[] = {{0, 1}};
  Scratch scratch;
  Guarded dense(1, 16), sparse(1, 16);
  accumulate_rows(w.view, whole(2), rows_of(a, 1, 2), dense.rows, 0, 16, scratch);
  accumulate_rows(w.view, only, rows_of(a, 1, 2), sparse.rows, 0, 16, scratch);
  EXPECT_TRUE(dense == sparse);
}

TEST(AccumulateRows, RefusesShapesThatDoNotFit) {
  const Weights w(DType::F32, 4, 8, 0, "w");
  const std::vector<float> a(16);
  Scratch scratch;
  Guarded y(2, 8);
  EXPECT_THROW(accumulate_rows(w.view, whole(4), rows_of(a, 2, 5), y.rows, 0, 8, scratch), Error);
  EXPECT_THROW(accumulate_rows(w.view, whole(4), rows_of(a, 2, 4), y.rows, 0, 9, scratch), Error);
  EXPECT_THROW(accumulate_rows(w.view, whole(5), rows_of(a, 2, 4), y.rows, 0, 8, scratch), Error);
  EXPECT_THROW(accumulate_rows(w.view, whole(4), rows_of(a, 1, 4), y.rows, 0, 8, scratch), Error);
}

}  // namespace
}  // namespace lacuna
