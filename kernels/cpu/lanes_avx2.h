// 16 float lanes in two 256-bit registers. Included by isa_avx2.cpp alone, inside its target region.
struct Lanes {
  __m256 lo, hi;
};
constexpr int kDotRows = 2, kDotTokens = 3, kAxpyTokens = 6, kAxpyVectors = 1;

LANES_INLINE Lanes zero() {
  return {_mm256_setzero_ps(), _mm256_setzero_ps()};
}
LANES_INLINE Lanes broadcast(float x) {
  return {_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
LANES_INLINE Lanes load(const float* p) {
  return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
LANES_INLINE void store(float* p, Lanes a) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}
LANES_INLINE Lanes load_part(const float* p, std::int64_t n) {
  float padded[16] = {};
  for (std::int64_t i = 0; i < n; ++i) padded[i] = p[i];
  return load(padded);
}
LANES_INLINE void store_part(float* p, Lanes a, std::int64_t n) {
  float padded[16];
  store(padded, a);
  for (std::int64_t i = 0; i < n; ++i) p[i] = padded[i];
}
LANES_INLINE Lanes fma(Lanes a, Lanes b, Lanes c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
LANES_INLINE Lanes add(Lanes a, Lanes b) {
  return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
LANES_INLINE Lanes sub(Lanes a, Lanes b) {
  return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}
LANES_INLINE Lanes mul(Lanes a, Lanes b) {
  return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
LANES_INLINE Lanes div(Lanes a, Lanes b) {
  return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}
LANES_INLINE Lanes maximum(Lanes a, Lanes b) {
  return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}
LANES_INLINE Lanes minimum(Lanes a, Lanes b) {
  return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}
LANES_INLINE __m256 keep_half(__m256 x, __m256 a) {
  return _mm256_and_ps(_mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_NLE_UQ), a);
}
// a where x > 0 or x is NaN, else 0.
LANES_INLINE Lanes keep_unless_nonpositive(Lanes x, Lanes a) {
  return {keep_half(x.lo, a.lo), keep_half(x.hi, a.hi)};
}
LANES_INLINE int count_zeros(Lanes a) {
  const __m256 none = _mm256_setzero_ps();
  return __builtin_popcount(
             static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(a.lo, none, _CMP_EQ_OQ)))) +
         __builtin_popcount(static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(a.hi, none, _CMP_EQ_OQ))));
}
LANES_INLINE Lanes round_even(Lanes a) {
  constexpr int kMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(a.lo, kMode), _mm256_round_ps(a.hi, kMode)};
}
LANES_INLINE __m256 power_half(__m256 n) {
  return _mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
// 2^n for whole n in [-126, 127].
LANES_INLINE Lanes power_of_two(Lanes n) {
  return {power_half(n.lo), power_half(n.hi)};
}
LANES_INLINE __m256 bf16_half(const std::byte* p) {
  const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}
LANES_INLINE Lanes load_bf16(const std::byte* p) {
  return {bf16_half(p), bf16_half(p + 16)};
}
LANES_INLINE Lanes load_f16(const std::byte* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16)))};
}
LANES_INLINE __m256 f64_half(const std::byte* p) {
  const double* at = reinterpret_cast<const double*>(p);
  return _mm256_set_m128(_mm256_cvtpd_ps(_mm256_loadu_pd(at + 4)), _mm256_cvtpd_ps(_mm256_loadu_pd(at)));
}
LANES_INLINE Lanes load_f64(const std::byte* p) {
  return {f64_half(p), f64_half(p + 64)};
}
LANES_INLINE Lanes load_f32(const std::byte* p) {
  return load(reinterpret_cast<const float*>(p));
}
// Lane l + lane l+8, then l + l+4, l + l+2, l + l+1: the tree of every sum in these kernels.
LANES_INLINE float sum(Lanes a) {
  const __m256 eight = _mm256_add_ps(a.lo, a.hi);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
LANES_INLINE float largest(Lanes a) {
  const __m256 eight = _mm256_max_ps(a.lo, a.hi);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}
LANES_INLINE void store_tile(const Lanes (&tile)[kDotRows][kDotTokens], float* y, std::int64_t stride) {
#pragma GCC unroll 4
  for (int t = 0; t < kDotTokens; ++t)
#pragma GCC unroll 4
    for (int r = 0; r < kDotRows; ++r) y[t * stride + r] = sum(tile[r][t]);
}
