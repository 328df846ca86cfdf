#include "tests/support/cuda/cuda_fake_stage.h"

#include "parallel/run/cuda/cuda_check.h"
#include "parallel/run/cuda/cuda_device.h"

namespace lacuna::test {
namespace {

std::uint64_t* words_of(std::byte* bytes) {
  return reinterpret_cast<std::uint64_t*>(bytes);
}

}  // namespace

// Layout of keys_: [2][stages][micros] keys, [stages] gradients, loss, wrong words.
CudaFakeStage::CudaFakeStage(const Schedule& schedule, Device& device, std::size_t piece_words)
    : schedule_(schedule),
      device_(device),
      stream_(static_cast<cudaStream_t>(stream_of(device, kComputeQueue))),
      piece_words_(piece_words) {
  const auto stages = static_cast<std::size_t>(schedule.stages());
  const auto micros = static_cast<std::size_t>(schedule.micros);
  keys_ = DeviceBytes(device, (2 * stages * micros + stages + 2) * sizeof(std::uint64_t));
}

// Pieces differ in size, over stages and within one.
std::size_t CudaFakeStage::piece_bytes(int stage, int piece) const {
  return (piece_words_ + 8 * (static_cast<std::size_t>(stage * 3 + piece) % 4)) * sizeof(std::uint64_t);
}

FakeWork CudaFakeStage::work(int stage, int micro, const std::byte* input, std::byte* output) {
  const auto stages = static_cast<std::size_t>(schedule_.stages());
  const std::size_t table = stages * static_cast<std::size_t>(schedule_.micros);
  const std::size_t at = static_cast<std::size_t>(stage * schedule_.micros + micro);
  std::uint64_t* keys = words_of(keys_.data());
  FakeWork out{step_, stage, micro, schedule_.stages()};
  out.input = reinterpret_cast<const std::uint64_t*>(input);
  out.output = words_of(output);
  out.forward_key = keys + at;
  out.backward_key = keys + table + at;
  out.gradient = keys + 2 * table + stage;
  out.loss = keys + 2 * table + stages;
  return out;
}

void CudaFakeStage::fill(int stage, StashPieces stash, const std::uint64_t* key) {
  for (int piece = 0; piece < schedule_.pieces; ++piece) {
    fake_fill(words_of(stash[static_cast<std::size_t>(piece)]),
              piece_bytes(stage, piece) / sizeof(std::uint64_t), key, piece, stream_);
  }
}

void CudaFakeStage::check(int stage, StashPieces stash, const std::uint64_t* key) {
  auto* wrong = reinterpret_cast<unsigned long long*>(keys_.data() + keys_.size()) - 1;
  for (int piece = 0; piece < schedule_.pieces; ++piece) {
    fake_check(words_of(stash[static_cast<std::size_t>(piece)]),
               piece_bytes(stage, piece) / sizeof(std::uint64_t), key, piece, wrong, stream_);
  }
}

void CudaFakeStage::forward(int stage, int micro, const std::byte* input, std::byte* output,
                            StashPieces stash) {
  const FakeWork now = work(stage, micro, input, output);
  fake_forward(now, stream_);
  fill(stage, stash, now.forward_key);
}

void CudaFakeStage::input_grad(int stage, int micro, const std::byte* output_grad, std::byte* input_grad,
                               StashPieces stash) {
  const FakeWork now = work(stage, micro, output_grad, input_grad);
  check(stage, stash, now.forward_key);
  fake_input_grad(now, stream_);
  fill(stage, stash, now.backward_key);
}

void CudaFakeStage::weight_grad(int stage, int micro, StashPieces stash) {
  const FakeWork now = work(stage, micro, nullptr, nullptr);
  check(stage, stash, now.backward_key);
  fake_weight_grad(now, stream_);
}

CudaFakeStage::Result CudaFakeStage::result() {
  device_.finish(kComputeQueue);
  const auto stages = static_cast<std::size_t>(schedule_.stages());
  std::vector<std::uint64_t> tail(stages + 2);
  const std::size_t bytes = tail.size() * sizeof(std::uint64_t);
  LACUNA_CUDA_CALL(
      cudaMemcpy(tail.data(), keys_.data() + keys_.size() - bytes, bytes, cudaMemcpyDeviceToHost));
  Result out;
  for (std::size_t s = 0; s < stages; ++s) {
    if (tail[s] != 0) out.gradient += mix(tail[s], s);  // only this rank's own stages have one
  }
  out.loss = tail[stages];
  out.wrong_words = tail[stages + 1];
  return out;
}

void CudaFakeStage::forget() {
  const std::size_t bytes = (static_cast<std::size_t>(schedule_.stages()) + 1) * sizeof(std::uint64_t);
  LACUNA_CUDA_CALL(
      cudaMemsetAsync(keys_.data() + keys_.size() - bytes - sizeof(std::uint64_t), 0, bytes, stream_));
}

CudaOutcome run_cuda_fake(const Schedule& schedule, Communicator& comm, Device& device, Device& real,
                          int steps, std::size_t piece_words) {
  CudaFakeStage stage(schedule, real, piece_words);
  Progress progress;
  Executor executor(schedule, comm, stage, progress, device);
  executor.rehearse();
  stage.forget();
  CudaOutcome out;
  for (int step = 0; step < steps; ++step) {
    stage.begin_step(step);
    executor.run();
    out.after_step.push_back(real.counters());
  }
  const CudaFakeStage::Result mine = stage.result();
  std::uint64_t sums[3] = {mine.gradient, mine.loss, mine.wrong_words};
  comm.control().all_reduce_sum(sums, 3, DType::I64);
  out.gradient = sums[0], out.loss = sums[1], out.wrong_words = sums[2];
  out.stats.push_back(executor.stats());
  executor.close();
  return out;
}

}  // namespace lacuna::test
