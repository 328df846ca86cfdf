#include "src/infer/cuda/blas.h"

#include <cublas_v2.h>
#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "src/base/error.h"
#include "src/base/file.h"

namespace lacuna {

struct Blas::Library {
  decltype(&cublasCreate_v2) create = nullptr;
  decltype(&cublasDestroy_v2) destroy = nullptr;
  decltype(&cublasSetStream_v2) set_stream = nullptr;
  // The header overloads cublasGemmEx; this is the one with a compute type.
  cublasStatus_t (*gemm)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int, int, const void*,
                         const void*, cudaDataType, int, const void*, cudaDataType, int, const void*, void*,
                         cudaDataType, int, cublasComputeType_t, cublasGemmAlgo_t) = nullptr;
};

namespace {

// CUBLAS_VER_MAJOR of the header that this was built with: the one whose functions we declare.
std::string library_name() {
  return "libcublas.so." + std::to_string(CUBLAS_VER_MAJOR);
}

// The folder `torch` that lacuna-train was linked against, written beside the program by the build.
std::string torch_folder() {
  if (const char* named = std::getenv("LACUNA_TORCH")) return named;
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::filesystem::path note = self.parent_path() / "lacuna-train.torch";
  if (error || !std::filesystem::is_regular_file(note, error)) return {};
  std::string out = read_file(note.string(), 4096);
  while (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

// The loader's own places first (LD_LIBRARY_PATH, ld.so.conf), then the wheels beside torch, then toolkits.
std::vector<std::string> candidates() {
  const std::string name = library_name();
  std::vector<std::string> out = {name};
  const auto add = [&](const std::string& folder) { out.push_back(folder + "/" + name); };
  if (const std::string torch = torch_folder(); !torch.empty()) {
    add(torch + "/../nvidia/cu" + std::to_string(CUBLAS_VER_MAJOR) + "/lib");
    add(torch + "/../nvidia/cublas/lib");
    add(torch + "/lib");
  }
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH", "CUDAToolkit_ROOT"})
    if (const char* folder = std::getenv(variable)) add(std::string(folder) + "/lib64");
  add("/usr/local/cuda/lib64");
  add("/usr/local/cuda-" + std::to_string(CUBLAS_VER_MAJOR) + "/lib64");
  return out;
}

void* open_library() {
  std::string tried;
  for (const std::string& path : candidates()) {
    if (void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
    tried += (tried.empty() ? "" : ", ") + path;
  }
  fail(ErrorKind::Usage,
       "a prompt of more than a few tokens needs {}, and none of these can be loaded: {}; set LACUNA_TORCH "
       "to the "
       "folder 'torch' of a CUDA torch wheel, or LD_LIBRARY_PATH",
       library_name(), tried);
}

template <class Function>
void find(void* library, const char* name, Function& out) {
  out = reinterpret_cast<Function>(::dlsym(library, name));
  LACUNA_CHECK(out != nullptr, ErrorKind::Usage, "{} has no {}", library_name(), name);
}

void check_blas(cublasStatus_t status, const char* what) {
  LACUNA_CHECK(status == CUBLAS_STATUS_SUCCESS, ErrorKind::Internal, "{}: cuBLAS status {}", what,
               static_cast<int>(status));
}

cudaDataType_t type_of(DType dtype) {
  return dtype == DType::BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

}  // namespace

Blas::Blas(cuda::Stream stream) {
  void* library = open_library();
  library_ = std::make_unique<Library>();
  find(library, "cublasCreate_v2", library_->create);
  find(library, "cublasDestroy_v2", library_->destroy);
  find(library, "cublasSetStream_v2", library_->set_stream);
  find(library, "cublasGemmEx", library_->gemm);
  check_blas(library_->create(reinterpret_cast<cublasHandle_t*>(&handle_)), "cublasCreate");
  check_blas(library_->set_stream(static_cast<cublasHandle_t>(handle_), stream), "cublasSetStream");
}

Blas::~Blas() {
  library_->destroy(static_cast<cublasHandle_t>(handle_));
}

// cuBLAS counts columns first: a row-major [rows, cols] matrix is its transpose there.
void Blas::multiply(const cuda::DecodeMatrix& weight, const cuda::ProductRows& x, float* y,
                    std::int64_t y_stride, bool add) {
  LACUNA_ASSERT(weight.cols == x.width && weight.dtype == x.dtype);
  const float one = 1, keep = add ? 1.0f : 0.0f;
  check_blas(
      library_->gemm(static_cast<cublasHandle_t>(handle_), CUBLAS_OP_T, CUBLAS_OP_N,
                     static_cast<int>(weight.rows), static_cast<int>(x.count), static_cast<int>(x.width),
                     &one, weight.data, type_of(weight.dtype), static_cast<int>(weight.stride), x.data,
                     type_of(x.dtype), static_cast<int>(x.stride), &keep, y, CUDA_R_32F,
                     static_cast<int>(y_stride), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
      "cublasGemmEx");
}

void Blas::multiply_rows(const cuda::DecodeMatrix& weight, const cuda::ProductRows& x, float* y,
                         std::int64_t y_stride, bool add) {
  LACUNA_ASSERT(weight.rows == x.width && weight.dtype == x.dtype);
  const float one = 1, keep = add ? 1.0f : 0.0f;
  check_blas(
      library_->gemm(static_cast<cublasHandle_t>(handle_), CUBLAS_OP_N, CUBLAS_OP_N,
                     static_cast<int>(weight.cols), static_cast<int>(x.count), static_cast<int>(x.width),
                     &one, weight.data, type_of(weight.dtype), static_cast<int>(weight.stride), x.data,
                     type_of(x.dtype), static_cast<int>(x.stride), &keep, y, CUDA_R_32F,
                     static_cast<int>(y_stride), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
      "cublasGemmEx");
}

}  // namespace lacuna
