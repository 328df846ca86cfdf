# libtorch as imported targets. find_package(Torch) is not used: it rewrites the CUDA flags, wants CUDA even
# for a CPU-only set of wheels, and is fatal without it.
if(NOT LACUNA_TORCH)  # what launch/setup.sh made: its folder is named after the requirement file
  set(kinds cpu cuda)
  if(LACUNA_CUDA)
    set(kinds cuda)
  endif()
  foreach(kind ${kinds})
    file(SHA256 ${PROJECT_SOURCE_DIR}/launch/requirements-${kind}.txt hash)
    string(SUBSTRING ${hash} 0 12 hash)
    foreach(folder $ENV{LACUNA_TOOLCHAIN} $ENV{HOME}/.cache/lacuna/toolchain-${hash})
      if(NOT LACUNA_TORCH AND EXISTS ${folder}/stamp-${kind})
        set(LACUNA_TORCH ${folder}/torch CACHE PATH "the folder 'torch' of a torch 2.11 wheel" FORCE)
      endif()
    endforeach()
  endforeach()
endif()
if(NOT LACUNA_TORCH)
  message(FATAL_ERROR "lacuna: no libtorch. Run launch/setup.sh, or say -DLACUNA_TORCH=/path/to/torch "
                      "(the folder of a torch 2.11 wheel), or -DLACUNA_TRAIN=OFF.")
endif()
message(STATUS "libtorch: ${LACUNA_TORCH}")
find_file(LACUNA_TORCH_HEADER ATen/ATen.h PATHS ${LACUNA_TORCH}/include NO_DEFAULT_PATH REQUIRED)

foreach(lib c10 torch_cpu)
  add_library(torch_import_${lib} SHARED IMPORTED)
  set_target_properties(torch_import_${lib} PROPERTIES
    IMPORTED_LOCATION ${LACUNA_TORCH}/lib/lib${lib}.so
    IMPORTED_NO_SONAME TRUE)
endforeach()
# libtorch_cpu of the CUDA-enabled wheel needs libcudart and libcupti, which lie beside it in nvidia/.
get_filename_component(site ${LACUNA_TORCH} REALPATH)
file(GLOB LACUNA_NVIDIA_LIBS ${site}/../nvidia/*/lib)
add_library(lib_torch INTERFACE)
target_include_directories(lib_torch SYSTEM INTERFACE
  ${LACUNA_TORCH}/include ${LACUNA_TORCH}/include/torch/csrc/api/include)
# One process has one C++ library. Some compilers link theirs statically: what libtorch then finds of it in the program
# and what in its own ends in free() of an invalid pointer when the program exits.
find_library(LACUNA_STDCXX NAMES libstdc++.so.6 HINTS ${CMAKE_CXX_IMPLICIT_LINK_DIRECTORIES} REQUIRED)
target_link_libraries(lib_torch INTERFACE torch_import_torch_cpu torch_import_c10 ${LACUNA_STDCXX})
foreach(dir ${LACUNA_NVIDIA_LIBS})
  target_link_options(lib_torch INTERFACE "LINKER:-rpath-link,${dir}")
endforeach()
# The wheel brings its own fmt headers (another inline namespace), found before the system's: header-only there.
target_compile_definitions(lib_torch INTERFACE FMT_HEADER_ONLY)
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
    # The precompiled header is built for libraries: -fPIC where CMake would say -fPIE.
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${target} PRIVATE -fPIC)
    lacuna_torch_rpath(${target})
  endif()
endfunction()

function(lacuna_torch_rpath target)
  set_target_properties(${target} PROPERTIES BUILD_RPATH "${LACUNA_TORCH}/lib;${LACUNA_NVIDIA_LIBS}")
endfunction()
