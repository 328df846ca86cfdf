#include "src/model/cuda/gemm.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/CUDAEvent.h>
#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <span>
#include <tuple>

#include "src/base/error.h"

namespace lacuna::on_cuda {

namespace {

constexpr std::size_t kWorkspaceBytes = 32u << 20;
constexpr int kCandidates = 8, kRepeats = 3;
constexpr double kWorthTiming = 1e9;  // FLOPs: below, launches cost more than a better algorithm saves
constexpr float kBetter = 0.98f;      // an algorithm further down the list must be this much faster

void check(cublasStatus_t status, const char* what) {
  LACUNA_CHECK(status == CUBLAS_STATUS_SUCCESS, ErrorKind::Internal, "{}: {}", what,
               cublasGetStatusString(status));
}

cudaDataType_t data_type(at::ScalarType type) {
  switch (type) {
    case at::kDouble:
      return CUDA_R_64F;
    case at::kFloat:
      return CUDA_R_32F;
    case at::kBFloat16:
      return CUDA_R_16BF;
    default:
      fail(ErrorKind::Internal, "no matrix product of {}", c10::toString(type));
  }
}

// 16 bytes are enough for every fast kernel; asking for no more keeps the choice independent of addresses.
int alignment(const void* pointer) {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  for (int bytes = 16; bytes > 2; bytes /= 2)
    if (address % static_cast<unsigned>(bytes) == 0) return bytes;
  return 2;
}

using Key = std::tuple<std::int64_t, std::int64_t, std::int64_t, bool, bool, bool, int, int, int>;

Key key_of(const Gemm& g) {
  const int aligned =
      std::min({alignment(g.a), alignment(g.b), alignment(g.out), alignment(g.add ? g.add : g.out)});
  return {g.rows,
          g.cols,
          g.depth,
          g.a_transposed,
          g.b_transposed,
          g.add != nullptr,
          static_cast<int>(g.in),
          static_cast<int>(g.result),
          aligned};
}

// cuBLASLt thinks in columns: the product it is asked for is outᵀ [cols, rows] = bᵀ·aᵀ.
class Plan {
 public:
  Plan(cublasLtHandle_t handle, const Gemm& g, void* workspace) {
    const bool wide = g.in == at::kDouble;
    scale_type_ = wide ? CUDA_R_64F : CUDA_R_32F;
    check(cublasLtMatmulDescCreate(&product_, wide ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F, scale_type_),
          "cublasLtMatmulDescCreate");
    set_transposed(CUBLASLT_MATMUL_DESC_TRANSA, g.b_transposed);
    set_transposed(CUBLASLT_MATMUL_DESC_TRANSB, g.a_transposed);
    b_ = layout(g.in, g.b_transposed ? g.depth : g.cols, g.b_transposed ? g.cols : g.depth);
    a_ = layout(g.in, g.a_transposed ? g.rows : g.depth, g.a_transposed ? g.depth : g.rows);
    out_ = layout(g.result, g.cols, g.rows);
    choose(handle, g, workspace);
  }
  ~Plan() {
    for (cublasLtMatrixLayout_t each : {a_, b_, out_})
      if (each) cublasLtMatrixLayoutDestroy(each);
    if (product_) cublasLtMatmulDescDestroy(product_);
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  void run(cublasLtHandle_t handle, const Gemm& g, void* workspace, cudaStream_t stream) const {
    const double one64 = 1, zero64 = 0;
    const float one32 = 1, zero32 = 0;
    const bool wide = scale_type_ == CUDA_R_64F;
    const void* one = wide ? static_cast<const void*>(&one64) : &one32;
    const void* zero = wide ? static_cast<const void*>(&zero64) : &zero32;
    check(cublasLtMatmul(handle, product_, one, g.b, b_, g.a, a_, g.add ? one : zero, g.add ? g.add : g.out,
                         out_, g.out, out_, &algorithm_, workspace, kWorkspaceBytes, stream),
          "cublasLtMatmul");
  }

 private:
  void set_transposed(cublasLtMatmulDescAttributes_t which, bool transposed) {
    const cublasOperation_t operation = transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    check(cublasLtMatmulDescSetAttribute(product_, which, &operation, sizeof operation), "transposition");
  }
  static cublasLtMatrixLayout_t layout(at::ScalarType type, std::int64_t rows, std::int64_t cols) {
    cublasLtMatrixLayout_t out = nullptr;
    check(cublasLtMatrixLayoutCreate(&out, data_type(type), static_cast<std::uint64_t>(rows),
                                     static_cast<std::uint64_t>(cols), rows),
          "cublasLtMatrixLayoutCreate");
    return out;
  }
  void choose(cublasLtHandle_t handle, const Gemm& g, void* workspace) {
    cublasLtMatmulPreference_t wish = nullptr;
    check(cublasLtMatmulPreferenceCreate(&wish), "cublasLtMatmulPreferenceCreate");
    const std::size_t bytes = kWorkspaceBytes;
    const auto aligned = static_cast<std::uint32_t>(std::get<8>(key_of(g)));
    check(cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes,
                                               sizeof bytes),
          "workspace");
    for (auto which :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
      check(cublasLtMatmulPreferenceSetAttribute(wish, which, &aligned, sizeof aligned), "alignment");
    std::array<cublasLtMatmulHeuristicResult_t, kCandidates> found{};
    const int wanted = at::globalContext().deterministicAlgorithms() ? 1 : kCandidates;
    int count = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(handle, product_, b_, a_, out_, out_, wish,
                                                                 wanted, found.data(), &count);
    cublasLtMatmulPreferenceDestroy(wish);
    LACUNA_CHECK(status == CUBLAS_STATUS_SUCCESS && count >= 1, ErrorKind::Internal,
                 "cuBLASLt has no algorithm for a product [{}, {}] over {}", g.rows, g.cols, g.depth);
    algorithm_ = found[0].algo;
    const double flops =
        2.0 * static_cast<double>(g.rows) * static_cast<double>(g.cols) * static_cast<double>(g.depth);
    if (count > 1 && flops >= kWorthTiming)
      take_fastest(handle, g, {found.data(), static_cast<std::size_t>(count)}, workspace);
  }

  // Times the candidates on the real operands, the result going elsewhere.
  void take_fastest(cublasLtHandle_t handle, const Gemm& g,
                    std::span<const cublasLtMatmulHeuristicResult_t> candidates, void* workspace) {
    const cudaStream_t stream = at::cuda::getCurrentCUDAStream().stream();
    const at::Tensor elsewhere = at::empty(
        {g.rows, g.cols}, at::TensorOptions().dtype(g.result).device(at::kCUDA, at::cuda::current_device()));
    Gemm trial = g;
    trial.out = elsewhere.data_ptr();
    at::cuda::CUDAEvent begin(cudaEventDefault), end(cudaEventDefault);
    float best = std::numeric_limits<float>::infinity();
    cublasLtMatmulAlgo_t fastest = algorithm_;
    for (const cublasLtMatmulHeuristicResult_t& candidate : candidates) {
      if (candidate.state != CUBLAS_STATUS_SUCCESS) continue;
      algorithm_ = candidate.algo;
      run(handle, trial, workspace, stream);
      begin.record();
      for (int i = 0; i < kRepeats; ++i) run(handle, trial, workspace, stream);
      end.record();
      end.synchronize();
      const float taken = begin.elapsed_time(end);
      if (taken < kBetter * best) best = taken, fastest = candidate.algo;
    }
    algorithm_ = fastest;
  }

  cudaDataType_t scale_type_ = CUDA_R_32F;
  cublasLtMatmulDesc_t product_ = nullptr;
  cublasLtMatrixLayout_t a_ = nullptr, b_ = nullptr, out_ = nullptr;
  cublasLtMatmulAlgo_t algorithm_{};
};

// One per thread, as a rank is one thread with one stream; made at the first product.
struct ThreadProducts {
  ThreadProducts()
      : workspace(
            at::empty({static_cast<std::int64_t>(kWorkspaceBytes)},
                      at::TensorOptions().dtype(at::kByte).device(at::kCUDA, at::cuda::current_device()))) {
    check(cublasLtCreate(&handle), "cublasLtCreate");
  }
  cublasLtHandle_t handle = nullptr;  // lives as long as the process
  at::Tensor workspace;
  std::map<Key, Plan> plans;
};

}  // namespace

void gemm(const Gemm& g) {
  if (g.rows == 0 || g.cols == 0) return;
  thread_local ThreadProducts products;
  const auto [place, fresh] =
      products.plans.try_emplace(key_of(g), products.handle, g, products.workspace.data_ptr());
  place->second.run(products.handle, g, products.workspace.data_ptr(),
                    at::cuda::getCurrentCUDAStream().stream());
}

}  // namespace lacuna::on_cuda
