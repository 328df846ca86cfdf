#include "parallel/run/communicator.h"

namespace lacuna {

double sum_over(Communicator& comm, double value) {
  comm.all_reduce_sum(&value, 1, DType::F64);
  return value;
}

std::int64_t sum_over(Communicator& comm, std::int64_t value) {
  comm.all_reduce_sum(&value, 1, DType::I64);
  return value;
}

}  // namespace lacuna
