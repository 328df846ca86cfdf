// One layer of random weights and inputs, as carving sees it.
#pragma once

#include "recipes/cmoe/carve_layer.h"

namespace lacuna::test {

// `tokens` to fit on, 16 to check on; hidden 10.
LayerEvidence random_evidence(std::int64_t neurons, std::int64_t tokens);
RoutedLayer shape_of(std::int64_t shared, std::vector<std::int64_t> sizes, std::int64_t active);

}  // namespace lacuna::test
