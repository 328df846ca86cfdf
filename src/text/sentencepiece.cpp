// SentencePiece's ModelProto, read by hand: field 1 pieces {1 text, 2 score, 3 type}, 2 trainer {3 model
// type, 24 whitespace as suffix, 35 byte fallback, 40-42 unk, bos, eos}, 3 normalizer {1 name, 2 character
// map, 3 dummy prefix, 4 remove extra white space, 5 escape white space}.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/text/tokenizer_readers.h"
#include "src/text/utf8.h"

namespace lacuna {
namespace {

constexpr std::size_t max_piece = 4096;
enum PieceType { Normal = 1, Unknown = 2, Control = 3, UserDefined = 4, Unused = 5, Byte = 6 };

struct Field {
  std::uint32_t number = 0;
  std::uint64_t value = 0;  // varint or fixed
  std::string_view bytes;   // length-delimited
  bool is_bytes = false;
};

// Walks over the fields of one message.
class Message {
 public:
  Message(std::string_view bytes, const std::string& where) : bytes_(bytes), where_(where) {}
  bool next(Field& field) {
    if (at_ == bytes_.size()) return false;
    const std::uint64_t tag = varint();
    field = {};
    field.number = static_cast<std::uint32_t>(std::min<std::uint64_t>(tag >> 3, 1u << 30));
    switch (tag & 7) {
      case 0:
        field.value = varint();
        break;
      case 1:
        field.value = fixed(8);
        break;
      case 5:
        field.value = fixed(4);
        break;
      case 2: {
        const std::uint64_t size = varint();
        if (size > bytes_.size() - at_) refuse("a field longer than the file");
        field.bytes = bytes_.substr(at_, size);
        field.is_bytes = true;
        at_ += size;
        break;
      }
      default:
        refuse("not a SentencePiece model");
    }
    return true;
  }

 private:
  [[noreturn]] void refuse(const char* rule) const {
    fail(ErrorKind::BadInput, "{}: {} (byte {} of a message of {})", where_, rule, at_, bytes_.size());
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at_ == bytes_.size()) refuse("it ends inside a number");
      const auto byte = static_cast<std::uint8_t>(bytes_[at_++]);
      value |= static_cast<std::uint64_t>(byte & 127) << shift;
      if (byte < 128) return value;
    }
    refuse("a number of more than 10 bytes");
  }
  std::uint64_t fixed(std::size_t size) {
    if (size > bytes_.size() - at_) refuse("it ends inside a number");
    std::uint64_t value = 0;
    std::memcpy(&value, bytes_.data() + at_, size);
    at_ += size;
    return value;
  }
  std::string_view bytes_;
  const std::string& where_;
  std::size_t at_ = 0;
};

struct Piece {
  std::string text;
  float score = 0;
  int type = Normal;
};

struct Model {
  std::vector<Piece> pieces;
  int model_type = 1;
  bool space_suffix = false;
  std::int32_t bos = 1, eos = 2;
  std::string normalizer;
  bool has_map = false, dummy_prefix = true, trims = true, escapes = true;
};

Piece read_piece(std::string_view bytes, const std::string& where) {
  Piece out;
  Message message(bytes, where);
  for (Field field; message.next(field);) {
    if (field.number == 1 && field.is_bytes) out.text = field.bytes;
    if (field.number == 2) out.score = std::bit_cast<float>(static_cast<std::uint32_t>(field.value));
    if (field.number == 3) out.type = static_cast<int>(std::min<std::uint64_t>(field.value, 100));
  }
  LACUNA_CHECK(!out.text.empty() && out.text.size() <= max_piece && is_utf8(out.text), ErrorKind::BadInput,
               "{}: a piece of {} bytes that is empty, too long or not UTF-8", where, out.text.size());
  LACUNA_CHECK(std::isfinite(out.score), ErrorKind::BadInput, "{}: the score of piece '{}' is not a number",
               where, printable(out.text));
  return out;
}

Model read_model(std::string_view bytes, const std::string& where) {
  Model out;
  Message message(bytes, where);
  for (Field field; message.next(field);) {
    if (!field.is_bytes) continue;
    Message part(field.bytes, where);
    Field inner;
    if (field.number == 1) {
      LACUNA_CHECK(out.pieces.size() < max_vocabulary, ErrorKind::BadInput, "{}: more than {} pieces", where,
                   max_vocabulary);
      out.pieces.push_back(read_piece(field.bytes, where));
    } else if (field.number == 2) {
      while (part.next(inner)) {
        if (inner.number == 3) out.model_type = static_cast<int>(std::min<std::uint64_t>(inner.value, 100));
        if (inner.number == 24) out.space_suffix = inner.value != 0;
        if (inner.number == 41) out.bos = static_cast<std::int32_t>(inner.value);
        if (inner.number == 42) out.eos = static_cast<std::int32_t>(inner.value);
      }
    } else if (field.number == 3) {
      while (part.next(inner)) {
        if (inner.number == 1) out.normalizer = inner.bytes;
        if (inner.number == 2) out.has_map = !inner.bytes.empty();
        if (inner.number == 3) out.dummy_prefix = inner.value != 0;
        if (inner.number == 4) out.trims = inner.value != 0;
        if (inner.number == 5) out.escapes = inner.value != 0;
      }
    }
  }
  return out;
}

void check_supported(const Model& model, const std::string& where) {
  LACUNA_CHECK(!model.pieces.empty(), ErrorKind::BadInput, "{}: not a SentencePiece model (no pieces)",
               where);
  LACUNA_CHECK(model.model_type == 2, ErrorKind::BadInput,
               "{}: a SentencePiece model of type {}: only BPE is supported", where,
               model.model_type == 1 ? "unigram" : std::to_string(model.model_type));
  LACUNA_CHECK(
      !model.has_map && !model.trims && model.escapes && !model.space_suffix, ErrorKind::BadInput,
      "{}: the SentencePiece normalizer '{}' with character map, white space removal or suffixes is not "
      "supported; give the model's tokenizer.json",
      where, printable(model.normalizer));
}

// Equal scores share a rank: the leftmost place goes first then.
std::vector<std::uint32_t> ranks_by_score(const std::vector<Piece>& pieces) {
  std::vector<float> scores;
  for (const Piece& piece : pieces)
    if (piece.type == Normal) scores.push_back(piece.score);
  std::sort(scores.begin(), scores.end(), std::greater<>());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
  std::vector<std::uint32_t> out(pieces.size(), no_merge_rank);
  for (std::size_t i = 0; i < pieces.size(); ++i)
    if (pieces[i].type == Normal)
      out[i] = static_cast<std::uint32_t>(
          std::lower_bound(scores.begin(), scores.end(), pieces[i].score, std::greater<>()) - scores.begin());
  return out;
}

}  // namespace

TokenizerParts read_sentencepiece(std::string_view bytes, const std::string& where) {
  const Model model = read_model(bytes, where);
  check_supported(model, where);
  TokenizerParts out;
  const auto count = static_cast<std::int32_t>(model.pieces.size());
  bool has_bytes = false;
  for (std::int32_t id = 0; id < count; ++id) {
    const Piece& piece = model.pieces[static_cast<std::size_t>(id)];
    out.model.tokens.push_back(piece.text);
    LACUNA_CHECK(piece.type >= Normal && piece.type <= Byte && piece.type != Unused, ErrorKind::BadInput,
                 "{}: the piece '{}' has the unsupported type {}", where, printable(piece.text), piece.type);
    if (piece.type == Unknown) out.model.unknown = id;
    if (piece.type == Byte) has_bytes = true;
    if (piece.type == Unknown || piece.type == Control || piece.type == UserDefined)
      out.added.push_back({.id = id, .content = piece.text, .special = piece.type != UserDefined});
  }
  out.model.merges = merges_by_rank(out.model.tokens, ranks_by_score(model.pieces));
  out.model.fuse_unknown = true;
  out.model.byte_fallback = has_bytes;
  const std::string space = "\xe2\x96\x81";
  if (model.dummy_prefix) out.normalizer.add(PrependStep{space});
  out.normalizer.add(ReplaceStep{std::string(" "), space});
  out.decoder.replace = {{space, " "}};
  out.decoder.byte_fallback = has_bytes;
  if (model.dummy_prefix) {
    out.decoder.strip = " ";
    out.decoder.strip_count = 1;
  }
  LACUNA_CHECK(model.bos < count && model.eos < count, ErrorKind::BadInput,
               "{}: bos {} or eos {} is outside the {} pieces", where, model.bos, model.eos, count);
  if (model.bos >= 0) {
    out.bos = model.bos;
    out.prefix = {model.bos};
  }
  if (model.eos >= 0) out.eos = {model.eos};
  out.kind = "SentencePiece BPE";
  return out;
}

}  // namespace lacuna
