// ModelConfig as JSON and back, by its one list of fields.
#pragma once

#include <string>

#include "src/arch/model_config.h"
#include "src/base/json.h"

namespace lacuna {

Json config_to_json(const ModelConfig& config);
// Absent fields keep their defaults, unknown ones are Error(BadInput): they would change what the model is.
ModelConfig config_from_json(const Json& object, const std::string& where);

}  // namespace lacuna
