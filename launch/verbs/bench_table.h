// What `bench` measured, as a table, as CSV and as JSON.
#pragma once

#include <string>
#include <vector>

#include "src/base/json.h"
#include "src/infer/measure.h"

namespace lacuna {

struct BenchRow {
  std::string path;
  DecodeSpeed speed;
};

struct BenchTable {
  std::string device, model;
  double stream = 0;  // bytes per second
  std::int64_t prompt = 0;
  std::vector<BenchRow> rows;  // the first is the dense one
};

std::string markdown_of(const BenchTable& table);
std::string csv_of(const BenchTable& table);
Json json_of(const BenchTable& table);

}  // namespace lacuna
