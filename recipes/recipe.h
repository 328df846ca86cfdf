// A recipe is a value: which model comes out, what must be measured first, how the weights are rewritten,
// what it does at each step, what it leaves for those who come after. The launcher calls it at these points
// and owns the order; the trainer never names one.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "src/arch/model_config.h"
#include "src/base/fields.h"
#include "src/model/llama_stage.h"
#include "src/train/hooks.h"
#include "src/train/parallel_context.h"
#include "src/train/snapshot.h"

namespace lacuna {

class Recipe : public TrainHooks {
 public:
  // Its own options, as section [<name>] of the configuration; they refer into the recipe.
  virtual std::vector<FieldRef> fields() = 0;
  virtual std::vector<std::string> problems() const { return {}; }

  // 1. The model that comes out. Error(Usage) when the parent does not suit.
  virtual ModelConfig rewrite(const ModelConfig& parent) const = 0;

  // 2. Calibration: how many training sequences the parent's forward must see first (0: none); what each
  // block shows, once per micro-batch, for this rank's neurons [tokens, neurons]; and the end, where the
  // ranks merge what they saw (collective).
  virtual std::int64_t calibration_sequences() const { return 0; }
  virtual void observe(int /*layer*/, const at::Tensor& /*gate*/, const at::Tensor& /*up*/,
                       const at::Tensor& /*product*/) {}
  virtual void finish_calibration(ParallelContext& /*context*/, const ModelConfig& /*parent*/) {}

  // 3. The child's weights as a function of the parent's: a source of slabs over a source of slabs, in full
  // precision and under any layout. A rank asks only for its own slabs.
  virtual SlabSource rewrite_weights(SlabSource parent) const { return parent; }

  // 4. TrainHooks: before each step; state of its own in checkpoints.

  // 5. Facts for the checkpoint, export and the model card: key -> text.
  virtual std::map<std::string, std::string> facts() const { return {}; }
};

struct RecipeEntry {
  const char* name;
  const char* summary;
  const char* example;
  const char* ini;  // commented INI with settings that work, printed by `recipe show`
  std::unique_ptr<Recipe> (*make)();
};

// The explicit list (registry.cpp) and a look-up; Error(Usage) that names the known ones.
const std::vector<RecipeEntry>& all_recipes();
const RecipeEntry& find_recipe(std::string_view name);

}  // namespace lacuna
