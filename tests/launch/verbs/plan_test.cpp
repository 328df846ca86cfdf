// lacuna plan as scripts see it: its JSON, its bytes, its complaints.
#include <gtest/gtest.h>

#include <algorithm>

#include "launch/verb.h"
#include "launch/plan_memory.h"
#include "parallel/plan/make_schedule.h"
#include "src/arch/parameters.h"
#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "tests/support/test_data.h"

namespace lacuna {

extern const Verb plan_verb;

namespace {

std::string output(const std::vector<std::string>& arguments) {
  testing::internal::CaptureStdout();
  std::string problem;
  try {
    EXPECT_EQ(plan_verb.run(arguments), 0);
  } catch (const Error& error) {
    problem = error.what();
  }
  const std::string text = testing::internal::GetCapturedStdout();
  EXPECT_EQ(problem, "");
  return text;
}
Json plan_json(std::vector<std::string> arguments) {
  arguments.push_back("--json");
  return parse_json(output(arguments), "plan");
}
std::string complaint(const std::vector<std::string>& arguments) {
  try {
    plan_verb.run(arguments);
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 64) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "accepted";
  return "";
}

TEST(Plan, KeepsItsContract) {
  const Json plan = plan_json({"--schedule", "1f1b", "--bpipe", "tight", "--pp", "8", "--micro-batches", "48",
                               "--tf", "1", "--tb", "2", "--tau", "1"});
  EXPECT_EQ(plan.begin().key(), "schema");
  EXPECT_EQ(plan.at("peak_stashes"), Json::parse("[5,5,5,5,4,5,5,5]"));
  EXPECT_EQ(plan.at("makespan"), 165.0);
  EXPECT_NEAR(plan.at("bubble").get<double>(), 7.0 / 55, 1e-12);
  EXPECT_GT(plan.at("evictions").get<int>(), 48);
  EXPECT_EQ(plan.at("grid").size(), 11u);  // eight ranks, three of them evict
  const Json gpipe = plan_json({"--schedule", "gpipe", "--pp", "3", "--micro-batches", "5"});
  EXPECT_EQ(gpipe.at("peak_stashes"), Json::parse("[5,5,5]"));
  EXPECT_EQ(gpipe.at("evictions"), 0);
}

TEST(Plan, PrintsTheGridForPeople) {
  const std::string text = output({"--pp", "2", "--micro-batches", "3"});
  EXPECT_NE(text.find("rank 0 | F0 F1       B0--- F2 B1---    B2---\n"), std::string::npos) << text;
  EXPECT_NE(text.find("bubble 25.00 %, makespan 12, peak stashes by rank 2 1\n"), std::string::npos) << text;
}

TEST(Plan, CountsTheBytesOfEveryRank) {
  const std::vector<std::string> common = {"--arch",          "tiny", "--vocab", "512",  "--pp",          "2",
                                           "--micro-batches", "4",    "--dtype", "bf16", "--micro-batch", "2",
                                           "--seq-len",       "32"};
  const Json plan = plan_json(common);
  ASSERT_EQ(plan.at("memory").size(), 2u);
  for (std::size_t rank = 0; rank < 2; ++rank) {
    const Json& bytes = plan.at("memory")[rank];
    EXPECT_EQ(bytes.at("own_stashes"),
              bytes.at("one_stash").get<std::int64_t>() * (2 - static_cast<int>(rank)));
    EXPECT_EQ(bytes.at("gradients"), 2 * bytes.at("weights").get<std::int64_t>());    // fp32 beside bf16
    EXPECT_EQ(bytes.at("optimizer"), 3 * bytes.at("gradients").get<std::int64_t>());  // masters, two moments
    EXPECT_GT(bytes.at("workspace"), 0);
    EXPECT_EQ(bytes.at("guest_area"), 0);
  }
  std::vector<std::string> replicated = common;  // half of all that, and the buckets
  for (const char* word : {"--dp", "2"}) replicated.push_back(word);
  const Json bytes = plan_json(replicated).at("memory")[0];
  const auto all = bytes.at("gradients").get<std::int64_t>();
  EXPECT_NEAR(bytes.at("optimizer").get<double>(),
              static_cast<double>(4 * all / 2 + all + (all / 2 + all) / 2), 0.01 * static_cast<double>(all));
  std::vector<std::string> gpu = common;
  for (const char* word : {"--device", "cuda"}) gpu.push_back(word);
  EXPECT_GT(plan_json(gpu).at("memory")[0].at("workspace"), plan.at("memory")[0].at("workspace"));
  std::vector<std::string> lean = common;
  lean.push_back("--recompute");
  EXPECT_LT(plan_json(lean).at("memory")[0].at("one_stash"), plan.at("memory")[0].at("one_stash"));
}

TEST(PlannedMemory, CoversEveryParameterOnceAndATiedHeadTwice) {
  PlannedRun run;
  run.model.hidden = 24, run.model.ffn = 40, run.model.layers = 5, run.model.heads = 4,
  run.model.kv_heads = 2;
  run.model.head_dim = 6, run.model.vocab = 50;
  run.shape = {.sequences = 1, .seq_len = 8, .tp = 1, .compute = DType::F64};
  for (const bool tied : {false, true}) {
    run.model.tied_embeddings = tied;
    for (const int pp : {1, 2, 5}) {
      std::size_t elements = 0;
      for (const Parameter& p : parameters(run.model)) elements += static_cast<std::size_t>(p.elements());
      const std::size_t embedding = 24 * 50;
      std::size_t weights = 0, gradients = 0;
      for (const RankBytes& b : planned_memory(make_schedule("1f1b", pp, 4, "off", 1), run)) {
        weights += b.weights;
        gradients += b.gradients;
      }
      EXPECT_EQ(weights, 8 * (elements + (tied && pp > 1 ? embedding : 0))) << tied << pp;
      EXPECT_EQ(gradients, 8 * (elements + (tied ? embedding : 0))) << tied << pp;
    }
  }
  // Layers 2 2 1: the piece of the last stage also holds the head's stash.
  run.cuts = {2, 2, 1};
  const auto bytes = planned_memory(make_schedule("gpipe", 3, 2, "off", 1), run);
  const std::size_t block = block_stash(run.model, run.shape, StashKind::Full).bytes;
  EXPECT_EQ(bytes[0].one_stash, 2 * block);
  EXPECT_EQ(bytes[2].one_stash, block + head_stash(run.model, run.shape).bytes);
  EXPECT_EQ(bytes[2].own_stashes, 2 * bytes[2].one_stash);
}

TEST(Plan, ReportsAllProblemsTogether) {
  const std::string all = complaint({"--schedule", "x", "--bpipe", "y", "--pp", "0", "--micro-batches", "-3",
                                     "--tf", "0", "--tau", "nan", "--tp", "3", "--pieces", "0"});
  for (const char* part :
       {"--schedule x: wanted 1f1b, gpipe", "--bpipe y: wanted off, tight, loose",
        "--pp 0: wanted at least 1", "--micro-batches -3: wanted at least 1", "--tf 0: wanted a time above 0",
        "--tp: needs --arch or --model", "--pieces 0: wanted at least 1"})
    EXPECT_NE(all.find(part), std::string::npos) << part << " in " << all;
  EXPECT_EQ(std::count(all.begin(), all.end(), '\n'), 0);
  EXPECT_NE(
      complaint({"--pp", "100000", "--micro-batches", "100000"}).find("wanted at most 1048576 together"),
      std::string::npos);
  EXPECT_NE(complaint({"--arch", "tiny", "--vocab", "99", "--pp", "99"}).find("--pp 99: the model has only"),
            std::string::npos);
  EXPECT_NE(complaint({"--arch", "tiny", "--vocab", "99", "--tp", "7"}).find("divide"), std::string::npos);
  EXPECT_NE(complaint({"--arch", "tiny", "--dtype", "fp16"}).find("wanted fp64, fp32 or bf16"),
            std::string::npos);
  EXPECT_NE(complaint({"--arch", "tiny"}).find("--arch tiny: leaves the vocabulary open, give --vocab"),
            std::string::npos);
  EXPECT_NE(complaint({"--arch", "a", "--model", "b"}).find("give one of them"), std::string::npos);
}

TEST(Plan, WritesATrace) {
  const test::TempFolder folder;
  const std::string path = folder / "trace.json";
  output({"--pp", "4", "--micro-batches", "6", "--bpipe", "tight", "--trace", path});
  EXPECT_GT(parse_json(read_file(path, 1 << 20), path).at("traceEvents").size(), 100u);
}

}  // namespace
}  // namespace lacuna
