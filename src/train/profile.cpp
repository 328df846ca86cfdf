#include "src/train/profile.h"

#include <torch/csrc/autograd/profiler_kineto.h>

#include <algorithm>
#include <map>

namespace lacuna {

namespace {

constexpr std::size_t kRows = 20;

namespace kineto = torch::autograd::profiler;

}  // namespace

std::string kind_of_kernel(const std::string& name) {
  const auto has = [&](const char* part) { return name.find(part) != std::string::npos; };
  for (const char* part : {"sdpa", "fmha", "flash", "cudnn", "attention"})
    if (has(part)) return "attention";
  for (const char* part : {"nvjet", "gemm", "cutlass", "xmma", "splitK"})
    if (has(part)) return "matrix products";
  // "void lacuna::cuda::(anonymous namespace)::rms_norm_rows<...>(...)" -> "rms_norm_rows"
  std::string text = name;
  for (const char* anonymous : {"(anonymous namespace)::", "<unnamed>::"})
    if (const auto at = text.find(anonymous); at != std::string::npos)
      text.erase(0, at + std::string(anonymous).size());
  text = text.substr(0, text.find_first_of("<("));
  if (const auto at = text.rfind("::"); at != std::string::npos) text.erase(0, at + 2);
  return text.substr(0, 60);
}

StepProfile::StepProfile(bool cuda) : cuda_(cuda) {
  std::set<torch::profiler::impl::ActivityType> activities{torch::profiler::impl::ActivityType::CPU};
  if (cuda) activities.insert(torch::profiler::impl::ActivityType::CUDA);
  const torch::profiler::impl::ProfilerConfig config(torch::profiler::impl::ProfilerState::KINETO);
  kineto::prepareProfiler(config, activities);
  kineto::enableProfiler(config, activities);
}

std::vector<ProfileRow> StepProfile::finish(const std::string& path) {
  const auto result = kineto::disableProfiler();
  result->save(path);
  std::map<std::string, ProfileRow> kinds;
  for (const kineto::KinetoEvent& event : result->events()) {
    if (event.deviceType() != (cuda_ ? c10::DeviceType::CUDA : c10::DeviceType::CPU)) continue;
    const std::string kind = kind_of_kernel(event.name());
    ProfileRow& row = kinds[kind];
    row.name = kind;
    row.milliseconds += static_cast<double>(event.durationNs()) * 1e-6;
    ++row.count;
  }
  std::vector<ProfileRow> rows;
  for (auto& [name, row] : kinds) rows.push_back(std::move(row));
  std::sort(rows.begin(), rows.end(),
            [](const ProfileRow& a, const ProfileRow& b) { return a.milliseconds > b.milliseconds; });
  if (rows.size() <= kRows) return rows;
  ProfileRow rest{"everything else", 0, 0};
  for (std::size_t i = kRows; i < rows.size(); ++i) {
    rest.milliseconds += rows[i].milliseconds;
    rest.count += rows[i].count;
  }
  rows.resize(kRows);
  rows.push_back(rest);
  return rows;
}

}  // namespace lacuna
