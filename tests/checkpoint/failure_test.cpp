// A save that fails: every rank throws the same error, nothing of it is left, earlier steps are untouched.
#include <gtest/gtest.h>

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "parallel/run/local_communicator.h"
#include "src/checkpoint/run_lock.h"
#include "tests/checkpoint/sample.h"
#include "tests/support/test_data.h"

namespace lacuna::test {
namespace {

Sample small_sample(std::uint64_t seed) {
  return make_sample(seed, DType::F32, 2);
}

// Sets LACUNA_FAULT while it lives.
class Fault {
 public:
  explicit Fault(const std::string& text) { setenv("LACUNA_FAULT", text.c_str(), 1); }
  ~Fault() { unsetenv("LACUNA_FAULT"); }
};

const Topology kFour{2, 2, 1};

// Saves step 2 on four ranks and returns what each rank got.
std::vector<std::string> errors_of_save(const std::string& run, const Sample& sample) {
  std::vector<std::string> errors(4);
  run_local(4, [&](Communicator& world, int rank) {
    const OwnedSlabs mine = slabs_of_rank(sample, kFour, rank);
    try {
      save_checkpoint(run, world, make_meta(sample, 2, kFour), mine.slabs, {});
    } catch (const Error& error) {
      errors[static_cast<std::size_t>(rank)] = fmt::format("{}: {}", error.exit_code(), error.what());
    }
  });
  return errors;
}

TEST(Failure, AtEachPointOnEachRankTheOldStepStands) {
  const TempFolder folder;
  const std::string run = folder / "run";
  const Sample first = small_sample(1), second = small_sample(2);
  save(run, first, 1, kFour);
  std::vector<std::pair<std::string, int>> points;
  for (const char* point : {"before_write", "mid_write", "before_close", "before_sync", "after_write"})
    for (int rank = 0; rank < 4; ++rank) points.emplace_back(point, rank);
  for (const char* point : {"after_prepare", "before_manifest", "after_manifest", "before_rename"})
    points.emplace_back(point, 0);
  for (const auto& [point, rank] : points) {
    const Fault fault(fmt::format("{}:{}:fail:2", point, rank));
    const std::vector<std::string> errors = errors_of_save(run, second);
    const std::string want = fmt::format(
        "74: rank {}: failure on request at point '{}' (while saving step 2 in {})", rank, point, run);
    for (const std::string& error : errors) EXPECT_EQ(error, want);
    EXPECT_EQ(entries(run), (std::vector<std::string>{"latest", "step-000000001"})) << point;
  }
  EXPECT_TRUE(holds(CheckpointReader(run), first));
  for (const std::string& error : errors_of_save(run, second)) EXPECT_EQ(error, "");
  EXPECT_TRUE(holds(CheckpointReader(run), second));
}

TEST(Failure, AfterTheCommitItIsAWarning) {
  const TempFolder folder;
  const std::string run = folder / "run";
  const Sample first = small_sample(1), second = small_sample(2);
  save(run, first, 1, kFour);
  for (const char* point : {"after_rename", "after_latest"}) {
    const Fault fault(fmt::format("{}:0:fail:2", point));
    for (const std::string& error : errors_of_save(run, second)) EXPECT_EQ(error, "");
    EXPECT_TRUE(holds(CheckpointReader(run), second)) << point;
  }
}

TEST(Failure, SavingAStepAgainReplacesItInOneMove) {
  const TempFolder run;
  const Sample first = small_sample(1), second = small_sample(2);
  save(run.path(), first, 7, {1, 2, 1});
  save(run.path(), second, 7, {1, 1, 2});
  EXPECT_EQ(entries(run.path()), (std::vector<std::string>{"latest", "step-000000007"}));
  EXPECT_TRUE(holds(CheckpointReader(run.path()), second));
}

TEST(Failure, TooLittleFreeSpaceIsFoundBeforeAnyWrite) {
  const TempFolder run;
  const auto world = single_rank();
  const float nothing = 0;  // never looked at
  const std::int64_t huge = std::int64_t{1} << 46;
  const std::vector<TensorSlab> slabs = {{"x", DType::F32, {huge}, {{0}, {huge}}, &nothing}};
  CheckpointMeta meta;
  meta.step = 3;
  const std::string text =
      error_of(ErrorKind::Storage, [&] { save_checkpoint(run.path(), *world, meta, slabs, {}); });
  EXPECT_NE(text.find("GB are free, a checkpoint needs 309"), std::string::npos) << text;
  EXPECT_TRUE(entries(run.path()).empty());
}

// A full disk as far as a process can make one: no file may grow beyond `limit` bytes. In a child, which
// returns the exit code of the save.
int save_under_limit(const std::string& run, const Sample& sample, rlim_t limit) {
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit bound{limit, limit};
    setrlimit(RLIMIT_FSIZE, &bound);
    int code = 0;
    try {
      save(run, sample, 2, {1, 2, 1});
    } catch (const Error& error) {
      code = error.exit_code();
      const std::string text = error.what();
      if (text.find("File too large") == std::string::npos) code = 99;
    }
    std::exit(code);  // runs HDF5's own clean-up too
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

TEST(Failure, AFullDiskLeavesTheOldStepIntact) {
  const TempFolder folder;
  const std::string run = folder / "run";
  const Sample first = small_sample(1), second = small_sample(2);
  const std::string step = save(run, first, 1, {1, 2, 1});
  rlim_t largest = 0;
  for (const std::string& name : entries(step))
    largest = std::max<rlim_t>(largest, std::filesystem::file_size(step + "/" + name));
  int failed = 0;
  for (rlim_t limit = 0; limit < largest; limit += largest / 23 + 1) {
    EXPECT_EQ(save_under_limit(run, second, limit), 74) << limit;
    EXPECT_EQ(entries(run), (std::vector<std::string>{"latest", "step-000000001"})) << limit;
    ++failed;
  }
  EXPECT_GE(failed, 20);
  CheckpointReader(run).verify();
  EXPECT_TRUE(holds(CheckpointReader(run), first));
  EXPECT_EQ(save_under_limit(run, second, 2 * largest), 0);
  EXPECT_TRUE(holds(CheckpointReader(run), second));
}

TEST(Failure, SlabsThatDoNotTileAreNotCommitted) {
  const TempFolder folder;
  const std::string run = folder / "run";
  const Sample sample = small_sample(1);
  const auto try_save = [&](int spoil) {
    run_local(2, [&](Communicator& world, int rank) {
      OwnedSlabs mine = slabs_of_rank(sample, {1, 2, 1}, rank);
      if (rank == 1 && spoil == 0) mine.slabs.pop_back();
      if (rank == 1 && spoil == 1)
        mine.add("model.norm.weight", sample.tensors.at("model.norm.weight"), {{0}, {1}});
      if (rank == 1 && spoil == 2) mine.slabs[0].slab.offset[0] = 1000;
      if (rank == 1 && spoil == 3) mine.slabs[0].data = nullptr;
      if (rank == 1 && spoil == 4) mine.slabs[0].name = "a/b";
      save_checkpoint(run, world, make_meta(sample, 1), mine.slabs, {});
    });
  };
  const char* const says[] = {"leave a gap", "overlap", "cannot be saved", "cannot be saved",
                              "cannot be saved"};
  for (int spoil = 0; spoil < 5; ++spoil) {
    const std::string text = error_of(ErrorKind::Internal, [&] { try_save(spoil); });
    EXPECT_NE(text.find(says[spoil]), std::string::npos) << text;
    EXPECT_FALSE(std::filesystem::exists(run) && !entries(run).empty());
  }
}

TEST(Failure, NamesOfEmbeddedFilesStayInTheFolder) {
  const TempFolder run;
  const auto world = single_rank();
  for (const char* name : {"../x", "/x", ".x", "", "manifest.json", "rank-001.h5", "state.h5", "a b"}) {
    CheckpointMeta meta;
    meta.files[name] = "x";
    const std::string text =
        error_of(ErrorKind::Internal, [&] { save_checkpoint(run.path(), *world, meta, {}, {}); });
    EXPECT_NE(text.find("cannot be the name of a file"), std::string::npos) << text;
  }
}

TEST(Failure, AFolderThatCannotBeMade) {
  const TempFolder folder;
  std::ofstream(folder / "file") << "x";
  const auto world = single_rank();
  const std::string text =
      error_of(ErrorKind::Storage, [&] { save_checkpoint(folder / "file/run", *world, {}, {}, {}); });
  EXPECT_NE(text.find("cannot make"), std::string::npos) << text;
}

TEST(Failure, AnOlderGenerationCannotCommit) {
  const TempFolder run;
  const Sample sample = small_sample(1);
  SaveOptions old_options, new_options;
  old_options.generation = RunLock(run.path()).generation();
  const RunLock lock(run.path());
  new_options.generation = lock.generation();
  save(run.path(), sample, 1, {}, new_options);
  const std::string text =
      error_of(ErrorKind::Storage, [&] { save(run.path(), sample, 2, {}, old_options); });
  EXPECT_NE(text.find("belongs to generation 2"), std::string::npos) << text;
  EXPECT_NE(text.find("generation 1 may not commit"), std::string::npos) << text;
  EXPECT_EQ(CheckpointReader(run.path()).meta().step, 1);
}

}  // namespace
}  // namespace lacuna::test
