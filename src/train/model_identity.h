// Tells models apart by what they compute with: their configuration and the values of all parameters as
// floats, whatever container holds them and however many ranks look.
#pragma once

#include <string>

#include "parallel/run/communicator.h"
#include "src/train/snapshot.h"

namespace lacuna {

// 48 hex digits. Collective over world, whose ranks share the reading; equal on every rank.
std::string model_identity(const ModelConfig& config, const SlabSource& weights, Communicator& world);

}  // namespace lacuna
