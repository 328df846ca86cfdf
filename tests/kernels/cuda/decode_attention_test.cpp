#include "kernels/cuda/decode_attention.h"

#include "kernels/attention.h"
#include "kernels/norm.h"
#include "kernels/rope.h"
#include "tests/kernels/cuda/decode_data.h"

namespace lacuna::cuda::test {
namespace {

constexpr float kEps = 1e-5f;
constexpr std::int64_t kRoom = 1100;

struct Shape {
  std::int64_t heads, kv_heads, head_dim;
};
constexpr Shape kShapes[] = {{6, 2, 10}, {4, 4, 64}, {8, 2, 128}, {14, 2, 64}, {8, 1, 96}};

// A layer's attention: a cache with `position` rotated keys, NaN behind them, and one new token.
struct Layer {
  Layer(DType type, const Shape& shape, std::int32_t first, bool norms, std::int64_t window, int splits,
        std::int64_t tokens)
      : dtype(type),
        at(shape),
        each(16 / static_cast<std::int64_t>(size_of(type))),
        stride((shape.head_dim + each - 1) / each * each),
        width((shape.heads + 2 * shape.kv_heads) * shape.head_dim),
        position({first}),
        table(rope_table(settings, shape.head_dim, kRoom)),
        cosine(DType::F32, Values(table.cosine.begin(), table.cosine.end())),
        sine(DType::F32, Values(table.sine.begin(), table.sine.end())),
        raw(normals(DType::F32, "qkv", tokens * width)),
        qkv(DType::F32, raw),
        query_norm(normals(DType::F32, "query norm", shape.head_dim)),
        key_norm(normals(DType::F32, "key norm", shape.head_dim)),
        device_query_norm(DType::F32, query_norm),
        device_key_norm(DType::F32, key_norm),
        keys(type, shape.kv_heads * kRoom * stride),
        values(type, shape.kv_heads * kRoom * stride),
        partial(DType::F32, decode_attention_partials(shape.heads, shape.head_dim, splits)),
        context(DType::F32, tokens * shape.heads * shape.head_dim),
        arrived(std::vector<unsigned>(static_cast<std::size_t>(shape.heads), 0)) {
    for (DeviceArray* array : {&keys, &values}) array->set(stored(array == &keys ? "keys" : "values", first));
    call.heads = shape.heads;
    call.kv_heads = shape.kv_heads;
    call.head_dim = shape.head_dim;
    call.qkv = qkv.as<float>();
    call.qkv_stride = width;
    call.query_norm = norms ? device_query_norm.as<float>() : nullptr;
    call.key_norm = norms ? device_key_norm.as<float>() : nullptr;
    call.eps = kEps;
    call.cosine = cosine.as<float>();
    call.sine = sine.as<float>();
    call.position = position.data();
    call.cache = {keys.data(), values.data(), type, kRoom, stride};
    call.window = window;
    call.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(shape.head_dim)));
    call.splits = splits;
    call.partial = partial.as<float>();
    call.arrived = arrived.data();
    call.context = context.as<float>();
    call.context_stride = shape.heads * shape.head_dim;
  }
  Values stored(const std::string& name, std::int64_t count) const {
    const Values random = normals(dtype, name, at.kv_heads * kRoom * stride);
    Values out(random.size(), std::nan(""));
    for (std::int64_t h = 0; h < at.kv_heads; ++h)
      for (std::int64_t p = 0; p < kRoom; ++p)
        for (std::int64_t d = 0; d < stride; ++d) {
          const auto i = static_cast<std::size_t>((h * kRoom + p) * stride + d);
          if (d >= at.head_dim)
            out[i] = 0;
          else if (p < count)
            out[i] = random[i];
        }
    return out;
  }
  // Head `h` of the raw projections of a token, normed and rotated in double.
  Values head(std::int64_t token, std::int64_t h, std::int64_t at_position, const Values* norm) const {
    const auto from = raw.begin() + token * width + h * at.head_dim;
    Values out(from, from + at.head_dim);
    if (norm != nullptr) rmsnorm_ref(out.data(), 1, at.head_dim, norm->data(), kEps, out.data());
    rope_ref(settings, at.head_dim, at_position, 1, 1, out.data());
    return out;
  }
  // [positions, head_dim] of a key/value head as stored now.
  Values rows(const DeviceArray& array, std::int64_t kv_head, std::int64_t positions) const {
    const Values all = array.get();
    Values out;
    for (std::int64_t p = 0; p < positions; ++p) {
      const auto from = all.begin() + (kv_head * kRoom + p) * stride;
      out.insert(out.end(), from, from + at.head_dim);
    }
    return out;
  }

  DType dtype;
  Shape at;
  std::int64_t each, stride, width;
  RopeSettings settings;
  DeviceList<std::int32_t> position;
  RopeTable table;
  DeviceArray cosine, sine;
  Values raw;
  DeviceArray qkv;
  Values query_norm, key_norm;
  DeviceArray device_query_norm, device_key_norm, keys, values, partial, context;
  DeviceList<unsigned> arrived;
  DecodeAttention call;
};

// The token's key and value are in the cache, rounded once; everything else there is as before.
void expect_stored(const Layer& layer, std::int64_t token, std::int64_t position, bool norms) {
  const std::int64_t width = layer.at.head_dim;
  for (std::int64_t h = 0; h < layer.at.kv_heads; ++h) {
    const Values key = layer.head(token, layer.at.heads + h, position, norms ? &layer.key_norm : nullptr);
    const Values keys = layer.rows(layer.keys, h, position + 1),
                 values = layer.rows(layer.values, h, position + 1);
    const double size = [&] {
      double most = 0;
      for (double k : key) most = std::max(most, std::abs(k));
      return most;
    }();
    for (std::int64_t d = 0; d < width; ++d) {
      const auto i = static_cast<std::size_t>(position * width + d);
      // A norm over head_dim, a rotation whose tables are rounded, one rounding to the cache's type.
      ASSERT_LE(std::abs(keys[i] - key[static_cast<std::size_t>(d)]),
                (30 * kUnit + stored_unit(layer.dtype)) * 2 * size);
      const double raw = layer.raw[static_cast<std::size_t>(
          token * layer.width + (layer.at.heads + layer.at.kv_heads + h) * width + d)];
      ASSERT_EQ(values[i], rounded(layer.dtype, raw));
    }
  }
}

void expect_context(const Layer& layer, std::int64_t token, std::int64_t position, bool norms,
                    std::int64_t window) {
  const std::int64_t width = layer.at.head_dim, group = layer.at.heads / layer.at.kv_heads;
  const Values got = layer.context.get();
  for (std::int64_t h = 0; h < layer.at.heads; ++h) {
    const Values query = layer.head(token, h, position, norms ? &layer.query_norm : nullptr);
    const Values keys = layer.rows(layer.keys, h / group, position + 1);
    const Values values = layer.rows(layer.values, h / group, position + 1);
    Values want(static_cast<std::size_t>(width));
    attention_head_ref(query.data(), 1, width, position, keys.data(), values.data(), window,
                       1 / std::sqrt(static_cast<double>(width)), want.data());
    double terms = 0, most = 0;  // size of the largest score's terms, and of values
    for (std::int64_t p = 0; p <= position; ++p) {
      double sum = 0;
      for (std::int64_t d = 0; d < width; ++d) {
        const auto i = static_cast<std::size_t>(p * width + d);
        sum += std::abs(query[static_cast<std::size_t>(d)] * keys[i]);
        most = std::max(most, std::abs(values[i]));
      }
      terms = std::max(terms, sum);
    }
    // A score errs by its query (norm, rotation: 30 units) and by a chain of 8 and a tree; a weight by twice
    // the score's error and two exponentials; sums of weights and of weighted values by a chain per stripe
    // and trees.
    const double score = (30 + 16) * kUnit * terms / std::sqrt(static_cast<double>(width));
    const double bound = 2 * most * (2 * score + (static_cast<double>(position) / 8 + 64 + 16) * kUnit);
    for (std::int64_t d = 0; d < width; ++d) {
      const auto i = static_cast<std::size_t>(token * layer.at.heads * width + h * width + d);
      ASSERT_LE(std::abs(got[i] - want[static_cast<std::size_t>(d)]), bound)
          << layer.at.heads << "/" << layer.at.kv_heads << " x " << width << " head " << h << " position "
          << position;
    }
  }
}

TEST(DecodeAttention, IsWithinItsBoundAndStoresTheToken) {
  for (DType dtype : kWeightTypes)
    for (const Shape& shape : kShapes)
      for (std::int32_t position : {0, 1, 15, 16, 300, 1050})
        for (int splits : {1, 16}) {
          const bool norms = position % 2 == 1;
          const std::int64_t window = position == 300 ? 50 : 0;
          Layer layer(dtype, shape, position, norms, window, splits, 1);
          for (int again = 0; again < 2; ++again) {  // the counters of arrived blocks are left at zero
            decode_attention(layer.call, launch_of(132, true));
            finish();
            expect_stored(layer, 0, position, norms);
            expect_context(layer, 0, position, norms, window);
          }
          for (unsigned count : layer.arrived.get()) EXPECT_EQ(count, 0u);
          EXPECT_TRUE(layer.context.intact() && layer.keys.intact() && layer.values.intact() &&
                      layer.partial.intact());
        }
}

// A prompt in one go gives the bits of one token after the other without splits.
TEST(DecodeAttention, ManyTokensHaveTheBitsOfOneByOne) {
  for (DType dtype : kWeightTypes)
    for (const Shape& shape : kShapes) {
      constexpr std::int64_t kTokens = 37;
      constexpr std::int32_t kFirst = 150;
      Layer all(dtype, shape, kFirst, true, 0, 1, kTokens), one(dtype, shape, kFirst, true, 0, 1, kTokens);
      decode_store(all.call, kTokens, launch_of(132, false));
      prefill_attention(all.call, kTokens, launch_of(132, false));
      finish();
      for (std::int64_t t = 0; t < kTokens; ++t) {
        const DeviceList<std::int32_t> position({kFirst + static_cast<std::int32_t>(t)});
        DecodeAttention call = one.call;
        call.position = position.data();
        call.qkv += t * one.width;
        call.context += t * one.call.context_stride;
        decode_attention(call, launch_of(132, false));
        finish();
      }
      EXPECT_EQ(all.context.bytes(), one.context.bytes());
      EXPECT_EQ(all.keys.bytes(), one.keys.bytes());
      EXPECT_EQ(all.values.bytes(), one.values.bytes());
      expect_context(all, kTokens - 1, kFirst + kTokens - 1, true, 0);
    }
}

}  // namespace
}  // namespace lacuna::cuda::test
