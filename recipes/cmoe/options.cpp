#include "recipes/cmoe/options.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "src/base/error.h"

namespace lacuna {

RouterKind CmoeOptions::router_kind() const {
  if (is_static()) return RouterKind::None;
  if (compat || router == "rep") return RouterKind::Neuron;
  return parse_router(router);
}

bool CmoeOptions::has_scores() const {
  return router == "linear" || router == "lowrank" || router == "rep";
}

bool CmoeOptions::thresholded() const {
  return threshold && !compat && !is_static() && active > 0 && active < experts - shared && has_scores();
}

bool CmoeOptions::needs_gradients() const {
  return report || static_score == "heapr" ||
         (!compat && !is_static() &&
          (spread_shared == "loss" || shared_by == NeuronScore::Heapr || metric == "loss"));
}

std::vector<std::string> CmoeOptions::problems() const {
  std::vector<std::string> out;
  const auto want = [&](bool fine, std::string line) {
    if (!fine) out.push_back(std::move(line));
  };
  const auto one_of = [&](const char* flag, const std::string& value, std::vector<std::string> allowed) {
    for (const std::string& a : allowed)
      if (value == a) return;
    want(false, fmt::format("--{} is '{}', wanted {}", flag, value, fmt::join(allowed, ", ")));
  };
  one_of("router", router, {"linear", "lowrank", "rep", "oracle", "random", "none"});
  one_of("static", static_score, {"", "rate", "energy", "flap", "heapr"});
  one_of("spread-shared", spread_shared, {"equal", "loss"});
  one_of("trajectory", trajectory, {"dense", "carved"});
  one_of("metric", metric, {"output", "loss"});
  one_of("clusters", clusters, {"contribution", "coactivation"});
  want(experts >= 2 && experts <= 4096, fmt::format("--experts is {}, wanted 2 to 4096", experts));
  want(shared >= 0 && shared < experts,
       fmt::format("--shared is {}, wanted 0 to {} (one less than --experts)", shared, experts - 1));
  want(active >= 0 && active <= experts - shared,
       fmt::format("--active is {}, wanted 0 to {} (--experts less --shared)", active, experts - shared));
  want(align >= 1, fmt::format("--align is {}, wanted at least 1", align));
  want(top >= 1, fmt::format("--top is {}, wanted at least 1", top));
  want(iterations >= 1 && starts >= 1 && refits >= 0,
       "--iterations and --starts want at least 1, --refits at least 0");
  want(rank >= 1, fmt::format("--rank is {}, wanted at least 1", rank));
  want(ridge > 0, fmt::format("--ridge is {}, wanted more than 0", ridge));
  want(balance == 0 || balance >= 1, fmt::format("--balance is {}, wanted 0 or at least 1", balance));
  want(coactivation_share > 0 && coactivation_share < 1,
       fmt::format("--coactivation-share is {}, wanted between 0 and 1", coactivation_share));
  want(calibration_tokens >= 1 && check_tokens >= 0,
       "--calibration-tokens wants at least 1, --check-tokens at least 0");
  want(!compat || !is_static(), "--compat and --static exclude each other");
  want(!compat || balance == 0, "--compat knows no --balance");
  want(windows >= 1, fmt::format("--windows is {}, wanted at least 1", windows));
  want(report == !texts.empty(), "--report and --texts go together");
  want(statistics.empty() || trajectory == "dense", "--statistics wants --trajectory dense");
  return out;
}

bool CmoeOptions::spreads() const {
  return spread_shared == "loss" && !compat && !is_static() && trajectory == "dense" && has_scores();
}

std::vector<std::int64_t> CmoeOptions::expert_sizes(const ModelConfig& parent,
                                                    std::int64_t shared_parts) const {
  const std::vector<std::int64_t> parts = even_sizes(parent.ffn, experts, align);
  if (shared_parts == shared) return {parts.begin() + shared, parts.end()};
  return even_sizes(std::accumulate(parts.begin() + shared_parts, parts.end(), std::int64_t{0}),
                    experts - shared, align);
}

std::int64_t CmoeOptions::active_neurons(const ModelConfig& parent, std::int64_t shared_parts) const {
  const std::vector<std::int64_t> sizes = expert_sizes(parent, shared_parts);
  return parent.ffn - std::accumulate(sizes.begin() + active, sizes.end(), std::int64_t{0});
}

std::int64_t CmoeOptions::most_shared(const ModelConfig& parent) const {
  const std::int64_t least = router_kind() == RouterKind::LowRank ? rank : 1;  // neurons of an expert
  std::int64_t parts = shared;
  for (; parts < experts; ++parts) {
    const std::vector<std::int64_t> sizes = expert_sizes(parent, parts + 1);
    if (*std::min_element(sizes.begin(), sizes.end()) < least) break;
  }
  return parts;
}

RoutedFfn CmoeOptions::routed(const ModelConfig& parent,
                              const std::vector<std::int64_t>& shared_parts) const {
  RoutedFfn out;
  out.align = align;
  out.router = router_kind();
  out.seed = static_cast<std::int64_t>(router_seed);
  const std::vector<std::int64_t> by_layer = shared_parts.empty() ? std::vector{shared} : shared_parts;
  if (is_static()) {
    out.experts = 1;
    out.active = {0};
    for (const std::int64_t parts : by_layer) out.shared.push_back(active_neurons(parent, parts));
  } else {
    LACUNA_CHECK(even_sizes(parent.ffn, experts, align).back() > 0, ErrorKind::Usage,
                 "{} experts of a multiple of {} in an FFN of {} neurons", experts, align, parent.ffn);
    out.experts = experts - shared;
    out.active = {active};
    for (const std::int64_t parts : by_layer) {
      const std::vector<std::int64_t> sizes = expert_sizes(parent, parts);
      out.shared.push_back(parent.ffn - std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0}));
      out.neurons.insert(out.neurons.end(), sizes.begin(), sizes.end());
    }
    out.threshold = thresholded();
    out.rank = out.router == RouterKind::Neuron ? 1 : out.has_rows() ? rank : 0;
  }
  out.check(parent.layers, parent.ffn, "carving");
  return out;
}

}  // namespace lacuna
