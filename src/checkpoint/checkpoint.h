// A checkpoint: a folder step-000001200 with one HDF5 file per writing rank and a manifest, which is the only
// commit point. A step without a valid manifest does not exist. Specification: docs/checkpoint.md.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "parallel/run/communicator.h"
#include "src/arch/model_config.h"
#include "src/arch/parameters.h"
#include "src/base/dtype.h"
#include "src/base/hash.h"

namespace lacuna {

// One rank's part of a global tensor. Names: the parameter's name, "optim.exp_avg.<name>",
// "optim.exp_avg_sq.<name>".
struct TensorSlab {
  std::string name;
  DType dtype = DType::F32;
  std::vector<std::int64_t> shape;  // global
  Slab slab;
  const void* data = nullptr;           // slab.elements() elements, row-major, alive until save returns
  std::function<void(void* dst)> fill;  // where data is null: writes them when the slab's turn has come
};

// Sequences with the logits of the trainer's own forward at their last position: export proves itself on it.
struct Probe {
  std::vector<std::vector<std::int32_t>> sequences;
  std::vector<std::vector<double>> logits;  // [sequence][vocab]
  std::string compute = "fp32";             // arithmetic of the forward that made them
  // Of a routed model: 1 where an expert was on, [sequence][(layer·length + token)·experts + expert]; else
  // empty.
  std::vector<std::vector<std::uint8_t>> routes;
};

struct CheckpointMeta {
  std::int64_t step = 0, tokens = 0;
  ModelConfig config;
  std::map<std::string, std::int64_t> layout;  // "pp", "tp", "dp"
  std::map<std::string, std::string> state;    // opaque to this folder: the trainer's and the recipe's state
  std::map<std::string, std::string> files;    // tokenizer and companions by file name, bytes as they are
  std::string config_ini;                      // config.resolved.ini of the run
  std::string kind = "train";                  // train | import
  Probe probe;
};

struct SaveOptions {
  int keep_last = 3;
  std::int64_t keep_every = 0;     // also keep steps that are a multiple; 0: none
  std::string generation = "0";    // of this run of the program (RunLock); a whole number
  std::string run_id;              // of the run folder (RunLock); may be empty
  std::int64_t resumed_from = -1;  // this step is never deleted
};

// Collective over `world`. Rank 0's meta and options count (the probe may come from any one rank: the one
// whose probe is not empty). Each element of each tensor comes from exactly one rank's slab; empty slabs are
// skipped. Returns the committed folder. On failure every rank throws the same Error: Storage, or Internal
// when the slabs do not tile their tensors; the temporary folder is gone, earlier checkpoints are untouched.
// What goes wrong after the commit (the `latest` hint, retention) is a warning.
std::string save_checkpoint(const std::string& run_folder, Communicator& world, const CheckpointMeta& meta,
                            const std::vector<TensorSlab>& slabs, const SaveOptions& options);

struct TensorInfo {
  DType dtype = DType::F32;
  std::vector<std::int64_t> shape;
};

// Used by one thread.
class CheckpointReader {
 public:
  // `path`: a step folder, or a run folder (its newest committed step whose every file's hash is right; every
  // rejected step is reported through `rejected`, one line each). Error(BadInput) when there is none. Checks
  // the manifest's own hash, file sizes and the tiling of every tensor; bytes are checked slab by slab when
  // read.
  explicit CheckpointReader(const std::string& path, std::vector<std::string>* rejected = nullptr);
  ~CheckpointReader();
  const std::string& folder() const;
  const CheckpointMeta& meta() const;
  const std::string& run_id() const;
  const std::string& generation() const;
  const std::map<std::string, TensorInfo>& tensors() const;
  ContentHash content_hash() const;  // as the manifest records it
  // Reads a rectangle of a global tensor into dst (row-major), converting floats to `dtype`.
  void read(const std::string& name, const Slab& slab, DType dtype, void* dst) const;
  // Reads everything and compares all hashes; Error(BadInput) names file and tensor.
  void verify() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Collective over `world`: the newest step folder of `run_folder` whose every file is as its manifest says,
// the ranks sharing the reading; "" when there is none. `rejected` gets one line for each newer step, the
// same on every rank.
std::string newest_checkpoint(const std::string& run_folder, Communicator& world,
                              std::vector<std::string>* rejected = nullptr);

// True if `path` is a checkpoint step folder or a run folder that holds one.
bool is_checkpoint(const std::string& path);

}  // namespace lacuna
