// Fault points do nothing unless LACUNA_FAULT names exactly them.
#include "src/base/fault.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "src/base/error.h"

namespace lacuna {
namespace {

bool fires(const char* fault, const char* point, int rank, std::int64_t step) {
  setenv("LACUNA_FAULT", fault, 1);
  bool fired = false;
  try {
    fault_point(point, rank, step);
  } catch (const Error& error) {
    fired = true;
    EXPECT_EQ(error.kind(), ErrorKind::Storage) << error.what();
  }
  unsetenv("LACUNA_FAULT");
  return fired;
}

TEST(Fault, FiresAtItsPointRankAndStepAlone) {
  unsetenv("LACUNA_FAULT");
  fault_point("here", 0, 1);
  EXPECT_FALSE(fires("", "here", 0, 1));
  EXPECT_TRUE(fires("here:2:fail", "here", 2, 1));
  EXPECT_TRUE(fires("here:2:fail", "here", 2, 7));
  EXPECT_FALSE(fires("here:2:fail", "here", 1, 1));
  EXPECT_FALSE(fires("here:2:fail", "there", 2, 1));
  EXPECT_TRUE(fires("here:2:fail:7", "here", 2, 7));
  EXPECT_FALSE(fires("here:2:fail:7", "here", 2, 8));
}

TEST(Fault, AMistypedVariableIsAnError) {
  for (const char* text :
       {"here", "here:0", "here:x:fail", "here:0:explode", "here:0:fail:x", "a:0:fail:1:2"}) {
    setenv("LACUNA_FAULT", text, 1);
    try {
      fault_point("elsewhere", 9);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::Usage) << text;
    }
  }
  unsetenv("LACUNA_FAULT");
}

}  // namespace
}  // namespace lacuna
