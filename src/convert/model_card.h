// MODEL_CARD.md of an exported model: facts that this program knows, and nothing else.
#pragma once

#include <string>

#include "src/checkpoint/checkpoint.h"
#include "src/convert/self_check.h"

namespace lacuna {

struct ModelCard {
  std::string checkpoint, content_hash, dtype, command;  // command: what `export` was asked
};

std::string write_model_card(const CheckpointMeta& meta, const SelfCheck& check, const ModelCard& facts);

}  // namespace lacuna
