// The command line: who wins, what is refused, and that the printed configuration reads back to itself.
#include "launch/options.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "launch/command_line.h"
#include "src/base/error.h"
#include "src/base/file.h"
#include "tests/support/test_data.h"

namespace lacuna {
namespace {

struct Sample {
  double lr = 3e-4;
  std::uint64_t seed = 1;
  bool fused = true;
  std::string note = "plain";
  std::vector<std::int64_t> cuts;
  std::vector<std::string> tags;
  template <class Visitor>
  void visit(Visitor&& field) {
    field("sample.lr", lr, "peak learning rate");
    field("sample.seed", seed, "random seed");
    field("sample.fused", fused, "one pass");
    field("other.note", note, "free text");
    field("other.cuts", cuts, "stage cuts");
    field("other.tags", tags, "labels");
  }
};

// One verb with every kind of flag.
struct Verb {
  Sample sample;
  std::string model, path;
  std::vector<std::string> text;
  std::vector<std::int64_t> eos;
  int count = 5;
  bool json = false;
  Options options{"demo", "a verb for tests", "lacuna demo -m MODEL"};
  Verb() {
    options.flag("model,m", model, "the model").flag("text", text, "files").flag("eos", eos, "ids");
    options.flag("count,n", count, "how many")
        .flag("json", json, "one object")
        .positional("PATH", path, "a path");
    options.fields(sample);
  }
  std::string run(const std::vector<std::string>& arguments) {
    try {
      options.parse(arguments);
      options.finish();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::Usage);
      return error.what();
    }
    return "";
  }
};

class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }
  ~Environment() { ::unsetenv(name_); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
};

std::string problems(const std::string& text) {
  return "demo: " + text + " (lacuna demo --help)";
}

TEST(Options, EveryFormOfAFlag) {
  Verb verb;
  EXPECT_EQ(
      verb.run({"-m",      "a b",       "--text",       "x",      "y,z",         "",      "--eos",  "1",
                "-2",      "--count=7", "--json",       "here",   "--sample.lr", "-1e-3", "--seed", "9",
                "--fused", "no",        "--note=--odd", "--cuts", "1,2",         "3",     "--tags", "a,b",
                "c"}),
      "");
  EXPECT_EQ(verb.model, "a b");
  EXPECT_EQ(verb.text, (std::vector<std::string>{"x", "y,z", ""}));
  EXPECT_EQ(verb.eos, (std::vector<std::int64_t>{1, -2}));
  EXPECT_EQ(verb.count, 7);
  EXPECT_TRUE(verb.json);
  EXPECT_EQ(verb.path, "here");
  EXPECT_EQ(verb.sample.lr, -1e-3);
  EXPECT_EQ(verb.sample.seed, 9u);
  EXPECT_FALSE(verb.sample.fused);
  EXPECT_EQ(verb.sample.note, "--odd");
  EXPECT_EQ(verb.sample.cuts, (std::vector<std::int64_t>{1, 2, 3}));
  EXPECT_EQ(verb.sample.tags, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_TRUE(verb.options.given("lr"));
  EXPECT_TRUE(verb.options.given("sample.lr"));
  EXPECT_TRUE(verb.options.given("PATH"));
  Verb shorts;
  EXPECT_EQ(shorts.run({"-n8", "-m=x", "--", "-odd"}), "");
  EXPECT_EQ(shorts.count, 8);
  EXPECT_EQ(shorts.model, "x");
  EXPECT_EQ(shorts.path, "-odd");
  EXPECT_FALSE(shorts.options.given("lr"));
}

TEST(Options, AllProblemsTogether) {
  Verb verb;
  const std::string text = verb.run({"--mod", "x", "--count", "many", "--seed", "-1", "-n", "3", "-q",
                                     "--model", "--json", "one", "two", "--notee", "--eos"});
  EXPECT_EQ(text,
            problems("unknown flag --mod (did you mean --model?); unknown flag -q; "
                     "--model needs a value, found --json (if that is the value, write --model=--json); "
                     "unknown flag --notee (did you mean --note?); --eos needs a value; "
                     "--count: 'many' is not a whole number; "
                     "--seed: '-1' is not a whole number that is not negative; -n is given twice; "
                     "unexpected argument 'two'"));
}

TEST(Options, AFieldByBothItsNamesIsGivenTwice) {
  Verb verb;
  EXPECT_EQ(verb.run({"--lr", "1", "--sample.lr", "2"}), problems("--sample.lr is given twice"));
}

TEST(Options, MissingOnesAreProblems) {
  Verb verb;
  verb.options.parse({"-m", "x"});
  verb.options.require("model");
  verb.options.require("text");
  verb.options.require("PATH");
  verb.options.require("note");  // a field, by its short name
  verb.options.require("sample.lr");
  verb.options.problem("and a rule of the caller");
  try {
    verb.options.finish();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.what(), problems("--text is missing; PATH is missing; --note is missing; --sample.lr is "
                                     "missing; and a rule of the caller"));
  }
  EXPECT_THROW(verb.options.given("nothing"), Error);
}

TEST(Options, FlagsWinOverEnvironmentOverFileOverDefault) {
  const test::TempFolder folder;
  const std::string file = folder / "c.ini";
  write_file_atomic(file, "[sample]\nlr = 1\nseed = 11\nfused = no\n[other]\nnote = \" from # file \"\n");
  const Environment seed("LACUNA_SAMPLE_SEED", "22"), lr("LACUNA_SAMPLE_LR", "2");
  Verb verb;
  EXPECT_EQ(verb.run({"--config", file, "--lr", "3"}), "");
  EXPECT_EQ(verb.sample.lr, 3);
  EXPECT_EQ(verb.sample.seed, 22u);
  EXPECT_FALSE(verb.sample.fused);
  EXPECT_EQ(verb.sample.note, " from # file ");
  EXPECT_TRUE(verb.sample.cuts.empty());
  EXPECT_TRUE(verb.options.given("fused"));
  EXPECT_FALSE(verb.options.given("cuts"));
}

TEST(Options, UnknownKeysOfFileAndEnvironmentAreProblems) {
  const test::TempFolder folder;
  const std::string file = folder / "c.ini";
  write_file_atomic(file, "lr = 1\n[sample]\nlrr = 1\nseed = x\nlr = 1\nlr = 2\n[text]\na = 1\n");
  const Environment typo("LACUNA_SAMPLE_SEDE", "22"), foreign("LACUNA_TEST_SOMETHING", "1");
  Verb verb;
  const std::string f = file + ":";
  EXPECT_EQ(verb.run({"--config", file}),
            problems(f + "1: lr: unknown key; " + f + "3: sample.lrr: unknown key; " + f +
                     "4: sample.seed: 'x' is not a whole number that is not negative; " + f +
                     "6: sample.lr stands there already, in line 5; " + f +
                     "8: text.a: unknown key; LACUNA_SAMPLE_SEDE: no such key (an environment variable)"));
}

TEST(Options, AConfigurationThatIsNotThere) {
  const test::TempFolder folder;
  Verb missing;
  EXPECT_EQ(missing.run({"--config", folder / "none"}),
            problems("cannot read " + folder / "none" + ": No such file or directory"));
}

TEST(Options, TheResolvedConfigurationReadsBackToItself) {
  const test::TempFolder folder;
  for (const std::string& text :
       {std::string(), std::string(" a # b ; \"c\" \\ "), std::string("zwei\nZeilen, Größe 日本")}) {
    Verb first;
    ASSERT_EQ(first.run({"--lr", "0.1", "--seed", "18446744073709551615", "--fused=no", "--note=" + text,
                         "--cuts", "-1", "5", "--tags=x y,z"}),
              "");
    first.sample.tags.push_back(text);
    const std::string ini = first.options.resolved_ini();
    write_file_atomic(folder / "config.resolved.ini", ini);
    Verb second;
    ASSERT_EQ(second.run({"--config", folder / "config.resolved.ini"}), "") << ini;
    EXPECT_EQ(second.options.resolved_ini(), ini);
    EXPECT_EQ(second.sample.note, text);
    EXPECT_EQ(second.sample.tags, first.sample.tags);
    EXPECT_EQ(second.sample.seed, first.sample.seed);
    EXPECT_EQ(second.sample.lr, first.sample.lr);
    EXPECT_EQ(second.sample.cuts, first.sample.cuts);
    EXPECT_FALSE(second.sample.fused);
  }
}

TEST(Options, TwoFlagsOfOneNameAreOurMistake) {
  std::string a, b;
  Options options("demo", "", "");
  options.flag("model,m", a, "");
  try {
    options.flag("max,m", b, "");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::Internal);
    EXPECT_STREQ(error.what(), "the flag -m is declared twice");
  }
}

TEST(Options, HelpShowsExampleFlagsAndDefaults) {
  const Verb verb;
  const std::string help = verb.options.help();
  for (const char* part : {"lacuna demo: a verb for tests", "lacuna demo -m MODEL", "-m, --model TEXT",
                           "--lr N", "[3e-04]", "LACUNA_SAMPLE_KEY", "--config TEXT", "PATH"})
    EXPECT_NE(help.find(part), std::string::npos) << part << "\n" << help;
}

TEST(CommandLine, DistanceBetweenWords) {
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("trian", "train"), 1);
  EXPECT_EQ(closest("trian", {"train", "recipe", "trace"}), (std::vector<std::string>{"train"}));
  EXPECT_TRUE(closest("zzz", {"train", "recipe"}).empty());
}

}  // namespace
}  // namespace lacuna
