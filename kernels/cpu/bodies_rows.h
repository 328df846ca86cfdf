// The inner loops of row-wise kernels over 16 lanes. Included once per instruction set, after its lanes.

// exp(x) for x <= 88; below -87.3 the result is 0 or tiny (at most 2^-126). x = n·ln2 + r with |r| <= ln2/2
// in two fused steps, then the Taylor polynomial of degree 7 (remainder r^8/8! < 5.3e-9 relative): within 2
// ulp.
LANES_INLINE Lanes exponential(Lanes x) {
  x = maximum(broadcast(-87.0f), x);  // NaN stays: the second operand wins
  const Lanes n = round_even(mul(x, broadcast(1.44269504088896341f)));
  Lanes r = fma(n, broadcast(-0.693145751953125f), x);
  r = fma(n, broadcast(-1.42860682030941723e-6f), r);
  Lanes p = broadcast(1.0f / 5040);
  p = fma(p, r, broadcast(1.0f / 720));
  p = fma(p, r, broadcast(1.0f / 120));
  p = fma(p, r, broadcast(1.0f / 24));
  p = fma(p, r, broadcast(1.0f / 6));
  p = fma(p, r, broadcast(0.5f));
  p = fma(p, r, broadcast(1.0f));
  p = fma(p, r, broadcast(1.0f));
  return mul(p, power_of_two(n));
}

// x / (1 + exp(-x)); the exponent is cut at 87: beyond, the value is x·1.7e-38 at most.
LANES_INLINE Lanes silu(Lanes x) {
  const Lanes minus = minimum(broadcast(87.0f), sub(zero(), x));
  return div(x, add(broadcast(1.0f), exponential(minus)));
}

LANES_INLINE Lanes gated(int gating, Lanes gate, Lanes up) {
  if (gating == 0) return mul(silu(gate), up);
  const Lanes opened = keep_unless_nonpositive(gate, gate);
  return mul(opened, gating == 1 ? up : keep_unless_nonpositive(up, up));
}

LANES_INLINE std::int64_t glu_of(int gating, const float* gate, const float* up, float* product,
                                 std::int64_t count) {
  std::int64_t zeros = 0, i = 0;
  for (; i + 16 <= count; i += 16) {
    const Lanes out = gated(gating, load(gate + i), load(up + i));
    zeros += count_zeros(out);
    store(product + i, out);
  }
  if (i == count) return zeros;
  const std::int64_t rest = count - i;
  const Lanes out = gated(gating, load_part(gate + i, rest), load_part(up + i, rest));
  store_part(product + i, out, rest);
  return zeros + count_zeros(out) - (16 - rest);  // the padding lanes are zeros too
}
std::int64_t glu_row(int gating, const float* gate, const float* up, float* product, std::int64_t count) {
  if (gating == 0) return glu_of(0, gate, up, product, count);
  if (gating == 1) return glu_of(1, gate, up, product, count);
  return glu_of(2, gate, up, product, count);
}

void softmax_row(float* scores, std::int64_t count, float scale) {
  Lanes top = broadcast(scores[0]);
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) top = maximum(top, load(scores + i));
  float best = largest(top);
  for (; i < count; ++i) best = scores[i] > best ? scores[i] : best;
  const Lanes shift = broadcast(best), factor = broadcast(scale);
  Lanes total = zero();
  for (i = 0; i + 16 <= count; i += 16) {
    const Lanes value = exponential(mul(sub(load(scores + i), shift), factor));
    total = add(total, value);
    store(scores + i, value);
  }
  if (i < count) {
    store_part(scores + i, exponential(mul(sub(load_part(scores + i, count - i), shift), factor)), count - i);
    total = add(total, load_part(scores + i, count - i));
  }
  const Lanes inverse = broadcast(1.0f / sum(total));
  for (i = 0; i + 16 <= count; i += 16) store(scores + i, mul(load(scores + i), inverse));
  if (i < count) store_part(scores + i, mul(load_part(scores + i, count - i), inverse), count - i);
}

void rmsnorm_row(const float* x, const float* weight, float eps, float* y, std::int64_t width) {
  Lanes squares = zero();
  std::int64_t i = 0;
  for (; i + 16 <= width; i += 16) {
    const Lanes value = load(x + i);
    squares = fma(value, value, squares);
  }
  const std::int64_t whole = i, rest = width - i;
  if (rest > 0) {
    const Lanes value = load_part(x + i, rest);
    squares = fma(value, value, squares);
  }
  const Lanes scale = broadcast(1.0f / __builtin_sqrtf(sum(squares) / static_cast<float>(width) + eps));
  for (i = 0; i < whole; i += 16) store(y + i, mul(mul(load(x + i), scale), load(weight + i)));
  if (rest > 0) store_part(y + i, mul(mul(load_part(x + i, rest), scale), load_part(weight + i, rest)), rest);
}
