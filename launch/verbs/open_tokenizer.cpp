#include "launch/verbs/open_tokenizer.h"

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/checkpoint/checkpoint.h"
#include "src/data/token_file.h"
#include "src/format/detect.h"
#include "src/format/model_source.h"

namespace lacuna {

std::unique_ptr<Tokenizer> open_tokenizer(const std::string& path) {
  switch (detect(path)) {
    case PathKind::Checkpoint:
    case PathKind::Run:
      return tokenizer_from_files(CheckpointReader(path).meta().files, printable(path));
    case PathKind::TokenFile:
      return tokenizer_from_files(TokenFile(path).meta().tokenizer_files, printable(path));
    case PathKind::Llama2cFile: {
      const std::string beside = ModelSource::open(path, "").tokenizer_path();
      LACUNA_CHECK(!beside.empty(), ErrorKind::BadInput,
                   "{}: no tokenizer beside this llama2.c file; name the tokenizer's own file",
                   printable(path));
      return load_tokenizer(beside);
    }
    default:
      return load_tokenizer(path);
  }
}

}  // namespace lacuna
