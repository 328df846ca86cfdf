#include "recipes/cmoe/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "src/base/error.h"

namespace lacuna {

namespace {

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

Json row_of(const VariantScore& score, const VariantScore& dense) {
  Json row;
  row["model"] = score.name;
  row["nll"] = mean(score.nll);
  row["ratio"] = std::exp(mean(score.nll) - mean(dense.nll));
  Json texts = Json::array();
  for (std::size_t t = 0; t < score.nll.size(); ++t) texts.push_back(std::exp(score.nll[t] - dense.nll[t]));
  row["ratios"] = texts;
  row["off"] = mean(score.zeros);
  row["off_by_text"] = score.zeros;
  return row;
}

Json quality_json(const std::vector<RoutingQuality>& quality) {
  const auto over_layers = [&](double RoutingQuality::*number) {
    Json values = Json::array();
    for (const RoutingQuality& q : quality) values.push_back(q.*number);
    return values;
  };
  Json out;
  out["agreement"] = over_layers(&RoutingQuality::agreement);
  out["chance"] = quality.empty() ? 0 : quality.front().chance;
  out["lost"] = over_layers(&RoutingQuality::lost);
  out["lost_oracle"] = over_layers(&RoutingQuality::lost_oracle);
  out["lost_random"] = quality.empty() ? 0 : quality.front().lost_random;
  out["active"] = over_layers(&RoutingQuality::active);
  out["load"] = over_layers(&RoutingQuality::load);
  return out;
}

double mean_of(const Json& values) {
  return mean(values.get<std::vector<double>>());
}

}  // namespace

Json carving_report(const std::vector<VariantScore>& scores, const CmoeOptions& options,
                    const std::string& child, const std::vector<RoutingQuality>& quality) {
  LACUNA_ASSERT(!scores.empty());
  Json report;
  report["experts"] = options.experts;
  report["shared"] = options.shared;
  report["active"] = options.active;
  report["texts"] = options.texts;
  report["windows"] = scores.front().windows;
  Json rows = Json::array();
  const VariantScore* best_static = nullptr;
  const VariantScore* oracle = nullptr;
  const VariantScore* routed = nullptr;
  for (const VariantScore& score : scores) {
    rows.push_back(row_of(score, scores.front()));
    if (score.name.rfind("static ", 0) == 0 && (!best_static || mean(score.nll) < mean(best_static->nll)))
      best_static = &score;
    if (score.name == "routed oracle") oracle = &score;
    if (score.name == child && !options.is_static()) routed = &score;
  }
  report["models"] = rows;
  if (routed && best_static) {
    const double floor = mean(best_static->nll), earned = floor - mean(routed->nll);
    report["best_static"] = best_static->name;
    report["dividend"] = earned;
    if (oracle) {
      report["oracle_dividend"] = floor - mean(oracle->nll);
      report["share"] = earned / (floor - mean(oracle->nll));
    }
    report["routing"] = quality_json(quality);
  }
  return report;
}

std::string carving_table(const Json& report) {
  std::string out = fmt::format("{:<24} {:>8} {:>8} {:>6}   by text\n", "model", "NLL", "ratio", "off");
  for (const Json& row : report["models"]) {
    out += fmt::format("{:<24} {:8.4f} {:8.4f} {:5.1f}%  ", row["model"].get<std::string>(),
                       row["nll"].get<double>(), row["ratio"].get<double>(), 100 * row["off"].get<double>());
    for (std::size_t t = 0; t < row["ratios"].size(); ++t)
      out += fmt::format(" {:7.3f} ({:4.1f}%)", row["ratios"][t].get<double>(),
                         100 * row["off_by_text"][t].get<double>());
    out += '\n';
  }
  if (!report.contains("dividend")) return out;
  out += fmt::format("routing earns {:.4f} nats over '{}'", report["dividend"].get<double>(),
                     report["best_static"].get<std::string>());
  if (report.contains("share"))
    out += fmt::format(", {:.0f} % of the oracle's {:.4f}", 100 * report["share"].get<double>(),
                       report["oracle_dividend"].get<double>());
  const Json& routing = report["routing"];
  out += fmt::format(
      "\nrouter: the oracle's set on {:.1f} % of unseen tokens (chance {:.1f} %); loses {:.3f} of the "
      "experts' "
      "energy (oracle {:.3f}, random {:.3f}); {:.2f} experts a token; busiest expert {:.2f} times the mean\n",
      100 * mean_of(routing["agreement"]), 100 * routing["chance"].get<double>(), mean_of(routing["lost"]),
      mean_of(routing["lost_oracle"]), routing["lost_random"].get<double>(), mean_of(routing["active"]),
      mean_of(routing["load"]));
  return out;
}

}  // namespace lacuna
