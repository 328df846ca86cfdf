// llama2.c model files, version 0 (headerless ints, then fp32 weights) and version 1 (magic "ak42", 256-byte
// header). Their q and k rows are in interleaved RoPE order; they are shown in rotate-half order.
#pragma once

#include <string>

#include "src/format/model_source.h"

namespace lacuna {

// True if the file's own header and its size say that it is one (version 1 or 2 by magic).
bool looks_like_llama2c(const std::string& path);

// `tokenizer`: its tokenizer.bin, or "": one beside it ("tokenizer.bin", else "tok<vocab>.bin") if there is
// any.
ModelContents open_llama2c(const std::string& path, const std::string& tokenizer);

}  // namespace lacuna
