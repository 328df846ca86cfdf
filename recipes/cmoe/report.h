// The table of a carving: the child beside its parent, static pruning and other routers, always together.
//
//   ratio     exp(mean over texts of NLL − NLL of the parent): geometric mean of perplexity ratios
//   off       share of the FFN's neurons that are off, measured on the texts: a threshold only aims at it
//   dividend  NLL(best static) − NLL(routed): what routing earns; share: of the oracle router's
#pragma once

#include <string>
#include <vector>

#include "recipes/cmoe/options.h"
#include "recipes/common/carved_model.h"
#include "recipes/common/variants.h"
#include "src/base/json.h"

namespace lacuna {

// scores[0] is the parent's. `child`: the name of the child among them; quality by layer.
Json carving_report(const std::vector<VariantScore>& scores, const CmoeOptions& options,
                    const std::string& child, const std::vector<RoutingQuality>& quality);

// The same for people.
std::string carving_table(const Json& report);

}  // namespace lacuna
