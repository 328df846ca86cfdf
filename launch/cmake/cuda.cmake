# nvcc and the CUDA libraries, from the toolkit at CUDAToolkit_ROOT, from the wheels beside libtorch, or from
# /usr/local/cuda. The runtime is linked statically; cuBLAS and NCCL are those of the torch wheel.
if(LACUNA_TORCH)
  get_filename_component(site ${LACUNA_TORCH} REALPATH)
  file(GLOB LACUNA_NVIDIA ${site}/../nvidia/*)
endif()
find_program(LACUNA_NVCC nvcc
  PATHS ${CUDAToolkit_ROOT}/bin $ENV{CUDA_HOME}/bin ${site}/../nvidia/cu13/bin /usr/local/cuda/bin NO_DEFAULT_PATH)
find_program(LACUNA_NVCC nvcc)
if(NOT LACUNA_NVCC AND NOT CMAKE_CUDA_COMPILER)
  message(FATAL_ERROR "lacuna: no nvcc for -DLACUNA_CUDA=ON. Run launch/setup.sh --cuda, or say "
                      "-DCUDAToolkit_ROOT=/path/to/cuda-13.")
endif()
if(NOT CMAKE_CUDA_COMPILER)
  set(CMAKE_CUDA_COMPILER ${LACUNA_NVCC} CACHE FILEPATH "nvcc")
endif()
# Real code for A100 and H100/H200; 90a brings Hopper's own instructions.
set(CMAKE_CUDA_ARCHITECTURES "80-real;90a-real" CACHE STRING "GPU architectures")
if(CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()
enable_language(CUDA)
# CMake 3.25 knows no CUDA20 for nvcc 13.
if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
string(APPEND CMAKE_CUDA_FLAGS " --expt-relaxed-constexpr")
set(CMAKE_CUDA_FLAGS_RELEASE "-O3 -lineinfo")
find_package(CUDAToolkit REQUIRED)

add_library(lib_cuda INTERFACE)  # runtime API and headers
target_link_libraries(lib_cuda INTERFACE CUDA::cudart_static)
target_include_directories(lib_cuda SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS})

if(LACUNA_TRAIN)
  # As hints, so that the wheel's come before the system's: one process has one of each, and libtorch wants these.
  set(LACUNA_NVIDIA_HINTS ${LACUNA_NVIDIA} ${CUDAToolkit_LIBRARY_ROOT} /usr/local /usr/local/cuda)
  find_path(LACUNA_NCCL_INCLUDE nccl.h HINTS ${LACUNA_NVIDIA_HINTS} PATH_SUFFIXES include REQUIRED)
  find_library(LACUNA_NCCL_LIBRARY NAMES nccl libnccl.so.2 NAMES_PER_DIR HINTS ${LACUNA_NVIDIA_HINTS}
    PATH_SUFFIXES lib lib64 REQUIRED)
  add_library(lib_nccl INTERFACE)
  target_include_directories(lib_nccl SYSTEM INTERFACE ${LACUNA_NCCL_INCLUDE})
  target_link_libraries(lib_nccl INTERFACE ${LACUNA_NCCL_LIBRARY})

  find_library(LACUNA_CUBLAS_LIBRARY NAMES cublas libcublas.so.13 NAMES_PER_DIR HINTS ${LACUNA_NVIDIA_HINTS}
    PATH_SUFFIXES lib lib64 REQUIRED)
  find_library(LACUNA_CUBLASLT_LIBRARY NAMES cublasLt libcublasLt.so.13 NAMES_PER_DIR HINTS ${LACUNA_NVIDIA_HINTS}
    PATH_SUFFIXES lib lib64 REQUIRED)
  add_library(lib_torch_cuda INTERFACE)
  foreach(lib torch_cuda c10_cuda)
    add_library(torch_import_${lib} SHARED IMPORTED)
    set_target_properties(torch_import_${lib} PROPERTIES
      IMPORTED_LOCATION ${LACUNA_TORCH}/lib/lib${lib}.so
      IMPORTED_NO_SONAME TRUE)
  endforeach()
  # libtorch_cuda registers its operators when it is loaded: nothing refers to it by name. What it needs itself
  # (cuDNN, cuSPARSE, ...) is looked up when the program starts.
  target_link_options(lib_torch_cuda INTERFACE
    "LINKER:--no-as-needed,${LACUNA_TORCH}/lib/libtorch_cuda.so,${LACUNA_TORCH}/lib/libc10_cuda.so,--as-needed"
    "LINKER:--allow-shlib-undefined")
  target_link_libraries(lib_torch_cuda INTERFACE
    lib_torch torch_import_torch_cuda torch_import_c10_cuda ${LACUNA_CUBLASLT_LIBRARY}
    ${LACUNA_CUBLAS_LIBRARY} lib_cuda)
endif()
