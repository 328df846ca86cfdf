// What is in a path: the facts that `lacuna inspect` prints, as one JSON object.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>

#include "src/base/hash.h"
#include "src/format/model_source.h"

namespace lacuna {

// {"kind", "path", …}. Models, checkpoints and runs also have "step", "tokens", "parameters", "content_hash",
// "layout", "config", "dtypes" (bytes of parameters by type), "tokenizer". A run also has "steps" (all that
// are committed) and "rejected". Error(BadInput) when nothing here reads it.
nlohmann::ordered_json inspect(const std::string& path);

// The hash of the names and bytes of all parameters in canonical form: an import has its source's hash.
ContentHash content_hash(const ModelSource& source);

}  // namespace lacuna
