// The model that tests of recipes convert.
#pragma once

#include "tests/train/support/small_run.h"

namespace lacuna::test {

// Three layers, trained for three steps in one process, once for the whole test program.
ModelConfig parent_model();
const GlobalTensors& parent_tensors();
SlabSource parent_source();

}  // namespace lacuna::test
