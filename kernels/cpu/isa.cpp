#include "kernels/isa.h"

#include "kernels/cpu/kernel_table.h"

namespace lacuna {

const char* name_of(Isa isa) {
  switch (isa) {
    case Isa::Scalar:
      return "scalar";
    case Isa::Avx2:
      return "avx2";
    case Isa::Avx512:
      return "avx512";
  }
  return "?";
}

Isa best_isa() {
  const bool avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  if (!avx2) return Isa::Scalar;
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  return avx512 ? Isa::Avx512 : Isa::Avx2;
}

std::vector<Isa> supported_isas() {
  std::vector<Isa> all{Isa::Scalar};
  if (best_isa() != Isa::Scalar) all.push_back(Isa::Avx2);
  if (best_isa() == Isa::Avx512) all.push_back(Isa::Avx512);
  return all;
}

const cpu::KernelTable& cpu::table_of(Isa isa) {
  switch (isa) {
    case Isa::Scalar:
      return kScalarTable;
    case Isa::Avx2:
      return kAvx2Table;
    case Isa::Avx512:
      return kAvx512Table;
  }
  return kScalarTable;
}

}  // namespace lacuna
