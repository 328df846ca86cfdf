# System libraries as targets, one name each, so that the module table can spell its dependencies.
find_package(Threads REQUIRED)

find_package(fmt REQUIRED)
add_library(lib_fmt INTERFACE)
target_link_libraries(lib_fmt INTERFACE fmt::fmt)

find_package(nlohmann_json REQUIRED)
add_library(lib_json INTERFACE)
target_link_libraries(lib_json INTERFACE nlohmann_json::nlohmann_json)

add_library(lib_xxhash INTERFACE)  # header-only use: XXH_INLINE_ALL
find_path(LACUNA_XXHASH_INCLUDE xxhash.h REQUIRED)
target_include_directories(lib_xxhash SYSTEM INTERFACE ${LACUNA_XXHASH_INCLUDE})

find_package(HDF5 REQUIRED COMPONENTS C)
add_library(lib_hdf5 INTERFACE)
target_include_directories(lib_hdf5 SYSTEM INTERFACE ${HDF5_C_INCLUDE_DIRS})
target_link_libraries(lib_hdf5 INTERFACE ${HDF5_C_LIBRARIES})

if(LACUNA_TRAIN)
  find_package(MPI REQUIRED COMPONENTS C)
  add_library(lib_mpi INTERFACE)
  target_include_directories(lib_mpi SYSTEM INTERFACE ${MPI_C_INCLUDE_DIRS})
  target_compile_definitions(lib_mpi INTERFACE OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)
  target_link_libraries(lib_mpi INTERFACE ${MPI_C_LIBRARIES})
endif()
