// Which instruction set a CPU kernel uses. Every kernel works on 16 lanes with explicit fused multiply-adds
// and one reduction tree, so that all three give the same bits.
#pragma once

#include <cstdint>
#include <vector>

namespace lacuna {

enum class Isa : std::uint8_t { Scalar, Avx2, Avx512 };
const char* name_of(Isa isa);

Isa best_isa();                     // of this machine
std::vector<Isa> supported_isas();  // of this machine, slowest first

}  // namespace lacuna
