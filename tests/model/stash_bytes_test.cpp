// The stash a stage really uses is the one that src/arch promised: sizes, and every byte of every slot.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "src/arch/stage_layout.h"
#include "src/base/error.h"
#include "tests/model/stage_runner.h"

namespace lacuna::test {
namespace {

std::size_t all_pieces(const LlamaStage& stage, int index, int pieces) {
  std::size_t sum = 0;
  for (int piece = 0; piece < pieces; ++piece) sum += stage.piece_bytes(index, piece);
  return sum;
}

TEST(StashBytes, OfAllPiecesAreTheBlocksAndTheHead) {
  for (StashKind kind : {StashKind::Full, StashKind::Recompute})
    for (int pieces : {1, 2, 3, 4}) {
      Problem p;
      p.config.layers = 5;
      p.cuts = {{0, 3}, {3, 5}};
      p.stash = kind;
      p.pieces = pieces;
      const LlamaStage stage(p.options());
      const std::size_t block = block_stash(p.config, p.shape, kind).bytes;
      EXPECT_EQ(all_pieces(stage, 0, pieces), 3 * block);
      EXPECT_EQ(all_pieces(stage, 1, pieces), 2 * block + head_stash(p.config, p.shape).bytes);
      for (int piece = 0; piece < pieces; ++piece) EXPECT_EQ(stage.piece_bytes(0, piece) % 64, 0u);
    }
}

TEST(StashBytes, PiecesAreConsecutiveAndEven) {
  const ModelConfig config = small_config();
  const MicroShape shape{1, 4, 1, DType::F32};
  const std::size_t block = block_stash(config, shape, StashKind::Full).bytes;
  const StageLayout layout = stage_layout(config, shape, StashKind::Full, 7, true, 3);
  std::vector<int> piece_of;
  for (const StashPlace& place : layout.blocks) piece_of.push_back(place.piece);
  EXPECT_EQ(piece_of, (std::vector<int>{0, 0, 1, 1, 2, 2, 2}));
  EXPECT_EQ(layout.blocks[1].offset, block);
  EXPECT_EQ(layout.head.piece, 2);
  EXPECT_EQ(layout.head.offset, 3 * block);
}

// Which bytes of the payload forward wrote: run it over two different fillings and compare.
std::vector<bool> written_by_forward(const Problem& problem) {
  LlamaStage stage(problem.options());
  stage.parameters().initialise(3);
  const std::size_t bytes = stage.piece_bytes(0, 0);
  std::vector<at::Tensor> memory;
  for (int fill : {0x11, 0xee}) {
    memory.push_back(at::full({static_cast<std::int64_t>(bytes)}, fill, at::kByte));
    std::byte* piece = static_cast<std::byte*>(memory.back().data_ptr());
    stage.begin_step(problem.batch());
    stage.forward(0, 0, nullptr, nullptr, {&piece, 1});
  }
  std::vector<bool> out(bytes);
  const auto *a = memory[0].const_data_ptr<std::uint8_t>(), *b = memory[1].const_data_ptr<std::uint8_t>();
  for (std::size_t i = 0; i < bytes; ++i) out[i] = a[i] == b[i];
  return out;
}

void expect_written(const std::vector<bool>& written, std::size_t at, const StashLayout& layout,
                    std::vector<bool>& promised) {
  for (const StashSlot& slot : layout.slots)
    for (std::size_t i = at + slot.offset; i < at + slot.offset + slot.bytes(); ++i) {
      promised[i] = true;
      ASSERT_TRUE(written[i]) << "slot " << slot.name << ", byte " << i - at - slot.offset
                              << " was not written";
    }
}

TEST(StashBytes, ForwardWritesEverySlotAndNothingElse) {
  at::set_num_threads(1);
  for (StashKind kind : {StashKind::Full, StashKind::Recompute})
    for (DType compute : {DType::F64, DType::F32, DType::BF16}) {
      Problem p;
      p.config.qk_norm = true;
      p.shape = {2, 5, 1, compute};
      p.stash = kind;
      p.micros = 1;
      const std::vector<bool> written = written_by_forward(p);
      std::vector<bool> promised(written.size());
      const StashLayout block = block_stash(p.config, p.shape, kind), head = head_stash(p.config, p.shape);
      expect_written(written, 0, block, promised);
      expect_written(written, block.bytes, block, promised);
      expect_written(written, 2 * block.bytes, head, promised);
      EXPECT_EQ(written, promised) << "padding between slots was written";
    }
}

TEST(StashBytes, RecomputeKeepsOnlyTheInputs) {
  Problem p;
  const std::size_t input = block_stash(p.config, p.shape, StashKind::Recompute).bytes;
  EXPECT_EQ(input, static_cast<std::size_t>(2 * 7 * 24 * 8));
  EXPECT_EQ(boundary_bytes(p.config, p.shape), input);
}

// The paper's count per token of a LLaMA block in bf16: 12h + 4k + 6f + 4a + 8 bytes (q = h here).
TEST(StashBytes, FollowTheFormula) {
  ModelConfig c;
  c.hidden = 128, c.layers = 1, c.heads = 8, c.kv_heads = 2, c.head_dim = 16, c.ffn = 384, c.vocab = 64;
  const MicroShape shape{1, 64, 1, DType::BF16};
  const std::int64_t per_token = 12 * 128 + 4 * 32 + 6 * 384 + 4 * 8 + 8;
  EXPECT_EQ(block_stash(c, shape, StashKind::Full).bytes, static_cast<std::size_t>(64 * per_token));
}

}  // namespace
}  // namespace lacuna::test
