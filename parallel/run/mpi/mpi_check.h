// The one macro through which MPI is called, and how its errors become ours.
#pragma once

#include <mpi.h>

#include <string>

#include "src/base/error.h"

namespace lacuna {

inline std::string mpi_error_text(int code) {
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  return {text, static_cast<std::size_t>(length)};
}

// LACUNA_MPI(MPI_Test(...)): communicators return errors, this throws them.
#define LACUNA_MPI(call)                                                \
  do {                                                                  \
    const int lacuna_mpi_code = (call);                                 \
    if (lacuna_mpi_code != MPI_SUCCESS) [[unlikely]]                    \
      ::lacuna::fail(::lacuna::ErrorKind::Internal, "MPI: {} in {}",    \
                     ::lacuna::mpi_error_text(lacuna_mpi_code), #call); \
  } while (0)

}  // namespace lacuna
