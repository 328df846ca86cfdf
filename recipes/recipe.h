// A recipe is a value: which model comes out, what must be measured first, how the weights are rewritten,
// what it does at each step, what it leaves for those who come after. The launcher calls it at these points
// and owns the order; the trainer never names one.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "recipes/common/calibration_run.h"
#include "recipes/common/variants.h"
#include "src/arch/model_config.h"
#include "src/base/fields.h"
#include "src/base/json.h"
#include "src/train/hooks.h"
#include "src/train/snapshot.h"

namespace lacuna {

class Recipe : public TrainHooks {
 public:
  // Its own options, as section [<name>] of the configuration; they refer into the recipe.
  virtual std::vector<FieldRef> fields() = 0;
  virtual std::vector<std::string> problems() const { return {}; }

  // 1. The model that comes out. Error(Usage) when the parent does not suit. Asked before calibration, so
  // that what cannot be done is said at once, and again after it: the later answer holds.
  virtual ModelConfig rewrite(const ModelConfig& parent) const = 0;

  // 2. Calibration: what must be measured on the parent, in passes that the recipe asks for. Collective: all
  // ranks ask for the same, and end with the same facts about the layers they hold.
  virtual bool wants_calibration() const { return false; }
  virtual void calibrate(CalibrationRun& /*run*/) {}

  // 3. The child's weights as a function of the parent's: a source of slabs over a source of slabs, in full
  // precision and under any layout. A rank asks only for its own slabs.
  virtual SlabSource rewrite_weights(SlabSource parent) const { return parent; }
  // The same for what of the parent lies ready on a device (src/train/snapshot.h), so that a model that takes
  // no step need not be read again; null: this recipe reads.
  virtual TensorSource rewrite_tensors(TensorSource /*parent*/) const { return nullptr; }

  // 4. TrainHooks: before each step; state of its own in checkpoints.

  // 5. Facts for the checkpoint, export and the model card: key -> text.
  virtual std::map<std::string, std::string> facts() const { return {}; }

  // 6. A report on the child beside other models that the same calibration yields (controls), each scored by
  // the trainer's own forward before the first step: texts to score, the models, and the table for people.
  virtual std::vector<std::string> report_texts() const { return {}; }  // token files; empty: no report
  virtual std::int64_t report_windows() const { return 64; }            // of each text, at most
  virtual std::vector<Variant> variants(const ModelConfig& /*parent*/, SlabSource /*weights*/) const {
    return {};
  }
  virtual Json report(const std::vector<VariantScore>& /*scores*/) const { return {}; }
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
