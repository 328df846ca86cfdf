// GB/s of the training kernels at the shape of a 1B model (16384 tokens, hidden 2048, FFN 5632, 32 query and
// 4 key/value heads of 64, bf16), beside the speed of a device-to-device copy in the same run. Bytes are
// counted once for each array that must be read or written. usage: bench_kernels_cuda [PART OF A NAME]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <vector>

#include "kernels/cuda/adamw.h"
#include "kernels/cuda/cross_entropy.h"
#include "kernels/cuda/embedding.h"
#include "kernels/cuda/norms.h"
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/rms_norm.h"
#include "kernels/cuda/train_glu.h"
#include "kernels/cuda/train_rope.h"
#include "src/base/rng.h"

namespace lacuna::cuda {
namespace {

constexpr std::int64_t kTokens = 16384, kHidden = 2048, kFfn = 5632;

// Device memory, filled with a repeated block of random bf16 or fp32 numbers (never zeros or NaN).
class Array {
 public:
  Array(DType dtype, std::int64_t count) : bytes_(static_cast<std::size_t>(count) * size_of(dtype)) {
    check(cudaMalloc(&data_, bytes_ + 16), "cudaMalloc");
    constexpr std::size_t kBlock = 1 << 20;
    std::vector<std::uint16_t> brain(kBlock);
    std::vector<float> single(kBlock / 2);
    const std::uint64_t key = rng_key(1, "bench");
    for (std::size_t i = 0; i < kBlock; ++i) {
      const auto x = static_cast<float>(rng_normal(key, i));
      brain[i] = to_bf16(x);
      if (i < single.size()) single[i] = std::abs(x);  // a second moment is not negative
    }
    const void* from = dtype == DType::BF16 ? static_cast<void*>(brain.data()) : single.data();
    for (std::size_t at = 0; at < bytes_; at += 2 * kBlock)
      check(cudaMemcpy(static_cast<std::byte*>(data_) + at, from, std::min(2 * kBlock, bytes_ - at),
                       cudaMemcpyHostToDevice),
            "cudaMemcpy");
  }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  ~Array() { cudaFree(data_); }
  template <class T = void>
  T* as() const {
    return static_cast<T*>(data_);
  }
  std::byte* at(std::size_t byte) const { return static_cast<std::byte*>(data_) + byte; }
  template <class T>
  void set(const std::vector<T>& items) {
    check(cudaMemcpy(data_, items.data(), items.size() * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
  }

 private:
  std::size_t bytes_;
  void* data_ = nullptr;
};

double copy_speed = 0;       // GB/s, set by the first measurement
const char* only = nullptr;  // names that hold this; null: all

// Median of 15 runs of eight launches each, so that the gaps between launches are those of a busy stream.
double median_ms(const std::function<void()>& launch) {
  cudaEvent_t begin, end;
  check(cudaEventCreate(&begin), "cudaEventCreate");
  check(cudaEventCreate(&end), "cudaEventCreate");
  std::vector<float> times;
  constexpr int kLaunches = 8;
  for (int run = 0; run < 17; ++run) {
    check(cudaEventRecord(begin, nullptr), "cudaEventRecord");
    for (int i = 0; i < kLaunches; ++i) launch();
    check(cudaEventRecord(end, nullptr), "cudaEventRecord");
    check(cudaEventSynchronize(end), "cudaEventSynchronize");
    float ms = 0;
    check(cudaEventElapsedTime(&ms, begin, end), "cudaEventElapsedTime");
    if (run >= 2) times.push_back(ms / kLaunches);
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  std::nth_element(times.begin(), times.begin() + 7, times.end());
  return times[7];
}

void report(const char* name, double bytes, const std::function<void()>& launch) {
  if (copy_speed > 0 && only && !std::strstr(name, only)) return;
  const double ms = median_ms(launch), speed = bytes / ms / 1e6;
  if (copy_speed == 0) copy_speed = speed;
  std::printf("%-44s %8.3f ms %8.1f MB %7.0f GB/s %5.1f %% of copy\n", name, ms, bytes / 1e6, speed,
              100 * speed / copy_speed);
}

void bench_copy() {
  const std::int64_t count = std::int64_t{1} << 30;
  const Array from(DType::BF16, count), to(DType::BF16, count);
  report("copy, 2 GiB to 2 GiB", 4e0 * static_cast<double>(count), [&] {
    check(cudaMemcpyAsync(to.as(), from.as(), static_cast<std::size_t>(2 * count), cudaMemcpyDeviceToDevice,
                          nullptr),
          "cudaMemcpyAsync");
  });
}

void bench_norm() {
  for (std::int64_t n : {kHidden, 2 * kHidden, std::int64_t{64}}) {
    const std::int64_t rows = n == 64 ? kTokens * 32 : kTokens;
    const double array = 2.0 * static_cast<double>(rows * n);
    const Array x(DType::BF16, rows * n), y(DType::BF16, rows * n), carried(DType::BF16, rows * n),
        dx(DType::BF16, rows * n), weight(DType::BF16, n), rstd(DType::F32, rows), dw(DType::F32, n),
        workspace(DType::U8, static_cast<std::int64_t>(rms_norm_backward_workspace(DType::BF16, rows, n)));
    const auto name = [n](const char* what) { return std::string(what) + ", width " + std::to_string(n); };
    report(name("rms_norm").c_str(), 2 * array,
           [&] { rms_norm(DType::BF16, x.as(), weight.as(), 1e-5, y.as(), rstd.as(), rows, n, nullptr); });
    RmsNormGrad grad{y.as(),  x.as(),  rstd.as(), weight.as(),   carried.as(),
                     dx.as(), nullptr, dw.as(),   workspace.as()};
    report(name("rms_norm_backward").c_str(), 4 * array,
           [&] { rms_norm_backward(DType::BF16, grad, rows, n, nullptr); });
    grad.carried_copy = x.as();
    report(name("rms_norm_backward, carried kept").c_str(), 5 * array,
           [&] { rms_norm_backward(DType::BF16, grad, rows, n, nullptr); });
  }
}

void bench_glu() {
  const double array = 2.0 * kTokens * kFfn;
  const Array joined(DType::BF16, 2 * kTokens * kFfn), product(DType::BF16, kTokens * kFfn),
      grad(DType::BF16, kTokens * kFfn), sums(DType::U8, 16);
  const char* names[] = {"silu", "relu", "drelu"};
  for (Gating gating : {Gating::Silu, Gating::Relu, Gating::Drelu})
    for (bool apart : {true, false}) {
      GluShape shape{gating, DType::BF16, kTokens, kFfn, 0, 0};
      void *gate = joined.as(), *up = joined.at(static_cast<std::size_t>(array));
      if (!apart) {
        shape.gate_stride = shape.up_stride = 2 * kFfn;
        up = joined.at(2 * kFfn);
      }
      const Array workspace(DType::U8, static_cast<std::int64_t>(glu_forward_workspace(shape)));
      const std::string name = std::string(names[static_cast<int>(gating)]) + (apart ? "" : ", joined rows");
      report(("glu_forward " + name).c_str(), 3 * array, [&] {
        glu_forward(shape, gate, up, product.as(), sums.as<ProductSums>(), workspace.as(), nullptr);
      });
      report(("glu_backward " + name).c_str(), 5 * array,
             [&] { glu_backward(shape, gate, up, nullptr, grad.as(), 0, nullptr); });
      if (apart)
        report(("glu_backward " + name + ", l1").c_str(), 6 * array,
               [&] { glu_backward(shape, gate, up, product.as(), grad.as(), 1e-3, nullptr); });
    }
}

void bench_rope() {
  const Array query(DType::BF16, kTokens * 2048), key(DType::BF16, kTokens * 256), cos(DType::F32, 2048 * 32),
      sin(DType::F32, 2048 * 32);
  report("rope_rotate, 32 + 4 heads of 64", 4.0 * kTokens * 2304, [&] {
    rope_rotate(DType::BF16, {query.as(), 32, 0}, {key.as(), 4, 0}, {cos.as(), sin.as(), 2048, 64}, kTokens,
                nullptr);
  });
}

void bench_loss() {
  for (const auto& [rows, cols] : {std::pair<std::int64_t, std::int64_t>{4096, 32000}, {2048, 128256}}) {
    const Array logits(DType::BF16, rows * cols), loss(DType::U8, 8), top(DType::F32, rows),
        sums(DType::F32, 2 * rows),
        workspace(DType::U8, static_cast<std::int64_t>(cross_entropy_workspace(DType::BF16, rows)));
    Array targets(DType::I32, rows);
    std::vector<std::int32_t> list;
    for (std::int64_t row = 0; row < rows; ++row)
      list.push_back(static_cast<std::int32_t>(row * 7919 % cols));
    targets.set(list);
    const double array = 2.0 * static_cast<double>(rows * cols);
    const LossChunk chunk{DType::BF16, logits.as(), targets.as<std::int32_t>(), rows, cols, 0, cols, 1e-4};
    const std::string size = " [" + std::to_string(rows) + ", " + std::to_string(cols) + "]";
    // The gradient of the last run is this one's logits: as good as any numbers.
    report(("cross_entropy" + size).c_str(), 2 * array,
           [&] { cross_entropy(chunk, loss.as<double>(), workspace.as(), nullptr); });
    report(("cross_entropy_statistics" + size).c_str(), array,
           [&] { cross_entropy_statistics(chunk, top.as(), sums.as(), nullptr); });
    report(("cross_entropy_gradient" + size).c_str(), 2 * array, [&] {
      cross_entropy_gradient(chunk, top.as(), sums.as(), loss.as<double>(), workspace.as(), nullptr);
    });
  }
}

void bench_embedding() {
  std::vector<std::int32_t> list;
  const std::uint64_t key = rng_key(2, "tokens");
  for (std::int64_t t = 0; t < kTokens; ++t) {  // cubed: frequent tokens first, as in text
    const double draw = rng_uniform(key, static_cast<std::uint64_t>(t));
    list.push_back(static_cast<std::int32_t>(draw * draw * draw * 32000));
  }
  const TokenIndex index = index_tokens(list, 0, 32000);
  const auto distinct = static_cast<std::int64_t>(index.rows.size());
  Array tokens(DType::I32, kTokens), rows(DType::I32, distinct), offsets(DType::I32, distinct + 1),
      positions(DType::I32, kTokens);
  tokens.set(list);
  rows.set(index.rows);
  offsets.set(index.offsets);
  positions.set(index.positions);
  const Array table(DType::BF16, 32000 * kHidden), out(DType::BF16, kTokens * kHidden),
      grad(DType::F32, 32000 * kHidden);
  report("embedding_rows", 4.0 * kTokens * kHidden, [&] {
    embedding_rows(DType::BF16, table.as(), 0, 32000, tokens.as<std::int32_t>(), kTokens, kHidden, out.as(),
                   nullptr);
  });
  report("embedding_grad",
         static_cast<double>(kHidden) * (2.0 * kTokens + 8.0 * static_cast<double>(distinct)), [&] {
           embedding_grad(DType::BF16, out.as(), rows.as<std::int32_t>(), offsets.as<std::int32_t>(),
                          positions.as<std::int32_t>(), distinct, kHidden, grad.as(), nullptr);
         });
}

void bench_optimizer() {
  constexpr std::int64_t kParameters = 1'100'000'000 / 16 * 16, kSegments = 200;
  const Array master(DType::F32, kParameters), grad(DType::F32, kParameters), m(DType::F32, kParameters),
      v(DType::F32, kParameters), weight(DType::BF16, kParameters);
  std::vector<AdamWSegment> segments;
  std::vector<Segment> grads, casts;
  std::vector<std::int64_t> counts;
  const std::int64_t each = kParameters / kSegments / 16 * 16;
  for (std::int64_t i = 0; i < kSegments; ++i) {
    const auto at = static_cast<std::size_t>(i * each);
    const std::int64_t count = i + 1 < kSegments ? each : kParameters - i * each;
    segments.push_back(
        {master.at(4 * at), grad.at(4 * at), m.at(4 * at), v.at(4 * at), weight.at(2 * at), count, 0.1});
    grads.push_back({grad.at(4 * at), grad.at(4 * at), count});
    casts.push_back({weight.at(2 * at), master.at(4 * at), count});
    counts.push_back(count);
  }
  const std::vector<Chunk> cut = cut_into_chunks(counts);
  Array table(DType::U8, static_cast<std::int64_t>(segments.size() * sizeof(AdamWSegment))),
      grad_table(DType::U8, static_cast<std::int64_t>(grads.size() * sizeof(Segment))),
      cast_table(DType::U8, static_cast<std::int64_t>(casts.size() * sizeof(Segment))),
      chunk_list(DType::U8, static_cast<std::int64_t>(cut.size() * sizeof(Chunk))), control(DType::U8, 24),
      squares(DType::U8, 8 * kSegments), workspace(DType::U8, static_cast<std::int64_t>(8 * cut.size()));
  table.set(segments);
  grad_table.set(grads);
  cast_table.set(casts);
  chunk_list.set(cut);
  control.set(std::vector<UpdateControl>{{1.0, 0.5, 1}});
  const Chunks chunks{chunk_list.as<Chunk>(), static_cast<std::int64_t>(cut.size())};
  report("adamw, 1.1e9 parameters", 30.0 * kParameters, [&] {
    adamw(DType::BF16, table.as<AdamWSegment>(), chunks, {1e-6, 0.9, 0.95, 1e-8, 10},
          control.as<UpdateControl>(), nullptr);
  });
  report("sum_squares", 4.0 * kParameters, [&] {
    sum_squares(DType::F32, grad_table.as<Segment>(), kSegments, chunks, squares.as<double>(), workspace.as(),
                nullptr);
  });
  report("clip_gradients (latency)", 8.0 * kSegments, [&] {
    clip_gradients(squares.as<double>(), kSegments, 1.0, nullptr, control.as<UpdateControl>(), nullptr);
  });
  report("convert fp32 to bf16", 6.0 * kParameters,
         [&] { convert(DType::F32, DType::BF16, cast_table.as<Segment>(), chunks, nullptr); });
  report("fill_zero", 4.0 * kParameters,
         [&] { fill_zero(DType::F32, grad_table.as<Segment>(), chunks, nullptr); });
}

void bench_reduce() {
  const std::int64_t count = kTokens * kHidden;
  const Array a(DType::BF16, 4 * count), out(DType::BF16, count), workspace(DType::F32, 64 * kHidden),
      sums(DType::F32, kHidden);
  Parts parts;
  parts.count = 4;
  for (int p = 0; p < 4; ++p)
    parts.data[p] = a.at(static_cast<std::size_t>(p) * 2 * static_cast<std::size_t>(count));
  report("ordered_sum of 4, bf16", 10.0 * static_cast<double>(count),
         [&] { ordered_sum(DType::BF16, parts, out.as(), count, nullptr); });
  report("column_sums (bias), bf16", 2.0 * static_cast<double>(count), [&] {
    column_sums(DType::BF16, a.as(), kHidden, kTokens, kHidden, sums.as(), workspace.as(), nullptr);
  });
  report("copy_rows, 1792 of 2048 columns", 4.0 * kTokens * 1792,
         [&] { copy_rows(a.as(), 4096, out.as(), 3584, 3584, kTokens, nullptr); });
}

}  // namespace
}  // namespace lacuna::cuda

int main(int argc, char** argv) {
  using namespace lacuna::cuda;
  if (argc > 1) only = argv[1];
  cudaDeviceProp gpu;
  check(cudaGetDeviceProperties(&gpu, 0), "cudaGetDeviceProperties");
  std::printf("%s, %d multiprocessors\n", gpu.name, gpu.multiProcessorCount);
  for (const auto bench : {bench_copy, bench_norm, bench_glu, bench_rope, bench_loss, bench_embedding,
                           bench_optimizer, bench_reduce})
    bench();
  return 0;
}
