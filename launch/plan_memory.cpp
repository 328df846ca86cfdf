#include "launch/plan_memory.h"

#include <algorithm>

#include "parallel/plan/topology.h"
#include "src/arch/parameters.h"
#include "src/arch/scratch.h"
#include "src/arch/stage_layout.h"

namespace lacuna {
namespace {

// Master weights and both moments of the rows that a rank owns; with data parallelism also their summed
// gradients, and the buckets of reduction and gathering: all gradients, the owned and all working weights
// (ZeRO-1).
std::size_t optimizer_bytes(std::size_t owned, std::size_t all, std::size_t accumulation, std::size_t compute,
                            int dp) {
  if (dp == 1) return 3 * owned * accumulation;
  return 4 * owned * accumulation + all * accumulation + (owned + all) * compute;
}

int stage_of(const Parameter& parameter, const std::vector<LayerRange>& cuts) {
  if (parameter.layer < 0) return 0;
  for (std::size_t stage = 0; stage < cuts.size(); ++stage)
    if (parameter.layer < cuts[stage].end) return static_cast<int>(stage);
  return static_cast<int>(cuts.size()) - 1;
}

void add(RankSizes& sizes, const Parameter& parameter, const PlannedRun& run, bool shares_weight) {
  const std::size_t accumulation = size_of(run.shape.compute == DType::F64 ? DType::F64 : DType::F32);
  const LocalTensor local = local_tensor(parameter, run.model, 0, run.shape.tp);
  const RowRange owned = owned_rows(local, 0, run.dp);
  std::size_t elements = 1;
  for (const std::int64_t extent : local.shape) elements *= static_cast<std::size_t>(extent);
  const std::size_t row = elements / static_cast<std::size_t>(local.shape[0]);
  if (!shares_weight) sizes.weights += elements * size_of(run.shape.compute);
  if (run.frozen) return;
  sizes.gradients += elements * accumulation;
  if (shares_weight && run.dp == 1) return;  // the original's state is also the copy's
  sizes.optimizer += optimizer_bytes(static_cast<std::size_t>(owned.end - owned.begin) * row, elements,
                                     accumulation, size_of(run.shape.compute), run.dp);
}

}  // namespace

std::vector<RankBytes> planned_memory(const Schedule& schedule, const PlannedRun& run) {
  const int stages = schedule.stages();
  const std::vector<LayerRange> cuts = cut_layers(static_cast<int>(run.model.layers), stages, run.cuts);
  std::vector<RankSizes> sizes(schedule.ranks.size());
  const auto rank_of_stage = [&](int stage) -> RankSizes& {
    return sizes[static_cast<std::size_t>(schedule.rank_of_stage[static_cast<std::size_t>(stage)])];
  };
  for (const Parameter& parameter : parameters(run.model)) {
    add(rank_of_stage(stage_of(parameter, cuts)), parameter, run, false);
    // The head's side of a tied embedding has an accumulator of its own, and a copy where the embedding is
    // on another rank.
    if (run.model.tied_embeddings && parameter.role == Role::Embedding)
      add(rank_of_stage(stages - 1), parameter, run, &rank_of_stage(0) == &rank_of_stage(stages - 1));
  }
  for (int stage = 0; stage < stages; ++stage) {
    RankSizes& mine = rank_of_stage(stage);
    mine.boundary_bytes = boundary_bytes(run.model, run.shape);
    mine.workspace = scratch_bytes(run.model, run.shape, run.stash, stage + 1 == stages, run.cuda);
    const LayerRange layers = cuts[static_cast<std::size_t>(stage)];
    const std::vector<std::size_t> pieces =
        stage_layout(run.model, run.shape, run.stash, layers.end - layers.begin, stage + 1 == stages,
                     schedule.pieces)
            .piece_bytes;
    mine.piece_bytes.resize(pieces.size(), 0);
    for (std::size_t i = 0; i < pieces.size(); ++i)
      mine.piece_bytes[i] = std::max(mine.piece_bytes[i], pieces[i]);
  }
  return memory_by_class(schedule, sizes);
}

}  // namespace lacuna
