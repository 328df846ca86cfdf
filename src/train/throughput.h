// Figures of speed for people: tokens/s, FLOP/s, MFU against a matrix product measured on this machine.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>

#include "src/arch/model_config.h"

namespace lacuna {

// FLOPs per trained token: 6·(N − N_embedding) + 6·L·h·s (causal attention counted half).
double flops_per_token(const ModelConfig& config, std::int64_t seq_len);

// What MFU is a share of. On the CPU: FLOP/s of one rank's matrix product in `dtype` ("fp32", ...), best of a
// few 256³ products. On a GPU: 989.4e12, an H100's or H200's for bf16, whatever the dtype.
double measured_matmul_rate(const std::string& dtype, at::Device device);

// Peak resident bytes of this process so far.
std::size_t peak_resident_bytes();

// "1.2k", "3.4M"; "512 MiB".
std::string short_count(double value);
std::string short_bytes(double bytes);

}  // namespace lacuna
