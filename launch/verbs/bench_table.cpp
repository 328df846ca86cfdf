#include "launch/verbs/bench_table.h"

#include <fmt/format.h>

namespace lacuna {

namespace {

double ratio(const BenchTable& table, const BenchRow& row) {
  return row.speed.tokens_per_s / table.rows.front().speed.tokens_per_s;
}

Json json_of(const BenchTable& table, const BenchRow& row) {
  Json out;
  out["path"] = row.path;
  out["tokens_per_s"] = row.speed.tokens_per_s;
  out["ratio_to_dense"] = ratio(table, row);
  out["prefill_tokens_per_s"] = row.speed.prefill_tokens_per_s;
  out["bytes_per_token"] = row.speed.bytes_per_token;
  out["gb_per_s"] = row.speed.bytes_per_s() / 1e9;
  out["share_of_stream"] = row.speed.bytes_per_s() / table.stream;
  out["up_rows"] = row.speed.up_rows;
  out["down_rows"] = row.speed.down_rows;
  out["ffn_sparsity"] = row.speed.ffn_sparsity;
  return out;
}

}  // namespace

std::string markdown_of(const BenchTable& table) {
  std::string out =
      "| path | tokens/s | × dense | prefill tokens/s | MB/token | GB/s | % of stream | up rows | down rows "
      "| "
      "FFN zeros |\n|---|---|---|---|---|---|---|---|---|---|\n";
  for (const BenchRow& row : table.rows) {
    const DecodeSpeed& speed = row.speed;
    out += fmt::format(
        "| {} | {:.1f} | {:.2f} | {:.0f} | {:.1f} | {:.1f} | {:.0f} | {:.0f} | {:.0f} | {:.1f} % |\n",
        row.path, speed.tokens_per_s, ratio(table, row), speed.prefill_tokens_per_s,
        speed.bytes_per_token / 1e6, speed.bytes_per_s() / 1e9, 100 * speed.bytes_per_s() / table.stream,
        speed.up_rows, speed.down_rows, 100 * speed.ffn_sparsity);
  }
  return out + fmt::format("\nmemory read stream: {:.1f} GB/s on {}\n", table.stream / 1e9, table.device);
}

std::string csv_of(const BenchTable& table) {
  std::string out =
      "path,tokens_per_s,ratio_to_dense,prefill_tokens_per_s,bytes_per_token,gb_per_s,stream_gb_per_s,up_"
      "rows,"
      "down_rows,ffn_sparsity\n";
  for (const BenchRow& row : table.rows) {
    const DecodeSpeed& speed = row.speed;
    out += fmt::format("{},{},{},{},{},{},{},{},{},{}\n", row.path, speed.tokens_per_s, ratio(table, row),
                       speed.prefill_tokens_per_s, speed.bytes_per_token, speed.bytes_per_s() / 1e9,
                       table.stream / 1e9, speed.up_rows, speed.down_rows, speed.ffn_sparsity);
  }
  return out;
}

Json json_of(const BenchTable& table) {
  Json out;
  out["device"] = table.device;
  out["model"] = table.model;
  out["prompt_tokens"] = table.prompt;
  out["stream_gb_per_s"] = table.stream / 1e9;
  out["rows"] = Json::array();
  for (const BenchRow& row : table.rows) out["rows"].push_back(json_of(table, row));
  return out;
}

}  // namespace lacuna
