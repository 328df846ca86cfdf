// The tokenizer that a path stands for: a tokenizer file or folder, a model, a checkpoint, a run, a token
// file.
#pragma once

#include <memory>
#include <string>

#include "src/text/tokenizer.h"

namespace lacuna {

// Error(BadInput) when nothing is there, or no tokenizer in it.
std::unique_ptr<Tokenizer> open_tokenizer(const std::string& path);

}  // namespace lacuna
