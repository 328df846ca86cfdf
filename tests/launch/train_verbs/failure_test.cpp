#include "launch/train_verbs/failure.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include "parallel/run/device.h"

namespace lacuna {
namespace {

TEST(Failure, OursKeepsItsKindAndText) {
  const Failure failure = describe(Error(ErrorKind::Storage, "disk full"));
  EXPECT_EQ(failure.kind, ErrorKind::Storage);
  EXPECT_EQ(failure.text, "disk full");
}

TEST(Failure, ExhaustedMemoryIsOneLineThatSaysWhatHelps) {
  const c10::SourceLocation here{"f", "file", 1};
  const c10::OutOfMemoryError allocator(
      here,
      "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.11 GiB of which "
      "1 MiB is free.\nSee documentation");
  Failure failure = describe(allocator);
  EXPECT_EQ(failure.kind, ErrorKind::NoFit);
  EXPECT_EQ(
      failure.text.find("the GPU's memory is exhausted: CUDA out of memory. Tried to allocate 20.00 MiB; "
                        "smaller --micro-batch"),
      0u)
      << failure.text;
  EXPECT_EQ(failure.text.find('\n'), std::string::npos);
  failure = describe(c10::Error(here, "CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation'"));
  EXPECT_EQ(failure.kind, ErrorKind::NoFit);
  EXPECT_EQ(failure.text.find('\n'), std::string::npos);
}

TEST(Failure, ExhaustedMemoryOfTheMachineSaysWhatHelpsToo) {
  const c10::SourceLocation here{"f", "file", 1};
  Failure failure = describe(c10::Error(
      here,
      "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
      "tried to allocate 173054976 bytes. Error code 12 (Cannot allocate memory)\nmore"));
  EXPECT_EQ(failure.kind, ErrorKind::NoFit);
  EXPECT_EQ(failure.text.find("the machine's memory is exhausted: can't allocate memory: you tried to "
                              "allocate 173054976 bytes. Error code 12 (Cannot allocate memory); smaller"),
            0u)
      << failure.text;
  failure = describe(std::bad_alloc());
  EXPECT_EQ(failure.kind, ErrorKind::NoFit);
  EXPECT_EQ(failure.text.find("the machine's memory is exhausted: "), 0u) << failure.text;
}

TEST(Failure, ExhaustedMemoryOfOurOwnSaysWhatHelpsToo) {
  const Failure failure = describe(DeviceMemoryError("GPU 0: 643.5 GiB wanted, 38.6 of 79.2 are free"));
  EXPECT_EQ(failure.kind, ErrorKind::NoFit);
  EXPECT_EQ(
      failure.text.find("the GPU's memory is exhausted: GPU 0: 643.5 GiB wanted, 38.6 of 79.2 are free; "
                        "smaller --micro-batch"),
      0u)
      << failure.text;
}

TEST(Failure, OthersAreInternalAndOneLine) {
  const Failure failure = describe(std::runtime_error("first\nsecond"));
  EXPECT_EQ(failure.kind, ErrorKind::Internal);
  EXPECT_EQ(failure.text, "first");
}

}  // namespace
}  // namespace lacuna
