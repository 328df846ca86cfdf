// linear against double, at every instruction set: bound (ceil(k/16) + 4 + conversion)·u·sum|w||x|.
#include "kernels/linear.h"

#include "src/base/error.h"
#include "tests/kernels/kernel_data.h"

namespace lacuna {
namespace {

using namespace test;

struct Shape {
  std::int64_t rows, cols, tokens;
};
const Shape kShapes[] = {{1, 1, 1},   {5, 0, 2},    {3, 15, 1},  {7, 16, 4},   {13, 17, 5},    {4, 31, 3},
                         {33, 97, 9}, {17, 64, 32}, {6, 383, 7}, {19, 385, 4}, {101, 1152, 3}, {16, 4099, 5}};
const DType kTypes[] = {DType::F32, DType::BF16, DType::F16, DType::F64};

void check_close(const Weights& w, Runs runs, const std::vector<float>& x, const Guarded& y,
                 const Shape& shape) {
  std::vector<double> want(static_cast<std::size_t>(shape.tokens * shape.rows), 0);
  linear_ref(w.view, runs, widened(x).data(), shape.tokens, want.data());
  const double steps =
      std::ceil(static_cast<double>(shape.cols) / 16) + 4 + (w.view.dtype == DType::F64 ? 1 : 0);
  for (std::int64_t t = 0; t < shape.tokens; ++t)
    for (const ActiveRun& run : runs)
      for (std::int64_t r = run.start; r < run.start + run.length; ++r) {
        double size = 0;
        for (std::int64_t k = 0; k < shape.cols; ++k)
          size += std::abs(w.at(r, k) * x[static_cast<std::size_t>(t * shape.cols + k)]);
        ASSERT_NEAR(y.rows.row(t)[r], want[static_cast<std::size_t>(t * shape.rows + r)],
                    1.01 * steps * kUnit * size);
      }
}

TEST(Linear, AgreesWithDoubleAndAcrossInstructionSets) {
  for (const Shape& shape : kShapes)
    for (DType dtype : kTypes) {
      SCOPED_TRACE(testing::Message()
                   << shape.rows << "x" << shape.cols << " tokens " << shape.tokens << " " << name_of(dtype));
      const Weights w(dtype, shape.rows, shape.cols, 3, "w");
      const std::vector<float> x = random_floats("x", shape.tokens * shape.cols);
      for (const std::vector<ActiveRun>& runs : {whole(shape.rows), ragged(shape.rows)}) {
        Scratch scratch;
        Guarded first(shape.tokens, shape.rows);
        linear(w.view, runs, rows_of(x, shape.tokens, shape.cols), first.rows, scratch, Isa::Scalar);
        EXPECT_TRUE(first.intact());
        check_close(w, runs, x, first, shape);
        for (Isa isa : supported_isas()) {
          Guarded y(shape.tokens, shape.rows);
          linear(w.view, runs, rows_of(x, shape.tokens, shape.cols), y.rows, scratch, isa);
          EXPECT_TRUE(y == first) << name_of(isa);
        }
      }
    }
}

TEST(Linear, BitsDoNotDependOnTheNumberOfTokensOrRows) {
  const std::int64_t rows = 37, cols = 205, tokens = 11;
  const Weights w(DType::BF16, rows, cols, 0, "w");
  const std::vector<float> x = random_floats("x", tokens * cols);
  for (Isa isa : supported_isas()) {
    Scratch scratch;
    Guarded together(tokens, rows), apart(tokens, rows);
    linear(w.view, whole(rows), rows_of(x, tokens, cols), together.rows, scratch, isa);
    for (std::int64_t t = 0; t < tokens; ++t)
      for (std::int32_t r = 0; r < rows; ++r) {
        const ActiveRun one[] = {{r, 1}};
        linear(w.view, one, {x.data() + t * cols, 1, cols, cols}, {apart.rows.row(t), 1, rows, rows}, scratch,
               isa);
      }
    EXPECT_TRUE(together == apart) << name_of(isa);
  }
}

TEST(Linear, LeavesInactiveOutputsAlone) {
  Weights w(DType::F32, 9, 20, 0, "w");
  for (std::int64_t r : {0, 4, 8}) w.fill_row(r, std::nan(""));
  const std::vector<float> x = random_floats("x", 6 * 20);
  const ActiveRun runs[] = {{1, 3}, {5, 3}};
  for (std::int64_t tokens : {1, 6}) {
    Scratch scratch;
    Guarded y(tokens, 9);
    linear(w.view, runs, rows_of(x, tokens, 20), y.rows, scratch);
    for (std::int64_t t = 0; t < tokens; ++t)
      for (std::int64_t r = 0; r < 9; ++r)
        EXPECT_EQ(std::isnan(y.rows.row(t)[r]), r % 4 == 0) << t << " " << r;
  }
}

TEST(Linear, RefusesShapesThatDoNotFit) {
  const Weights w(DType::F32, 4, 8, 0, "w");
  const std::vector<float> x(16);
  Scratch scratch;
  Guarded y(2, 4);
  const ActiveRun beyond[] = {{2, 3}}, backwards[] = {{2, 1}, {1, 1}};
  EXPECT_THROW(linear(w.view, whole(4), rows_of(x, 2, 7), y.rows, scratch), Error);
  EXPECT_THROW(linear(w.view, whole(4), rows_of(x, 1, 8), y.rows, scratch), Error);
  EXPECT_THROW(linear(w.view, beyond, rows_of(x, 2, 8), y.rows, scratch), Error);
  EXPECT_THROW(linear(w.view, backwards, rows_of(x, 2, 8), y.rows, scratch), Error);
  MatrixView whole_numbers = w.view;
  whole_numbers.dtype = DType::I32;
  EXPECT_THROW(linear(whole_numbers, whole(4), rows_of(x, 2, 8), y.rows, scratch), Error);
}

}  // namespace
}  // namespace lacuna
