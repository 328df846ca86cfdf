// recipe drelu from the parent's run to a model folder that computes sparsely.
#include <filesystem>

#include "src/base/file.h"
#include "tests/launch/train/training.h"

namespace lacuna::test {
namespace {

using RecipeProgram = Training;

TEST_F(RecipeProgram, ListsAndShowsConfigurationsThatWork) {
  const Ended list = lacuna("recipe ls"), show = lacuna("recipe show drelu");
  EXPECT_EQ(list.exit_code, 0);
  EXPECT_EQ(list.out.rfind("drelu ", 0), 0u) << list.out;
  ASSERT_EQ(show.exit_code, 0);
  write_file_atomic(path("drelu.ini"), show.out);
  const Ended dry =
      lacuna("recipe drelu --config drelu.ini --calibration 8 -m none --data tokens.h5 -o run --dry-run");
  EXPECT_EQ(dry.exit_code, 0) << dry.err;
  for (const char* line : {"start = canonical\n", "calibration = 8\n", "lr = 0.001\n", "warmup-steps = 20\n"})
    EXPECT_NE(dry.out.find(line), std::string::npos) << line << dry.out;
  const Ended unknown = lacuna("recipe show xrelu");
  EXPECT_EQ(unknown.exit_code, 64);
  EXPECT_EQ(unknown.err, "lacuna: error: unknown recipe 'xrelu'; there are: drelu, cmoe\n");
  EXPECT_EQ(lacuna("recipe").exit_code, 64);
  EXPECT_EQ(lacuna("recipe drelu --ranks 2 -m none --data tokens.h5 -o run --start bent").err,
            "lacuna: error: recipe drelu: --start is 'bent', wanted plain or canonical (lacuna recipe drelu "
            "--help)\n");
}

TEST_F(RecipeProgram, DreluMakesASparseModelThatExportProves) {
  train("parent", "--steps 60 --lr 3e-3");
  const std::string recipe =
      " -m parent --data tokens.h5 --global-batch 4 --seq-len 16 --calibration 8 --steps 20 --lr 1e-3";
  const Json child = answer("recipe drelu --quiet -o child --ranks 2 --tp 2" + recipe);
  EXPECT_EQ(child["steps"], 20);
  ASSERT_EQ(child["ffn_zeros_per_layer"].size(), 4u);
  for (const Json& zeros : child["ffn_zeros_per_layer"]) EXPECT_GT(zeros.get<double>(), 0.2);

  const Json report = answer("export -m child -o model");
  EXPECT_EQ(report["activation"], "drelu");
  EXPECT_EQ(report["content_hash"], child["content_hash"]);
  EXPECT_LE(report["check"]["max_abs"].get<double>(), report["check"]["max_abs_bound"].get<double>());
  EXPECT_EQ(lacuna("verify model").exit_code, 0);

  const std::string eval = "eval --text text.txt --seq-len 32 --max-windows 40 -m ";
  const Json folder = answer(eval + "model");
  EXPECT_GT(folder["ffn_sparsity"].get<double>(), 0.3);
  EXPECT_EQ(answer(eval + "child")["nll"], folder["nll"]);
  EXPECT_EQ(answer(eval + "parent")["ffn_sparsity"], 0.0);
  for (const char* prompt : {"Once upon", "The ", "\xc3\xa9"}) {
    const std::string words =
        std::string("generate -m model -n 24 --temperature 0 --ignore-eos -p ") + quoted(prompt);
    const Json sparse = answer(words + " --path sparse"), dense = answer(words + " --path dense");
    EXPECT_EQ(sparse["ids"].size(), 24u);
    EXPECT_EQ(sparse["ids"], dense["ids"]);
    EXPECT_EQ(sparse["text"], dense["text"]);
  }
}

TEST_F(RecipeProgram, ExportsTheWeightsThatTheForwardUsed) {
  train("run", "--steps 2 --dtype bf16");
  answer("export -m run -o model");
  answer("export -m run -o masters --dtype fp32");
  const Json model = answer("inspect model")["dtypes"], masters = answer("inspect masters")["dtypes"];
  EXPECT_TRUE(model.contains("BF16") && model.size() == 1) << model.dump();
  EXPECT_TRUE(masters.contains("F32") && masters.size() == 1) << masters.dump();
}

TEST_F(RecipeProgram, OneDamagedByteStopsExportAndVerify) {
  train("parent", "--steps 2");
  const std::string recipe =
      "recipe drelu -m parent --data tokens.h5 --global-batch 4 --seq-len 16 "
      "--calibration 4 --quiet --steps 2 -o child";
  ASSERT_EQ(lacuna(recipe).exit_code, 0);
  std::filesystem::copy(path("child"), path("whole"), std::filesystem::copy_options::recursive);
  for (const char* file : {"rank-000.h5", "state.h5", "manifest.json"}) {
    damage(std::string("child/step-000000002/") + file, 0.2);  // of rank-000.h5: in the weights
    for (const char* verb : {"export -o model -m ", "verify "}) {
      for (const char* which : {"child", "child/step-000000002"}) {
        const Ended ended = lacuna(std::string(verb) + which);
        EXPECT_EQ(ended.exit_code, 65) << verb << which << " with damaged " << file << ": " << ended.err;
        EXPECT_NE(ended.err.find("child"), std::string::npos) << ended.err;
        EXPECT_EQ(lines(ended.err), 1) << ended.err;
      }
    }
    EXPECT_FALSE(exists("model"));
    std::filesystem::remove_all(path("child"));
    std::filesystem::copy(path("whole"), path("child"), std::filesystem::copy_options::recursive);
  }
  EXPECT_EQ(lacuna("export -m child -o model").exit_code, 0);
}

TEST_F(RecipeProgram, ResumesToTheSameBytes) {
  train("parent", "--steps 2");
  const std::string recipe =
      "recipe drelu -m parent --data tokens.h5 --global-batch 4 --seq-len 16 --calibration 8 --quiet "
      "--lr-schedule "
      "constant ";
  const Json whole = answer(recipe + "-o whole --steps 6");
  answer(recipe + "-o halves --steps 3");
  const Json second = answer(recipe + "-o halves --steps 6");
  EXPECT_EQ(second["first_step"], 3);
  EXPECT_EQ(second["content_hash"], whole["content_hash"]);
}

TEST_F(RecipeProgram, DistilsFromWhatItStartsFromOrFromAnother) {
  train("parent", "--steps 30 --lr 3e-3");
  train("other", "--steps 2");
  const std::string recipe =
      "recipe drelu -m parent --data tokens.h5 --global-batch 4 --seq-len 16 --calibration 8 --quiet "
      "--lr-schedule constant --lr 1e-3 --l1 1e-3 --l1-knee 0.05 ";
  const Json child = answer(recipe + "-o child --steps 12 --distil 1");
  EXPECT_EQ(answer(recipe + "-o named --steps 12 --distil 1 --parent parent")["content_hash"],
            child["content_hash"]);
  EXPECT_EQ(answer(recipe + "-o cut --steps 12 --distil 1 --ranks 2 --pp 2")["content_hash"],
            child["content_hash"]);
  answer(recipe + "-o halves --steps 5 --distil 1");
  EXPECT_EQ(answer(recipe + "-o halves --steps 12 --distil 1")["content_hash"], child["content_hash"])
      << "resumed";
  for (const char* different : {"-o less --steps 12 --distil 0.5", "-o none --steps 12",
                                "-o another --steps 12 --distil 1 --parent other"})
    EXPECT_NE(answer(recipe + different)["content_hash"], child["content_hash"]) << different;
  EXPECT_NE(read_file(path("child/log.jsonl"), 1 << 20).find("\"divergence\":"), std::string::npos);
  EXPECT_EQ(read_file(path("none/log.jsonl"), 1 << 20).find("\"divergence\":"), std::string::npos);
}

TEST_F(RecipeProgram, RefusesATeacherThatCannotTeach) {
  const auto refused = [&](const std::string& arguments, const std::string& line) {
    const Ended ended = lacuna(arguments);
    EXPECT_EQ(ended.exit_code, 64) << ended.err;
    EXPECT_NE(ended.err.find(line), std::string::npos) << ended.err;
  };
  const std::string new_model = "train --arch tiny --data tokens.h5 -o run ";
  refused(new_model + "--distil 0.5", "--distil wants a model to learn from: give --parent");
  refused(new_model + "--parent other", "--parent is a model to distil from: give --distil SHARE too");
  refused(new_model + "--parent other --distil 1.5", "--distil is 1.5, wanted a share of 0 to 1");
  EXPECT_FALSE(exists("run"));
}

TEST_F(RecipeProgram, SamplesAreTheSameMadeTogetherOrApart) {
  train("parent", "--steps 30 --lr 3e-3");
  const std::string generate = "generate -m parent --text text.txt -n 12 --temperature 1 --prompt-tokens 3 ";
  const Ended all = lacuna(generate + "--samples 3 --seed 4");
  EXPECT_EQ(all.exit_code, 0) << all.err;
  EXPECT_EQ(all.out,
            lacuna(generate + "--samples 2 --seed 4").out + lacuna(generate + "--samples 1 --seed 6").out);
  EXPECT_NE(all.err.find("3 samples, "), std::string::npos) << all.err;
  EXPECT_NE(all.out, lacuna(generate + "--samples 3 --seed 5").out);
  EXPECT_EQ(lacuna(generate + "--samples 3 -p Once").exit_code, 64);
  EXPECT_EQ(lacuna("generate -m parent --samples 3").exit_code, 64);
}

}  // namespace
}  // namespace lacuna::test
