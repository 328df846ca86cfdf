// The inner loops of matrix kernels over 16 lanes. Included once per instruction set, after its lanes.

// 16 weights of `dtype` from index i on, zeros beyond `count`. dtype is a constant after inlining.
LANES_INLINE Lanes load_weights(DType dtype, const std::byte* row, std::int64_t i) {
  switch (dtype) {
    case DType::BF16:
      return load_bf16(row + i * 2);
    case DType::F16:
      return load_f16(row + i * 2);
    case DType::F64:
      return load_f64(row + i * 8);
    default:
      return load_f32(row + i * 4);
  }
}
LANES_INLINE Lanes load_weights_part(DType dtype, const std::byte* row, std::int64_t i, std::int64_t n) {
  const std::int64_t bytes = dtype == DType::F64 ? 8 : dtype == DType::F32 ? 4 : 2;
  std::byte padded[128] = {};
  __builtin_memcpy(padded, row + i * bytes, static_cast<std::size_t>(n * bytes));
  return load_weights(dtype, padded, 0);
}

LANES_INLINE void unpack_of(DType dtype, const std::byte* source, float* out, std::int64_t count) {
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) store(out + i, load_weights(dtype, source, i));
  if (i < count) store_part(out + i, load_weights_part(dtype, source, i, count - i), count - i);
}
void unpack(DType dtype, const std::byte* source, float* out, std::int64_t count) {
  switch (dtype) {
    case DType::BF16:
      return unpack_of(DType::BF16, source, out, count);
    case DType::F16:
      return unpack_of(DType::F16, source, out, count);
    case DType::F64:
      return unpack_of(DType::F64, source, out, count);
    default:
      return unpack_of(DType::F32, source, out, count);
  }
}

// tile[r][t] += w_r · x_t over k, lane by lane.
template <int R, int T>
LANES_INLINE void dot_tile(DType dtype, const std::byte* const* w, const float* x, std::int64_t x_stride,
                           std::int64_t k, Lanes (&tile)[R][T]) {
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) tile[r][t] = zero();
  std::int64_t i = 0;
  for (; i + 16 <= k; i += 16) {
    Lanes column[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) column[r] = load_weights(dtype, w[r], i);
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
      const Lanes value = load(x + t * x_stride + i);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) tile[r][t] = fma(column[r], value, tile[r][t]);
    }
  }
  if (i == k) return;
#pragma GCC unroll 4
  for (int t = 0; t < T; ++t) {
    const Lanes value = load_part(x + t * x_stride + i, k - i);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) tile[r][t] = fma(load_weights_part(dtype, w[r], i, k - i), value, tile[r][t]);
  }
}

LANES_INLINE void dot_rows_of(DType dtype, const std::byte* const* w, std::int64_t rows, const float* x,
                              std::int64_t k, float* y) {
  std::int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    Lanes tile[4][1];
    dot_tile(dtype, w + r, x, 0, k, tile);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) y[r + i] = sum(tile[i][0]);
  }
  for (; r < rows; ++r) {
    Lanes tile[1][1];
    dot_tile(dtype, w + r, x, 0, k, tile);
    y[r] = sum(tile[0][0]);
  }
}
void dot_rows(DType dtype, const std::byte* const* w, std::int64_t rows, const float* x, std::int64_t k,
              float* y) {
  switch (dtype) {
    case DType::BF16:
      return dot_rows_of(DType::BF16, w, rows, x, k, y);
    case DType::F16:
      return dot_rows_of(DType::F16, w, rows, x, k, y);
    case DType::F64:
      return dot_rows_of(DType::F64, w, rows, x, k, y);
    default:
      return dot_rows_of(DType::F32, w, rows, x, k, y);
  }
}

void dot_block(const std::byte* const* w, std::int64_t rows, const float* x, std::int64_t x_stride,
               std::int64_t tokens, std::int64_t k, float* y, std::int64_t y_stride) {
  std::int64_t t = 0;
  for (; t + kDotTokens <= tokens; t += kDotTokens) {
    std::int64_t r = 0;
    for (; r + kDotRows <= rows; r += kDotRows) {
      Lanes tile[kDotRows][kDotTokens];
      dot_tile(DType::F32, w + r, x + t * x_stride, x_stride, k, tile);
      store_tile(tile, y + t * y_stride + r, y_stride);
    }
    for (; r < rows; ++r) {
      Lanes tile[1][kDotTokens];
      dot_tile(DType::F32, w + r, x + t * x_stride, x_stride, k, tile);
      for (int i = 0; i < kDotTokens; ++i) y[(t + i) * y_stride + r] = sum(tile[0][i]);
    }
  }
  for (; t < tokens; ++t) dot_rows_of(DType::F32, w, rows, x + t * x_stride, k, y + t * y_stride);
}

// y[j .. j+16) += a[0..R) · w, for R rows of weights.
template <int R>
LANES_INLINE void axpy_step(DType dtype, const std::byte* const* w, const float* a, float* y,
                            std::int64_t cols) {
  Lanes factor[R];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) factor[r] = broadcast(a[r]);
  std::int64_t j = 0;
  for (; j + 16 <= cols; j += 16) {
    Lanes value = load(y + j);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) value = fma(factor[r], load_weights(dtype, w[r], j), value);
    store(y + j, value);
  }
  if (j == cols) return;
  Lanes value = load_part(y + j, cols - j);
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) value = fma(factor[r], load_weights_part(dtype, w[r], j, cols - j), value);
  store_part(y + j, value, cols - j);
}
LANES_INLINE void axpy_rows_of(DType dtype, const std::byte* const* w, const float* a, std::int64_t rows,
                               float* y, std::int64_t cols) {
  std::int64_t r = 0;
  for (; r + 4 <= rows; r += 4) axpy_step<4>(dtype, w + r, a + r, y, cols);
  for (; r < rows; ++r) axpy_step<1>(dtype, w + r, a + r, y, cols);
}
void axpy_rows(DType dtype, const std::byte* const* w, const float* a, std::int64_t rows, float* y,
               std::int64_t cols) {
  switch (dtype) {
    case DType::BF16:
      return axpy_rows_of(DType::BF16, w, a, rows, y, cols);
    case DType::F16:
      return axpy_rows_of(DType::F16, w, a, rows, y, cols);
    case DType::F64:
      return axpy_rows_of(DType::F64, w, a, rows, y, cols);
    default:
      return axpy_rows_of(DType::F32, w, a, rows, y, cols);
  }
}

// y[t][j .. j+16·V) += sum over r of a[t][index[r]]·w[r][j ..), T tokens at once; `part` > 0 (with V = 1)
// says how many columns there are.
template <int T, int V>
LANES_INLINE void axpy_tile(const float* w, std::int64_t w_stride, const std::int32_t* index,
                            std::int64_t rows, const float* a, std::int64_t a_stride, float* y,
                            std::int64_t y_stride, std::int64_t part) {
  Lanes value[T][V];
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v)
      value[t][v] = part > 0 ? load_part(y + t * y_stride, part) : load(y + t * y_stride + 16 * v);
  for (std::int64_t r = 0; r < rows; ++r) {
    Lanes weight[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v)
      weight[v] = part > 0 ? load_part(w + r * w_stride, part) : load(w + r * w_stride + 16 * v);
    const float* factor = a + index[r];
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) {
      const Lanes one = broadcast(factor[t * a_stride]);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) value[t][v] = fma(one, weight[v], value[t][v]);
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      if (part > 0)
        store_part(y + t * y_stride, value[t][v], part);
      else
        store(y + t * y_stride + 16 * v, value[t][v]);
    }
}
template <int T>
LANES_INLINE void axpy_tokens(const float* w, std::int64_t w_stride, const std::int32_t* index,
                              std::int64_t rows, const float* a, std::int64_t a_stride, float* y,
                              std::int64_t y_stride, std::int64_t cols) {
  std::int64_t j = 0;
  for (; j + 16 * kAxpyVectors <= cols; j += 16 * kAxpyVectors)
    axpy_tile<T, kAxpyVectors>(w + j, w_stride, index, rows, a, a_stride, y + j, y_stride, 0);
  for (; j + 16 <= cols; j += 16)
    axpy_tile<T, 1>(w + j, w_stride, index, rows, a, a_stride, y + j, y_stride, 0);
  if (j < cols) axpy_tile<T, 1>(w + j, w_stride, index, rows, a, a_stride, y + j, y_stride, cols - j);
}
void axpy_block(const float* w, std::int64_t w_stride, const std::int32_t* index, std::int64_t rows,
                const float* a, std::int64_t a_stride, std::int64_t tokens, float* y, std::int64_t y_stride,
                std::int64_t cols) {
  std::int64_t t = 0;
  for (; t + kAxpyTokens <= tokens; t += kAxpyTokens)
    axpy_tokens<kAxpyTokens>(w, w_stride, index, rows, a + t * a_stride, a_stride, y + t * y_stride, y_stride,
                             cols);
  for (; t < tokens; ++t)
    axpy_tokens<1>(w, w_stride, index, rows, a + t * a_stride, a_stride, y + t * y_stride, y_stride, cols);
}
