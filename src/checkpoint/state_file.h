// state.h5 of a checkpoint: the opaque state of trainer and recipe, and the probe. Datasets: state/0,
// state/1, ... (U8, named by the manifest's list), probe/tokens and probe/lengths, probe/logits (F64, bits
// kept), and probe/routes (U8, routed models).
#pragma once

#include <string>

#include "src/checkpoint/checkpoint.h"
#include "src/checkpoint/manifest.h"

namespace lacuna {

inline constexpr const char* kStateFile = "state.h5";

void write_state_file(const std::string& path, const CheckpointMeta& meta);
// Fills meta.state and meta.probe as the manifest announces them. Error(BadInput).
void read_state_file(const std::string& path, const Manifest& manifest, CheckpointMeta& meta);

// The probe as bytes and back, to bring it to the rank that writes it.
std::string pack_probe(const Probe& probe);
Probe unpack_probe(const std::string& bytes);

}  // namespace lacuna
