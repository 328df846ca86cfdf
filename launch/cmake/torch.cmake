# libtorch as imported targets. find_package(Torch) is not used: it rewrites the CUDA flags, wants CUDA even
# for a CPU-only set of wheels, and is fatal without it.
if(NOT LACUNA_TORCH)
  message(FATAL_ERROR "lacuna: no libtorch. Run launch/setup.sh, or say -DLACUNA_TORCH=/path/to/torch "
                      "(the folder of a torch 2.11 wheel), or -DLACUNA_TRAIN=OFF.")
endif()
find_file(LACUNA_TORCH_HEADER ATen/ATen.h PATHS ${LACUNA_TORCH}/include NO_DEFAULT_PATH REQUIRED)

foreach(lib c10 torch_cpu)
  add_library(torch_import_${lib} SHARED IMPORTED)
  set_target_properties(torch_import_${lib} PROPERTIES
    IMPORTED_LOCATION ${LACUNA_TORCH}/lib/lib${lib}.so
    IMPORTED_NO_SONAME TRUE)
endforeach()
# libtorch_cpu of the CUDA-enabled wheel needs libcudart and libcupti, which lie beside it in nvidia/.
file(GLOB LACUNA_NVIDIA_LIBS ${LACUNA_TORCH}/../nvidia/*/lib)
add_library(lib_torch INTERFACE)
target_include_directories(lib_torch SYSTEM INTERFACE
  ${LACUNA_TORCH}/include ${LACUNA_TORCH}/include/torch/csrc/api/include)
target_link_libraries(lib_torch INTERFACE torch_import_torch_cpu torch_import_c10)
foreach(dir ${LACUNA_NVIDIA_LIBS})
  target_link_options(lib_torch INTERFACE "LINKER:-rpath-link,${dir}")
endforeach()
target_compile_options(lib_torch INTERFACE -Wno-unused-parameter -Wno-shadow)

# One precompiled ATen header for everything that uses torch (14 s once, then about 1.5 s a unit).
file(WRITE ${CMAKE_BINARY_DIR}/torch_pch.cpp "// owner of the precompiled ATen header\n")
add_library(lacuna_torch_pch STATIC ${CMAKE_BINARY_DIR}/torch_pch.cpp)
lacuna_common(lacuna_torch_pch)
target_link_libraries(lacuna_torch_pch PUBLIC lib_torch)
target_precompile_headers(lacuna_torch_pch PRIVATE <ATen/ATen.h>)
target_compile_options(lacuna_torch_pch PRIVATE -fpch-preprocess)

function(lacuna_use_torch target)
  target_link_libraries(${target} PUBLIC lib_torch)
  target_compile_options(${target} PRIVATE -fpch-preprocess)
  target_precompile_headers(${target} REUSE_FROM lacuna_torch_pch)
  get_target_property(type ${target} TYPE)
  if(type STREQUAL EXECUTABLE)
    lacuna_torch_rpath(${target})
  endif()
endfunction()

function(lacuna_torch_rpath target)
  set_target_properties(${target} PROPERTIES BUILD_RPATH "${LACUNA_TORCH}/lib;${LACUNA_NVIDIA_LIBS}")
endfunction()
