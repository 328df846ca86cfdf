// New models: an INI file with a [model] section, or the name of a built-in shape.
#pragma once

#include <string>
#include <vector>

#include "src/arch/model_config.h"

namespace lacuna {

struct Preset {
  const char* name;
  const char* summary;
  ModelConfig (*make)();
};
const std::vector<Preset>& presets();

// `arch` is a preset's name or a file. The vocabulary may still be 0 (taken from the tokens later), so the
// result is not complete_and_check()ed. Error(Usage) on an unknown name or a bad entry.
ModelConfig read_arch(const std::string& arch);

}  // namespace lacuna
