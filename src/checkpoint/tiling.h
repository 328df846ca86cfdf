// The rules that a manifest must keep as a whole: its slabs cover every tensor exactly once, its names are
// consistent, and the tensors fit the model's configuration.
#pragma once

#include <string>

#include "src/base/error.h"
#include "src/checkpoint/manifest.h"

namespace lacuna {

// Error(`kind`) names the tensor and the rule: gap, overlap, outside, differing dtype or shape, unknown file,
// a dataset used twice, a missing or misshapen parameter of the model.
void check_manifest(const Manifest& manifest, const std::string& where, ErrorKind kind);

}  // namespace lacuna
