// What the two programs are linked against: `lacuna` neither torch nor MPI, lacuna-train both.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace lacuna {
namespace {

std::string libraries_of(const std::string& program) {
  const char* folder = std::getenv("LACUNA_BIN");
  if (!folder) return "LACUNA_BIN is not set";
  FILE* pipe = ::popen(("ldd '" + std::string(folder) + "/" + program + "' 2>&1").c_str(), "r");
  std::string out;
  char buffer[4096];
  while (const std::size_t got = std::fread(buffer, 1, sizeof buffer, pipe)) out.append(buffer, got);
  EXPECT_EQ(::pclose(pipe), 0) << out;
  return out;
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Links, LacunaNeedsNeitherTorchNorMpi) {
  const std::string list = libraries_of("lacuna");
  EXPECT_TRUE(holds(list, "libc.so")) << list;
  for (const char* name : {"libtorch", "libc10", "libmpi", "open-rte", "open-pal", "cuda", "boost", "not found"})
    EXPECT_FALSE(holds(list, name)) << name << " in\n" << list;
}

#ifdef LACUNA_HAS_TRAIN
TEST(Links, LacunaTrainHasTorchAndMpi) {
  const std::string list = libraries_of("lacuna-train");
  for (const char* name : {"libtorch_cpu.so", "libc10.so", "libmpi"})
    EXPECT_TRUE(holds(list, name)) << name << "\n" << list;
  for (const char* name : {"libtorch_python", "libpython", "boost", "not found"})
    EXPECT_FALSE(holds(list, name)) << name << " in\n" << list;
}
#endif

}  // namespace
}  // namespace lacuna
