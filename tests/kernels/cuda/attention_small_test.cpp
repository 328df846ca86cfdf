// Attention and its gradients against double. With S the largest Σ|q·k|·scale of a score, a score is off by
// (d + 3)·S units and a weight, relative to itself, by twice that (score and normalisation) and by a few
// units for each key; what follows is linear in the weights.
#include "kernels/cuda/attention_small.h"

#include <algorithm>

#include "kernels/attention.h"
#include "kernels/gradients.h"
#include "tests/kernels/cuda/device_array.h"

namespace lacuna::cuda {
namespace {

using namespace test;

const AttentionSize kSizes[] = {{DType::F32, 1, 1, 1, 1, 2, 0},     {DType::F32, 2, 7, 1, 3, 6, 0},
                                {DType::F32, 1, 33, 2, 1, 16, 5},   {DType::F32, 2, 70, 2, 2, 64, 0},
                                {DType::F32, 1, 65, 1, 2, 97, 32},  {DType::F32, 1, 41, 1, 1, 256, 1},
                                {DType::F32, 1, 100, 1, 4, 128, 64}};

// Values of one head, dense [positions, d], picked from [tokens, heads·d] and back.
Values pick(const AttentionSize& s, const Values& all, std::int64_t sequence, std::int64_t head,
            std::int64_t heads) {
  Values out;
  for (std::int64_t t = 0; t < s.seq_len; ++t)
    for (std::int64_t i = 0; i < s.head_dim; ++i)
      out.push_back(
          all[static_cast<std::size_t>(((sequence * s.seq_len + t) * heads + head) * s.head_dim + i)]);
  return out;
}
void place(const AttentionSize& s, const Values& one, std::int64_t sequence, std::int64_t head,
           std::int64_t heads, Values& all) {
  for (std::int64_t t = 0; t < s.seq_len; ++t)
    for (std::int64_t i = 0; i < s.head_dim; ++i)
      all[static_cast<std::size_t>(((sequence * s.seq_len + t) * heads + head) * s.head_dim + i)] =
          one[static_cast<std::size_t>(t * s.head_dim + i)];
}

struct Case {
  AttentionSize size;
  std::int64_t heads, tokens;
  double scale;
  Values query, key, value, context_grad;

  Case(AttentionSize s, DType dtype) : size(s), heads(s.kv_heads * s.group), tokens(s.sequences * s.seq_len) {
    size.dtype = dtype;
    scale = 1 / std::sqrt(static_cast<double>(s.head_dim));
    query = normals(dtype, "q", tokens * heads * s.head_dim);
    key = normals(dtype, "k", tokens * s.kv_heads * s.head_dim);
    value = normals(dtype, "v", tokens * s.kv_heads * s.head_dim);
    context_grad = normals(dtype, "g", tokens * heads * s.head_dim);
  }
  std::string what() const {
    return label(size.dtype, tokens, heads * size.head_dim) + " window " + std::to_string(size.window);
  }
  // Relative error of a weight, as above: the norms of the rows bound Σ|q·k|.
  double weight_error() const {
    const auto largest_norm = [&](const Values& all) {
      double most = 0;
      for (std::size_t at = 0; at < all.size(); at += static_cast<std::size_t>(size.head_dim)) {
        double squares = 0;
        for (std::int64_t i = 0; i < size.head_dim; ++i)
          squares += all[at + static_cast<std::size_t>(i)] * all[at + static_cast<std::size_t>(i)];
        most = std::max(most, squares);
      }
      return std::sqrt(most);
    };
    const double score = largest_norm(query) * largest_norm(key) * scale;
    const auto d = static_cast<double>(size.head_dim), n = static_cast<double>(size.seq_len);
    return unit(size.dtype) * (2 * (d + 3) * score + 2 * n + 4 * score + 20);
  }
};

struct Forward {
  Values context, lse;
};

Forward reference(const Case& c) {
  const AttentionSize& s = c.size;
  Forward out{Values(c.query.size()), Values(static_cast<std::size_t>(c.tokens * c.heads))};
  for (std::int64_t sequence = 0; sequence < s.sequences; ++sequence)
    for (std::int64_t head = 0; head < c.heads; ++head) {
      const Values q = pick(s, c.query, sequence, head, c.heads),
                   k = pick(s, c.key, sequence, head / s.group, s.kv_heads),
                   v = pick(s, c.value, sequence, head / s.group, s.kv_heads);
      Values context(q.size());
      attention_head_ref(q.data(), s.seq_len, s.head_dim, 0, k.data(), v.data(), s.window, c.scale,
                         context.data());
      place(s, context, sequence, head, c.heads, out.context);
      for (std::int64_t t = 0; t < s.seq_len; ++t) {
        double sum = 0;
        for (std::int64_t p = s.window > 0 ? std::max<std::int64_t>(0, t + 1 - s.window) : 0; p <= t; ++p) {
          double score = 0;
          for (std::int64_t i = 0; i < s.head_dim; ++i)
            score += q[static_cast<std::size_t>(t * s.head_dim + i)] *
                     k[static_cast<std::size_t>(p * s.head_dim + i)];
          sum += std::exp(score * c.scale);
        }
        out.lse[static_cast<std::size_t>((sequence * s.seq_len + t) * c.heads + head)] = std::log(sum);
      }
    }
  return out;
}

template <class Body>
void each_case(Body&& body) {
  for (DType dtype : kFloatTypes)
    for (const AttentionSize& size : kSizes) body(Case(size, dtype));
}

double largest(const Values& values) {
  double most = 0;
  for (double x : values) most = std::max(most, std::abs(x));
  return most;
}

TEST(AttentionSmallCuda, AgreesWithDouble) {
  each_case([](const Case& c) {
    const DType dtype = c.size.dtype;
    const DeviceArray query(dtype, c.query), key(dtype, c.key), value(dtype, c.value);
    const Forward want = reference(c);
    std::vector<std::byte> first;
    for (int run = 0; run < 2; ++run) {
      const DeviceArray context(dtype, static_cast<std::int64_t>(c.query.size())),
          lse(accumulation(dtype), c.tokens * c.heads);
      attention_small(c.size, query.data(), key.data(), value.data(), context.data(), lse.data(), nullptr);
      finish();
      EXPECT_TRUE(context.intact() && lse.intact());
      if (run == 1) {
        EXPECT_EQ(context.bytes(), first) << c.what();
        continue;
      }
      first = context.bytes();
      const double error = c.weight_error() * largest(c.value);
      expect_close(
          context.get(), want.context,
          [&](std::size_t i) { return error + stored_unit(dtype) * std::abs(want.context[i]); }, c.what());
      expect_close(
          lse.get(), want.lse,
          [&](std::size_t i) { return c.weight_error() + unit(dtype) * std::abs(want.lse[i]); }, c.what());
    }
  });
}

struct Gradients {
  Values query, key, value;
};

// The sum of the sizes of all terms of each gradient: what the relative errors of the weights act on.
void head_sizes(const AttentionGradRef& h, std::int64_t positions, std::int64_t d, std::int64_t window,
                double scale) {
  for (std::int64_t t = 0; t < positions; ++t)
    for (std::int64_t p = window > 0 ? std::max<std::int64_t>(0, t + 1 - window) : 0; p <= t; ++p) {
      const std::int64_t row = t * d, other = p * d;
      double score = 0, along = 0;
      for (std::int64_t i = 0; i < d; ++i) {
        score += h.query[row + i] * h.keys[other + i];
        along += std::abs(h.context_grad[row + i]) *
                 (std::abs(h.values[other + i]) + std::abs(h.context[row + i]));
      }
      const double weight = std::exp(score * scale - h.lse[t]);
      for (std::int64_t i = 0; i < d; ++i) {
        h.query_grad[row + i] += weight * along * scale * std::abs(h.keys[other + i]);
        h.key_grad[other + i] += weight * along * scale * std::abs(h.query[row + i]);
        h.value_grad[other + i] += weight * std::abs(h.context_grad[row + i]);
      }
    }
}

// Adds up `one_head` over all heads, from context and lse as the device holds them.
Gradients over_heads(const Case& c, const Values& context, const Values& lse,
                     decltype(attention_head_backward_ref)* one_head) {
  const AttentionSize& s = c.size;
  Gradients out{Values(c.query.size()), Values(c.key.size()), Values(c.value.size())};
  for (std::int64_t sequence = 0; sequence < s.sequences; ++sequence)
    for (std::int64_t kv = 0; kv < s.kv_heads; ++kv) {
      const Values k = pick(s, c.key, sequence, kv, s.kv_heads),
                   v = pick(s, c.value, sequence, kv, s.kv_heads);
      Values key_grad(k.size()), value_grad(v.size());
      for (std::int64_t head = kv * s.group; head < (kv + 1) * s.group; ++head) {
        const Values q = pick(s, c.query, sequence, head, c.heads),
                     o = pick(s, context, sequence, head, c.heads),
                     g = pick(s, c.context_grad, sequence, head, c.heads);
        Values query_grad(q.size()), own_lse;
        for (std::int64_t t = 0; t < s.seq_len; ++t)
          own_lse.push_back(lse[static_cast<std::size_t>((sequence * s.seq_len + t) * c.heads + head)]);
        one_head({q.data(), k.data(), v.data(), o.data(), own_lse.data(), g.data(), query_grad.data(),
                  key_grad.data(), value_grad.data()},
                 s.seq_len, s.head_dim, s.window, c.scale);
        place(s, query_grad, sequence, head, c.heads, out.query);
      }
      place(s, key_grad, sequence, kv, s.kv_heads, out.key);
      place(s, value_grad, sequence, kv, s.kv_heads, out.value);
    }
  return out;
}

TEST(AttentionSmallCuda, GradientsAgreeWithDouble) {
  each_case([](const Case& c) {
    const DType dtype = c.size.dtype;
    const Forward forward = reference(c);
    const Values context_values = rounded(dtype, forward.context),
                 lse_values = rounded(accumulation(dtype), forward.lse);
    const DeviceArray context(dtype, context_values), lse(accumulation(dtype), lse_values),
        context_grad(dtype, c.context_grad);
    const Gradients want = over_heads(c, context_values, lse_values, attention_head_backward_ref);
    const auto d = static_cast<double>(c.size.head_dim);
    const double terms = 2 * d + static_cast<double>(c.size.seq_len * c.size.group) + 10;
    const double error = c.weight_error() + terms * unit(dtype);
    const Gradients size = over_heads(c, context_values, lse_values, head_sizes);
    std::vector<std::byte> first;
    for (int run = 0; run < 2; ++run) {
      const DeviceArray query(dtype, c.query), key(dtype, c.key), value(dtype, c.value);
      const Workspace workspace(attention_small_backward_workspace(c.size));
      attention_small_backward(c.size, query.data(), key.data(), value.data(), context.data(), lse.data(),
                               context_grad.data(), workspace.data(), nullptr);
      finish();
      EXPECT_TRUE(query.intact() && key.intact() && value.intact() && workspace.intact());
      if (run == 1) {
        EXPECT_EQ(key.bytes(), first) << c.what();
        continue;
      }
      first = key.bytes();
      const auto bound = [error, dtype](const Values& sizes, const Values& exact) {
        return [&sizes, &exact, error, dtype](std::size_t i) {
          return error * sizes[i] + stored_unit(dtype) * std::abs(exact[i]) + tiny(dtype);
        };
      };
      expect_close(query.get(), want.query, bound(size.query, want.query), c.what() + " query");
      expect_close(key.get(), want.key, bound(size.key, want.key), c.what() + " key");
      expect_close(value.get(), want.value, bound(size.value, want.value), c.what() + " value");
    }
  });
}

}  // namespace
}  // namespace lacuna::cuda
