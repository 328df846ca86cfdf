#include "src/model/llama_stage.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include "src/arch/stage_layout.h"
#include "src/base/error.h"
#include "src/model/block.h"
#include "src/model/embedding.h"
#include "src/model/head_loss.h"
#include "src/model/stage_checks.h"
#include "src/model/stash_view.h"

namespace lacuna {

namespace {

// One pipeline stage of this rank.
struct Part {
  int stage = 0;
  bool first = false, last = false;
  StageLayout layout;
  std::vector<Block> blocks;
  std::size_t first_block = 0;  // among all blocks of the rank
  std::optional<HeadLoss> head;
};

std::vector<StagePlace> places_of(const LlamaStageOptions& options) {
  std::vector<StagePlace> out;
  const int stages = static_cast<int>(options.cuts.size());
  for (int stage : options.my_stages) {
    LACUNA_ASSERT(stage >= 0 && stage < stages);
    const LayerRange layers = options.cuts[static_cast<std::size_t>(stage)];
    out.push_back({stage, layers.begin, layers.end, stage == 0, stage == stages - 1});
  }
  return out;
}

}  // namespace

struct LlamaStage::State {
  explicit State(LlamaStageOptions o)
      : options(std::move(o)),
        store(options.config, places_of(options), options.tp ? options.tp->rank() : 0, options.shape.tp,
              options.shape.compute, options.device, options.frozen),
        context(options.config, options.shape, options.tp, options.device),
        stored(block_stash(options.config, options.shape, options.stash)),
        full(block_stash(options.config, options.shape, StashKind::Full)),
        head_layout(head_stash(options.config, options.shape)) {
    for (const StagePlace& place : places_of(options)) add_part(place);
    const at::TensorOptions memory = at::TensorOptions().device(options.device);
    boundary = at::empty({options.shape.local_tokens(), options.config.hidden},
                         memory.dtype(scalar_type(options.shape.compute)));
    if (options.stash == StashKind::Recompute)
      scratch = at::empty({static_cast<std::int64_t>(full.bytes)}, memory.dtype(at::kByte));
  }

  void add_part(const StagePlace& place) {
    Part part;
    part.stage = place.stage;
    part.first = place.has_embedding;
    part.last = place.has_head;
    part.first_block = block_count;
    block_count += static_cast<std::size_t>(place.end_layer - place.first_layer);
    part.layout = stage_layout(options.config, options.shape, options.stash,
                               place.end_layer - place.first_layer, place.has_head, options.pieces);
    for (int layer = place.first_layer; layer < place.end_layer; ++layer)
      part.blocks.emplace_back(context, store, layer);
    if (place.has_head) part.head.emplace(context, store);
    parts.push_back(std::move(part));
  }

  Part& part_of(int stage) {
    for (Part& part : parts)
      if (part.stage == stage) return part;
    fail(ErrorKind::Internal, "stage {} is not on this rank", stage);
  }
  LocalParameter& table() { return store.at("model.embed_tokens.weight"); }
  TokenIds micro_of(const std::vector<std::int32_t>& ids, const at::Tensor& on_device, int micro) const {
    const std::size_t n = static_cast<std::size_t>(options.shape.tokens());
    LACUNA_ASSERT(micro >= 0 && micro < batch.micros);
    return {{ids.data() + static_cast<std::size_t>(micro) * n, n},
            on_device.defined() ? on_device.select(0, micro) : at::Tensor{}};
  }
  TokenIds tokens_of(int micro) const { return micro_of(batch.tokens, room->tokens, micro); }
  TokenIds targets_of(int micro) const { return micro_of(batch.targets, room->targets, micro); }
  static std::byte* address(const StashPlace& place, StashPieces stash) {
    return stash[static_cast<std::size_t>(place.piece)] + place.offset;
  }
  at::Tensor activation(std::byte* memory) const {
    return view_memory(memory, options.shape.local_tokens(), options.config.hidden, options.shape.compute,
                       options.device);
  }
  Penalty l1() const {
    const double terms =
        static_cast<double>(batch.global_tokens) * static_cast<double>(options.config.layers);
    return {batch.l1 / terms, batch.l1_knee};
  }

  // Room for the step's numbers, and its tokens on the device. Passes of another kind in between leave it
  // alone: a step asks for the same memory whatever came before.
  void open_step() {
    const std::int64_t micros = batch.micros, blocks = static_cast<std::int64_t>(block_count);
    room = &rooms[{micros, batch.gradients}];
    if (!room->numbers.defined()) make_room(4 * blocks + 2 * micros);
    losses = room->numbers.narrow(0, 4 * blocks, micros);
    divergences = room->numbers.narrow(0, 4 * blocks + micros, micros);
    room->numbers.zero_();
    kept_logits.assign(static_cast<std::size_t>(micros), {});
    counts.assign(block_count, {});
    room->by_row.assign(static_cast<std::size_t>(micros), {});
    if (!options.device.is_cuda()) return;
    for (std::size_t i = 0; i < block_count; ++i)
      counts[i].device = room->numbers.narrow(0, 4 * static_cast<std::int64_t>(i), 4);
    on_cuda::upload(batch.tokens, room->tokens);
    on_cuda::upload(batch.targets, room->targets);
    if (!parts.front().first || !batch.gradients) return;
    for (int micro = 0; micro < batch.micros; ++micro)
      room->by_row[static_cast<std::size_t>(micro)] = on_cuda::index_rows(
          tokens_of(micro).host, table().local.slab.offset[0], table().local.slab.extent[0], options.device);
  }

  void make_room(std::int64_t count) {
    const at::TensorOptions doubles = at::TensorOptions().dtype(at::kDouble);
    room->numbers = at::empty({count}, doubles.device(options.device));
    if (!options.device.is_cuda()) return;
    room->host_numbers = at::zeros({count}, doubles.pinned_memory(true));
    const at::TensorOptions ids = at::TensorOptions().dtype(at::kInt).device(options.device);
    room->tokens = at::empty({batch.micros, options.shape.tokens()}, ids);
    room->targets = at::empty({batch.micros, options.shape.tokens()}, ids);
  }

  // The block's stash in its full form: as stored, or the forward run again into the scratch.
  BlockStash open_block(Part& part, std::size_t index, StashPieces stash) {
    std::byte* memory = address(part.layout.blocks[index], stash);
    if (options.stash == StashKind::Full) return BlockStash(memory, stored, options.device);
    BlockStash out(static_cast<std::byte*>(scratch.data_ptr()), full, options.device);
    out.input.copy_(view_slot(memory, stored, "input", options.device));
    ProductCounts counted_before;
    part.blocks[index].forward(out, {}, counted_before);
    return out;
  }

  // The recipe's look at a block's FFN after its forward.
  void show_ffn(int layer, const BlockStash& block) {
    if (!observer && !input_observer && !expert_observer) return;
    const c10::InferenceMode off(false);  // what the observer keeps shall be ordinary tensors
    const c10::NoGradGuard no_autograd;
    if (observer) observer(layer, block.gate, block.up, block.product);
    if (input_observer) input_observer(layer, context.shards.gather(block.norm2, context.work.all));
    if (expert_observer && block.experts.defined()) expert_observer(layer, block.experts);
  }
  void show_output_grad(int layer, const at::Tensor& grad) {
    if (!grad_observer) return;
    const c10::InferenceMode off(false);
    const c10::NoGradGuard no_autograd;
    grad_observer(layer, grad);
  }

  void forward_block(Part& part, std::size_t index, StashPieces stash, const at::Tensor& output) {
    std::byte* memory = address(part.layout.blocks[index], stash);
    const bool recompute = options.stash == StashKind::Recompute;
    BlockStash block(recompute ? static_cast<std::byte*>(scratch.data_ptr()) : memory, full, options.device);
    if (recompute) block.input = view_slot(memory, stored, "input", options.device);
    part.blocks[index].forward(block, output, counts[part.first_block + index]);
    show_ffn(part.blocks[index].layer(), block);
  }

  void run_head(Part& part, int micro, StashPieces stash) {
    const auto index = static_cast<std::size_t>(micro);
    const HeadStash head(address(part.layout.head, stash), head_layout, options.device);
    if (state_observer) {
      part.head->normalise(head);
      state_observer(micro, head.norm);
      return;
    }
    const KeptLogits kept{keep_logits, kept_logits[index]};
    TeacherRows teacher;
    if (!batch.soft.empty())
      teacher = {batch.soft.states.at(index), batch.soft.head, divergences.select(0, micro),
                 batch.soft.share};
    part.head->forward(head, targets_of(micro), batch.loss_scale, batch.gradients, kept,
                       losses.select(0, micro), teacher);
  }

  // The gradient of the last block's output, in a buffer that the blocks rewrite down to the stage's input.
  at::Tensor open_gradient(Part& part, const std::byte* output_grad, std::byte* input_grad,
                           StashPieces stash) {
    const at::Tensor grad = input_grad ? activation(input_grad) : boundary;
    if (part.last) {
      part.head->input_grad(HeadStash(address(part.layout.head, stash), head_layout, options.device), grad);
    } else if (output_grad != static_cast<const std::byte*>(grad.const_data_ptr())) {
      LACUNA_ASSERT(output_grad != nullptr);
      grad.copy_(activation(const_cast<std::byte*>(output_grad)));
    }
    return grad;
  }

  void close_gradient(Part& part, int micro, const at::Tensor& grad) {
    if (part.first && !options.frozen)
      embed_grad(table(), tokens_of(micro), room->by_row.at(static_cast<std::size_t>(micro)), context.shards,
                 grad, context.work.all_grad);
  }

  LlamaStageOptions options;
  ParameterStore store;
  ModelContext context;
  StashLayout stored, full, head_layout;
  std::vector<Part> parts;
  at::Tensor boundary, scratch;
  StepBatch batch;
  // What a step or pass writes down and reads beside the stash.
  struct Room {
    at::Tensor numbers;                     // 4 doubles a block (ProductCounts::device), losses, divergences
    at::Tensor host_numbers;                // pinned, CUDA only
    at::Tensor tokens, targets;             // [micros, tokens] int32, CUDA only
    std::vector<on_cuda::RowIndex> by_row;  // of each micro-batch; filled on the first stage, CUDA only
  };
  std::map<std::pair<std::int64_t, bool>, Room> rooms;  // by micro-batches, and whether there are gradients
  Room* room = nullptr;                                 // of the step or pass under way
  at::Tensor losses, divergences;                       // [micros] each, in its numbers
  std::vector<ProductCounts> counts;                    // of each block of the rank
  std::size_t block_count = 0;
  std::vector<std::int64_t> keep_logits;
  FfnObserver observer;
  TokenObserver input_observer, grad_observer, expert_observer;
  StateObserver state_observer;
  std::vector<std::vector<double>> kept_logits;
  std::function<void(int)> reduce_hook;
};

LlamaStage::LlamaStage(LlamaStageOptions options) {
  check_shape(options);
  state_ = std::make_unique<State>(std::move(options));
}
LlamaStage::~LlamaStage() = default;

ParameterStore& LlamaStage::parameters() {
  return state_->store;
}
const LlamaStageOptions& LlamaStage::options() const {
  return state_->options;
}
double LlamaStage::micro_loss(int micro) const {
  const State::Room& room = *state_->room;
  const at::Tensor& values = room.host_numbers.defined() ? room.host_numbers : room.numbers;
  return values.const_data_ptr<double>()[4 * state_->block_count + static_cast<std::size_t>(micro)];
}
double LlamaStage::micro_divergence(int micro) const {
  return micro_loss(micro + state_->batch.micros);
}
std::vector<FfnCounts> LlamaStage::ffn_counts() const {
  const State& s = *state_;
  std::vector<FfnCounts> out;
  for (const Part& part : s.parts)
    for (std::size_t i = 0; i < part.blocks.size(); ++i) {
      ProductCounts c = s.counts[part.first_block + i];
      if (const at::Tensor& fetched = s.room->host_numbers; fetched.defined())
        c.add_fetched(fetched.const_data_ptr<double>() + 4 * (part.first_block + i));
      out.push_back({part.blocks[i].layer(), c.zeros, c.elements, c.l1});
    }
  return out;
}
void LlamaStage::fetch() {
  const State::Room& room = *state_->room;
  if (room.host_numbers.defined()) room.host_numbers.copy_(room.numbers, true);
}
void LlamaStage::keep_logits(std::vector<std::int64_t> tokens) {
  for (std::int64_t token : tokens) LACUNA_ASSERT(token >= 0 && token < state_->options.shape.tokens());
  state_->keep_logits = std::move(tokens);
}
void LlamaStage::observe_ffn(FfnObserver observer) {
  state_->observer = std::move(observer);
}
void LlamaStage::observe_states(StateObserver observer) {
  state_->state_observer = std::move(observer);
}
void LlamaStage::observe_ffn_inputs(TokenObserver observer) {
  state_->input_observer = std::move(observer);
}
void LlamaStage::observe_experts(TokenObserver observer) {
  state_->expert_observer = std::move(observer);
}
void LlamaStage::observe_ffn_output_grads(TokenObserver observer) {
  state_->grad_observer = std::move(observer);
}
const std::vector<std::vector<double>>& LlamaStage::kept_logits() const {
  return state_->kept_logits;
}
void LlamaStage::set_reduce_hook(std::function<void(int)> hook) {
  state_->reduce_hook = std::move(hook);
}

void LlamaStage::begin_step(StepBatch batch) {
  State& s = *state_;
  const std::size_t wanted = static_cast<std::size_t>(batch.micros * s.options.shape.tokens());
  LACUNA_CHECK(batch.tokens.size() == wanted && batch.targets.size() == wanted, ErrorKind::Internal,
               "a step of {} micro-batches wants {} tokens and targets, got {} and {}", batch.micros, wanted,
               batch.tokens.size(), batch.targets.size());
  check_ids(batch.tokens, s.options.shape.tokens(), 0, s.options.config.vocab, "token");
  check_ids(batch.targets, s.options.shape.tokens(), -1, s.options.config.vocab, "target");
  s.batch = std::move(batch);
  s.open_step();
}

void LlamaStage::forward(int stage, int micro, const std::byte* input, std::byte* output, StashPieces stash) {
  const c10::InferenceMode no_autograd;
  State& s = *state_;
  Part& part = s.part_of(stage);
  const auto input_of = [&](std::size_t index) {  // where block `index`, or what follows the last one, reads
    if (index < part.blocks.size())
      return view_slot(State::address(part.layout.blocks[index], stash), s.stored, "input", s.options.device);
    if (part.last)
      return view_slot(State::address(part.layout.head, stash), s.head_layout, "input", s.options.device);
    return s.activation(output);
  };
  const at::Tensor first = input_of(0);
  if (part.first)
    embed(s.table(), s.tokens_of(micro), s.context.shards, first, s.context.work.all);
  else
    first.copy_(s.activation(const_cast<std::byte*>(input)));
  for (std::size_t i = 0; i < part.blocks.size(); ++i) s.forward_block(part, i, stash, input_of(i + 1));
  if (part.last) s.run_head(part, micro, stash);
}

void LlamaStage::input_grad(int stage, int micro, const std::byte* output_grad, std::byte* input_grad_out,
                            StashPieces stash) {
  State& s = *state_;
  if (s.options.stash == StashKind::Recompute) {  // what weight_grad needs is not kept: do it all here
    backward(stage, micro, output_grad, input_grad_out, stash);
    return;
  }
  const c10::InferenceMode no_autograd;
  Part& part = s.part_of(stage);
  const at::Tensor grad = s.open_gradient(part, output_grad, input_grad_out, stash);
  for (std::size_t i = part.blocks.size(); i-- > 0;) {
    s.show_output_grad(part.blocks[i].layer(), grad);
    part.blocks[i].input_grad(s.open_block(part, i, stash), grad, s.l1());
  }
  s.close_gradient(part, micro, grad);
}

void LlamaStage::weight_grad(int stage, int, StashPieces stash) {
  const c10::InferenceMode no_autograd;
  State& s = *state_;
  if (s.options.frozen) return;
  if (s.options.stash == StashKind::Recompute) return;  // done by input_grad
  Part& part = s.part_of(stage);
  for (std::size_t i = part.blocks.size(); i-- > 0;) part.blocks[i].weight_grad(s.open_block(part, i, stash));
}

void LlamaStage::backward(int stage, int micro, const std::byte* output_grad, std::byte* input_grad_out,
                          StashPieces stash) {
  const c10::InferenceMode no_autograd;
  State& s = *state_;
  Part& part = s.part_of(stage);
  const at::Tensor grad = s.open_gradient(part, output_grad, input_grad_out, stash);
  for (std::size_t i = part.blocks.size(); i-- > 0;) {
    const BlockStash block = s.open_block(part, i, stash);
    s.show_output_grad(part.blocks[i].layer(), grad);
    part.blocks[i].input_grad(block, grad, s.l1());
    if (!s.options.frozen) part.blocks[i].weight_grad(block);
  }
  s.close_gradient(part, micro, grad);
}

void LlamaStage::reduce(int stage) {
  if (state_->reduce_hook) state_->reduce_hook(stage);
}

std::size_t LlamaStage::boundary_bytes() const {
  return lacuna::boundary_bytes(state_->options.config, state_->options.shape);
}

std::size_t LlamaStage::piece_bytes(int stage, int piece) const {
  return state_->part_of(stage).layout.piece_bytes.at(static_cast<std::size_t>(piece));
}

}  // namespace lacuna
