#include "src/arch/routed_ffn.h"

#include <algorithm>
#include <numeric>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/rng.h"

namespace lacuna {

namespace {

constexpr RouterKind kKinds[] = {RouterKind::Linear, RouterKind::LowRank, RouterKind::Neuron,
                                 RouterKind::Oracle, RouterKind::Random,  RouterKind::None};

std::int64_t of_layer(const std::vector<std::int64_t>& list, std::int64_t layer) {
  return list.size() == 1 ? list[0] : list.at(static_cast<std::size_t>(layer));
}

void check_list(const char* name, const std::vector<std::int64_t>& list, std::int64_t layers,
                std::int64_t most, const std::string& where) {
  LACUNA_CHECK(list.size() == 1 || list.size() == static_cast<std::size_t>(layers), ErrorKind::BadInput,
               "{}: {} has {} entries, wanted 1 or one for each of {} layers", where, name, list.size(),
               layers);
  for (std::size_t i = 0; i < list.size(); ++i)
    LACUNA_CHECK(list[i] >= 0 && list[i] <= most, ErrorKind::BadInput,
                 "{}: {} of layer {} is {}, wanted 0 to {}", where, name, i, list[i], most);
}

}  // namespace

std::string name_of(RouterKind kind) {
  switch (kind) {
    case RouterKind::Linear:
      return "linear";
    case RouterKind::LowRank:
      return "lowrank";
    case RouterKind::Neuron:
      return "neuron";
    case RouterKind::Oracle:
      return "oracle";
    case RouterKind::Random:
      return "random";
    case RouterKind::None:
      return "none";
  }
  return "?";
}

RouterKind parse_router(const std::string& name) {
  std::string known;
  for (const RouterKind kind : kKinds) {
    if (name == name_of(kind)) return kind;
    known += (known.empty() ? "" : ", ") + name_of(kind);
  }
  fail(ErrorKind::BadInput, "unknown router '{}' ({} are known)", printable(name), known);
}

void RoutedFfn::check(std::int64_t layers, std::int64_t ffn, const std::string& where) const {
  LACUNA_CHECK(experts >= 0 && experts <= 4096, ErrorKind::BadInput,
               "{}: ffn-experts is {}, wanted 0 (dense) to 4096", where, experts);
  if (experts == 0) return;
  check_list("ffn-active", active, layers, experts, where);
  check_list("ffn-shared", shared, layers, ffn, where);
  LACUNA_CHECK(align >= 1 && align <= ffn, ErrorKind::BadInput, "{}: ffn-align is {}, wanted 1 to {}", where,
               align, ffn);
  LACUNA_CHECK(has_rows() ? rank >= 1 && rank * experts <= 65536 : rank == 0, ErrorKind::BadInput,
               "{}: ffn-router-rank is {}, wanted {} for the {} router", where, rank,
               has_rows() ? "1 or more (at most 65536 rows in all)" : "0", name_of(router));
  LACUNA_CHECK(!threshold || has_bias(), ErrorKind::BadInput,
               "{}: ffn-threshold wants scores, which the {} router has none of", where, name_of(router));
  if (neurons.empty()) return;
  const auto e = static_cast<std::size_t>(experts), n = static_cast<std::size_t>(layers);
  LACUNA_CHECK(neurons.size() == e || neurons.size() == e * n, ErrorKind::BadInput,
               "{}: ffn-expert-neurons has {} entries, wanted {} (one layer's) or {} (every layer's)", where,
               neurons.size(), e, e * n);
  for (std::size_t i = 0; i < neurons.size(); ++i)
    LACUNA_CHECK(neurons[i] >= 0 && neurons[i] <= ffn, ErrorKind::BadInput,
                 "{}: entry {} of ffn-expert-neurons is {}, wanted 0 to {}", where, i, neurons[i], ffn);
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    const std::int64_t all = routed_layer(*this, ffn, layer).begin.back();
    LACUNA_CHECK(all == ffn, ErrorKind::BadInput,
                 "{}: layer {} has {} shared neurons and {} in experts, wanted {} in all", where, layer,
                 of_layer(shared, layer), all - of_layer(shared, layer), ffn);
  }
}

RoutedLayer routed_layer(const RoutedFfn& routed, std::int64_t ffn, std::int64_t layer) {
  RoutedLayer out;
  out.shared = of_layer(routed.shared, layer);
  out.active = of_layer(routed.active, layer);
  const auto experts = static_cast<std::size_t>(routed.experts);
  std::vector<std::int64_t> sizes;
  if (routed.neurons.empty()) {
    sizes = even_sizes(ffn - out.shared, routed.experts, routed.align);
  } else {
    const std::size_t first =
        routed.neurons.size() == experts ? 0 : static_cast<std::size_t>(layer) * experts;
    const auto begin = routed.neurons.begin() + static_cast<std::ptrdiff_t>(first);
    sizes.assign(begin, begin + static_cast<std::ptrdiff_t>(experts));
  }
  out.begin = {out.shared};
  for (const std::int64_t size : sizes) out.begin.push_back(out.begin.back() + size);
  return out;
}

std::vector<std::int64_t> even_sizes(std::int64_t neurons, std::int64_t parts, std::int64_t align) {
  LACUNA_ASSERT(neurons >= 0 && parts >= 1 && align >= 1);
  const std::int64_t units = neurons / align;
  std::vector<std::int64_t> sizes;
  for (std::int64_t part = 0; part < parts; ++part)
    sizes.push_back((units / parts + (part < units % parts ? 1 : 0)) * align);
  sizes.back() += neurons % align;
  return sizes;
}

std::uint64_t random_router_key(std::int64_t seed, std::int64_t layer) {
  return rng_key(static_cast<std::uint64_t>(seed), "router of layer " + std::to_string(layer));
}

double random_score(std::uint64_t key, std::int64_t position, std::int64_t expert) {
  return rng_uniform(key, static_cast<std::uint64_t>(position) * 4096 + static_cast<std::uint64_t>(expert));
}

}  // namespace lacuna
