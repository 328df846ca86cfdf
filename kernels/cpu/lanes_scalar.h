// 16 float lanes in an array, for machines without AVX2: right before fast. Included by isa_scalar.cpp alone.
struct Lanes {
  float v[16];
};
constexpr int kDotRows = 1, kDotTokens = 1, kAxpyTokens = 1, kAxpyVectors = 1;

#define LACUNA_EACH_LANE(expression)                    \
  Lanes out;                                            \
  for (int l = 0; l < 16; ++l) out.v[l] = (expression); \
  return out

LANES_INLINE Lanes broadcast(float x) {
  LACUNA_EACH_LANE(x);
}
LANES_INLINE Lanes zero() {
  return broadcast(0);
}
LANES_INLINE Lanes load(const float* p) {
  LACUNA_EACH_LANE(p[l]);
}
LANES_INLINE Lanes load_part(const float* p, std::int64_t n) {
  LACUNA_EACH_LANE(l < n ? p[l] : 0);
}
LANES_INLINE void store_part(float* p, Lanes a, std::int64_t n) {
  for (std::int64_t l = 0; l < n; ++l) p[l] = a.v[l];
}
LANES_INLINE void store(float* p, Lanes a) {
  store_part(p, a, 16);
}
LANES_INLINE Lanes fma(Lanes a, Lanes b, Lanes c) {
  LACUNA_EACH_LANE(__builtin_fmaf(a.v[l], b.v[l], c.v[l]));
}
LANES_INLINE Lanes add(Lanes a, Lanes b) {
  LACUNA_EACH_LANE(a.v[l] + b.v[l]);
}
LANES_INLINE Lanes sub(Lanes a, Lanes b) {
  LACUNA_EACH_LANE(a.v[l] - b.v[l]);
}
LANES_INLINE Lanes mul(Lanes a, Lanes b) {
  LACUNA_EACH_LANE(a.v[l] * b.v[l]);
}
LANES_INLINE Lanes div(Lanes a, Lanes b) {
  LACUNA_EACH_LANE(a.v[l] / b.v[l]);
}
// As the vector instructions: the second operand when either is NaN.
LANES_INLINE Lanes maximum(Lanes a, Lanes b) {
  LACUNA_EACH_LANE(a.v[l] > b.v[l] ? a.v[l] : b.v[l]);
}
LANES_INLINE Lanes minimum(Lanes a, Lanes b) {
  LACUNA_EACH_LANE(a.v[l] < b.v[l] ? a.v[l] : b.v[l]);
}
// a where x > 0 or x is NaN, else 0.
LANES_INLINE Lanes keep_unless_nonpositive(Lanes x, Lanes a) {
  LACUNA_EACH_LANE(x.v[l] <= 0 ? 0 : a.v[l]);
}
LANES_INLINE int count_zeros(Lanes a) {
  int zeros = 0;
  for (int l = 0; l < 16; ++l) zeros += a.v[l] == 0;
  return zeros;
}
LANES_INLINE Lanes round_even(Lanes a) {
  LACUNA_EACH_LANE(__builtin_nearbyintf(a.v[l]));
}
// 2^n for whole n in [-126, 127].
LANES_INLINE Lanes power_of_two(Lanes n) {
  LACUNA_EACH_LANE(std::bit_cast<float>((static_cast<std::int32_t>(n.v[l]) + 127) << 23));
}
LANES_INLINE Lanes load_bf16(const std::byte* p) {
  std::uint16_t bits[16];
  std::memcpy(bits, p, sizeof bits);
  LACUNA_EACH_LANE(from_bf16(bits[l]));
}
LANES_INLINE Lanes load_f16(const std::byte* p) {
  std::uint16_t bits[16];
  std::memcpy(bits, p, sizeof bits);
  LACUNA_EACH_LANE(from_f16(bits[l]));
}
LANES_INLINE Lanes load_f64(const std::byte* p) {
  double values[16];
  std::memcpy(values, p, sizeof values);
  LACUNA_EACH_LANE(static_cast<float>(values[l]));
}
LANES_INLINE Lanes load_f32(const std::byte* p) {
  Lanes out;
  std::memcpy(out.v, p, sizeof out.v);
  return out;
}
// Lane l + lane l+8, then l + l+4, l + l+2, l + l+1: the tree of every sum in these kernels.
LANES_INLINE float sum(Lanes a) {
  for (int width = 8; width > 0; width /= 2)
    for (int l = 0; l < width; ++l) a.v[l] += a.v[l + width];
  return a.v[0];
}
LANES_INLINE float largest(Lanes a) {
  for (int l = 1; l < 16; ++l) a.v[0] = a.v[0] > a.v[l] ? a.v[0] : a.v[l];
  return a.v[0];
}
LANES_INLINE void store_tile(const Lanes (&tile)[1][1], float* y, std::int64_t) {
  y[0] = sum(tile[0][0]);
}
#undef LACUNA_EACH_LANE
