// lacuna bench as scripts see it: random weights over a curve of zeros, as JSON, CSV and a table.
#include <gtest/gtest.h>

#include "launch/verb.h"
#include "src/base/error.h"
#include "src/base/json.h"
#include "src/base/log.h"
#include "src/infer/cuda/cuda_inference.h"
#include "tests/support/test_data.h"

namespace lacuna {

extern const Verb bench_verb, generate_verb;

namespace {

class BenchVerb : public testing::Test {
 protected:
  void SetUp() override { set_log_quiet(true); }
  void TearDown() override { set_log_quiet(false); }
};

const std::vector<std::string> kTiny = {"--arch", "tiny", "--device",        "cpu", "--threads",    "1",
                                        "-n",     "3",    "--prompt-tokens", "2",   "--stream-mib", "1"};

std::vector<std::string> tiny_and(const std::vector<std::string>& more) {
  std::vector<std::string> out = kTiny;
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

std::string output(const std::vector<std::string>& arguments) {
  testing::internal::CaptureStdout();
  std::string problem;
  try {
    EXPECT_EQ(bench_verb.run(arguments), 0);
  } catch (const Error& error) {
    problem = error.what();
  }
  const std::string text = testing::internal::GetCapturedStdout();
  EXPECT_EQ(problem, "");
  return text;
}

std::string complaint(const Verb& verb, const std::vector<std::string>& arguments) {
  try {
    verb.run(arguments);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::Usage) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "accepted";
  return "";
}

TEST_F(BenchVerb, MeasuresTheCurveOfZerosWithTheExactRows) {
  const Json out = parse_json(output(tiny_and({"--json"})), "bench");
  EXPECT_EQ(out["schema"], "lacuna.bench/1");
  EXPECT_EQ(out["device"], "cpu");
  EXPECT_EQ(out["prompt_tokens"], 2);
  EXPECT_GT(out["stream_gb_per_s"].get<double>(), 0);
  const std::vector<std::string> paths = {"dense",      "drelu 75 %", "drelu 80 %",  "drelu 85 %",
                                          "drelu 90 %", "drelu 95 %", "drelu 97.5 %"};
  ASSERT_EQ(out["rows"].size(), paths.size());
  double bytes = 1e18;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    const Json& row = out["rows"][i];
    EXPECT_EQ(row["path"], paths[i]);
    EXPECT_GT(row["tokens_per_s"].get<double>(), 0);
    EXPECT_LT(row["bytes_per_token"].get<double>(), bytes);
    bytes = row["bytes_per_token"].get<double>();
  }
  EXPECT_EQ(out["rows"][0]["ratio_to_dense"], 1.0);
  // 384 neurons: a tenth of them is 38, the root of a tenth 121.
  EXPECT_EQ(out["rows"][4]["up_rows"], 121.0);
  EXPECT_EQ(out["rows"][4]["down_rows"], 38.0);
  EXPECT_EQ(out["rows"][4]["ffn_sparsity"].get<double>(), 346.0 / 384);
}

TEST_F(BenchVerb, TakesOneShareAndAnyActivation) {
  const std::string csv = output(tiny_and({"--activation", "relu", "--zeros", "0.5", "--csv"}));
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 3);
  EXPECT_NE(csv.find("\nrelu 50 %,"), std::string::npos);
  EXPECT_NE(csv.find(",192,192,0.5\n"), std::string::npos);
  const std::string table = output(tiny_and({"--activation", "silu"}));
  EXPECT_NE(table.find("| dense |"), std::string::npos);
  EXPECT_NE(table.find("memory read stream: "), std::string::npos);
}

// 384 neurons in 8 parts of 48: 3 shared ones and 3 of the other 5.
TEST_F(BenchVerb, MeasuresAShapeAsCarvedBesideItsParent) {
  const Json out =
      parse_json(output(tiny_and({"--experts", "8", "--shared", "3", "--active", "3", "--json"})), "bench");
  ASSERT_EQ(out["rows"].size(), 2u);
  const Json &dense = out["rows"][0], &routed = out["rows"][1];
  EXPECT_EQ(dense["path"], "dense");
  EXPECT_EQ(routed["path"], "routed");
  EXPECT_EQ(dense["up_rows"], 384.0);
  EXPECT_EQ(routed["up_rows"], 288.0);
  EXPECT_EQ(routed["down_rows"], 288.0);
  // 4 layers: 96 neurons less in three bf16 matrices 128 wide; 5 rows of a router and 5 means in fp32 more.
  EXPECT_EQ(dense["bytes_per_token"].get<double>() - routed["bytes_per_token"].get<double>(),
            4.0 * 128 * (96 * 3 * 2 - (5 + 5) * 4));
}

TEST_F(BenchVerb, SaysWhatItCannotDo) {
  EXPECT_NE(complaint(bench_verb, {"-m", "x", "--experts", "8"}).find("--active are for --arch"),
            std::string::npos);
  EXPECT_NE(complaint(bench_verb, tiny_and({"--experts", "8", "--shared", "8"})).find("wanted more parts"),
            std::string::npos);
  EXPECT_NE(complaint(bench_verb, tiny_and({"--active", "3"})).find("wanted more parts"), std::string::npos);
  EXPECT_NE(complaint(bench_verb, tiny_and({"--experts", "500"})).find("500 experts in an FFN of 384"),
            std::string::npos);
  EXPECT_NE(
      complaint(bench_verb, tiny_and({"--experts", "8", "--zeros", "0.9"})).find("--experts is for silu"),
      std::string::npos);
  EXPECT_NE(complaint(bench_verb, {}).find("give either -m MODEL or --arch PRESET"), std::string::npos);
  EXPECT_NE(
      complaint(bench_verb, {"-m", "x", "--zeros", "0.9"}).find("--zeros and --activation are for --arch"),
      std::string::npos);
  EXPECT_NE(complaint(bench_verb, tiny_and({"--zeros", "90"})).find("wanted shares from 0 to 1"),
            std::string::npos);
  EXPECT_NE(complaint(bench_verb, {"--arch", "tiny", "--device", "tpu"}).find("--device 'tpu' is unknown"),
            std::string::npos);
  EXPECT_NE(complaint(bench_verb, tiny_and({"--dtype", "fp8"})).find("--dtype 'fp8' is unknown"),
            std::string::npos);
  const std::string model = test::data_folder() + "/models/stories656k";
  EXPECT_NE(complaint(generate_verb, {"-m", model, "-p", "a", "--device", "cpu", "--dtype", "bf16"})
                .find("--dtype bf16 is for --device cuda"),
            std::string::npos);
  ASSERT_NE(why_no_gpu(), "") << "label unit sees no GPU: run through ctest, or with CUDA_VISIBLE_DEVICES=";
  EXPECT_NE(complaint(generate_verb, {"-m", model, "-p", "a", "--device", "cuda"})
                .find("--device cuda: " + why_no_gpu()),
            std::string::npos);
}

}  // namespace
}  // namespace lacuna
