// 16 float lanes in one 512-bit register. Included by isa_avx512.cpp alone, inside its target region.
struct Lanes {
  __m512 v;
};
constexpr int kDotRows = 4, kDotTokens = 4, kAxpyTokens = 4, kAxpyVectors = 4;

LANES_INLINE __mmask16 first_lanes(std::int64_t n) {
  return static_cast<__mmask16>((1u << n) - 1u);
}
LANES_INLINE Lanes zero() {
  return {_mm512_setzero_ps()};
}
LANES_INLINE Lanes broadcast(float x) {
  return {_mm512_set1_ps(x)};
}
LANES_INLINE Lanes load(const float* p) {
  return {_mm512_loadu_ps(p)};
}
LANES_INLINE Lanes load_part(const float* p, std::int64_t n) {
  return {_mm512_maskz_loadu_ps(first_lanes(n), p)};
}
LANES_INLINE void store(float* p, Lanes a) {
  _mm512_storeu_ps(p, a.v);
}
LANES_INLINE void store_part(float* p, Lanes a, std::int64_t n) {
  _mm512_mask_storeu_ps(p, first_lanes(n), a.v);
}
LANES_INLINE Lanes fma(Lanes a, Lanes b, Lanes c) {
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
LANES_INLINE Lanes add(Lanes a, Lanes b) {
  return {_mm512_add_ps(a.v, b.v)};
}
LANES_INLINE Lanes sub(Lanes a, Lanes b) {
  return {_mm512_sub_ps(a.v, b.v)};
}
LANES_INLINE Lanes mul(Lanes a, Lanes b) {
  return {_mm512_mul_ps(a.v, b.v)};
}
LANES_INLINE Lanes div(Lanes a, Lanes b) {
  return {_mm512_div_ps(a.v, b.v)};
}
LANES_INLINE Lanes maximum(Lanes a, Lanes b) {
  return {_mm512_max_ps(a.v, b.v)};
}
LANES_INLINE Lanes minimum(Lanes a, Lanes b) {
  return {_mm512_min_ps(a.v, b.v)};
}
// a where x > 0 or x is NaN, else 0.
LANES_INLINE Lanes keep_unless_nonpositive(Lanes x, Lanes a) {
  return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x.v, _mm512_setzero_ps(), _CMP_NLE_UQ), a.v)};
}
LANES_INLINE int count_zeros(Lanes a) {
  return __builtin_popcount(_mm512_cmp_ps_mask(a.v, _mm512_setzero_ps(), _CMP_EQ_OQ));
}
LANES_INLINE Lanes round_even(Lanes a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
// 2^n for whole n in [-126, 127].
LANES_INLINE Lanes power_of_two(Lanes n) {
  return {_mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127)), 23))};
}
LANES_INLINE Lanes load_bf16(const std::byte* p) {
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16))};
}
LANES_INLINE Lanes load_f16(const std::byte* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
LANES_INLINE Lanes load_f64(const std::byte* p) {
  const __m256 low = _mm512_cvtpd_ps(_mm512_loadu_pd(p)), high = _mm512_cvtpd_ps(_mm512_loadu_pd(p + 64));
  return {_mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1)};
}
LANES_INLINE Lanes load_f32(const std::byte* p) {
  return {_mm512_loadu_ps(p)};
}
// Lane l + lane l+8, then l + l+4, l + l+2, l + l+1: the tree of every sum in these kernels.
LANES_INLINE float sum(Lanes a) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
LANES_INLINE float largest(Lanes a) {
  return _mm512_reduce_max_ps(a.v);
}

LANES_INLINE __m512 fold_eight(Lanes a, Lanes b) {
  return _mm512_add_ps(_mm512_shuffle_f32x4(a.v, b.v, 0x44), _mm512_shuffle_f32x4(a.v, b.v, 0xEE));
}
LANES_INLINE __m512 fold_four(__m512 a, __m512 b) {
  return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xDD));
}
// The sums of a 4 x 4 tile at once, by the same tree: y[t·stride + r] = sum(tile[r][t]).
LANES_INLINE void store_tile(const Lanes (&tile)[4][4], float* y, std::int64_t stride) {
  __m512 row[4];  // row[r]: 128-bit group t holds four partial sums of (r, t)
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r)
    row[r] = fold_four(fold_eight(tile[r][0], tile[r][1]), fold_eight(tile[r][2], tile[r][3]));
  const __m512 low =
      _mm512_add_ps(_mm512_shuffle_ps(row[0], row[1], 0x44), _mm512_shuffle_ps(row[0], row[1], 0xEE));
  const __m512 high =
      _mm512_add_ps(_mm512_shuffle_ps(row[2], row[3], 0x44), _mm512_shuffle_ps(row[2], row[3], 0xEE));
  const __m512 all = _mm512_add_ps(_mm512_shuffle_ps(low, high, 0x88), _mm512_shuffle_ps(low, high, 0xDD));
  _mm_storeu_ps(y, _mm512_castps512_ps128(all));
  _mm_storeu_ps(y + stride, _mm512_extractf32x4_ps(all, 1));
  _mm_storeu_ps(y + 2 * stride, _mm512_extractf32x4_ps(all, 2));
  _mm_storeu_ps(y + 3 * stride, _mm512_extractf32x4_ps(all, 3));
}
