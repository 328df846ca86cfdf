#include "src/eval/perplexity.h"

#include <cmath>

#include "tests/eval/held_out.h"

namespace lacuna {
namespace {

using namespace test;

TEST(TokenNll, IsMinusLogSoftmaxInDouble) {
  const std::vector<float> logits = {1, 2, -3, 90};
  const double sum = std::exp(-89.0) + std::exp(-88.0) + std::exp(-93.0) + 1;
  for (std::int32_t i = 0; i < 4; ++i)
    EXPECT_NEAR(token_nll(logits, i), 90 + std::log(sum) - logits[static_cast<std::size_t>(i)], 1e-13);
}

class Windows : public testing::Test {
 protected:
  std::string folder_ = data_folder() + "/models/stories656k";
  std::unique_ptr<Engine> engine_ = Engine::load(folder_, {});
  std::vector<std::int32_t> ids_ = load_tokenizer(folder_)->encode(
      read_file(data_folder() + "/tinystories/tinystories_train_head.txt", 1 << 24).substr(0, 3000), false);
  std::string message_of(const PerplexityOptions& options, std::span<const std::int32_t> ids,
                         ErrorKind kind) {
    try {
      perplexity(*engine_, ids, options);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind);
      return error.what();
    }
    return "no error";
  }
};

TEST_F(Windows, AreScoredAloneAndTheTailIsDropped) {
  const Perplexity all = perplexity(*engine_, ids_, {100, 0});
  EXPECT_EQ(all.windows, static_cast<std::int64_t>(ids_.size()) / 100);
  EXPECT_EQ(all.predicted, all.windows * 99);
  EXPECT_EQ(all.tokens, static_cast<std::int64_t>(ids_.size()));
  EXPECT_EQ(all.ppl, std::exp(all.nll));
  double sum = 0;
  for (std::int64_t w = 0; w < all.windows; ++w)
    sum +=
        99 *
        perplexity(*engine_, std::span(ids_).subspan(static_cast<std::size_t>(w * 100), 100), {100, 0}).nll;
  EXPECT_NEAR(all.nll, sum / static_cast<double>(all.predicted), 1e-12);
  const Perplexity two = perplexity(*engine_, ids_, {100, 2});
  EXPECT_EQ(two.windows, 2);
  EXPECT_EQ(two.nll, perplexity(*engine_, std::span(ids_).first(299), {100, 0}).nll);
  EXPECT_EQ(two.ffn_sparsity_per_layer.size(), 2u);
}

TEST_F(Windows, RefusalsNameTheLimit) {
  EXPECT_EQ(message_of({1, 0}, ids_, ErrorKind::Usage), "--seq-len is 1, wanted at least 2");
  EXPECT_EQ(message_of({513, 0}, ids_, ErrorKind::Usage),
            "--seq-len 513 is beyond the model's context of 512 tokens");
  EXPECT_EQ(message_of({100, -1}, ids_, ErrorKind::Usage), "--max-windows is -1, wanted >= 0");
  EXPECT_EQ(message_of({100, 0}, std::span(ids_).first(99), ErrorKind::BadInput),
            "the text has 99 tokens, fewer than one window of 100");
}

}  // namespace
}  // namespace lacuna
