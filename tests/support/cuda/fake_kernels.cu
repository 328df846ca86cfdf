#include <algorithm>

#include "kernels/cuda/launch.h"
#include "tests/support/cuda/fake_kernels.h"

namespace lacuna::test {
namespace {

using Word = std::uint64_t;
constexpr int kThreads = 256;

// rng_bits of src/base/rng.h; the tests compare with its results.
__device__ Word mix(Word key, Word index) {
  Word z = key + (index + 1) * 0x9e3779b97f4a7c15ull;
  for (int round = 0; round < 2; ++round) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    z ^= z >> 31;
    z += key;
  }
  return z ^ (z >> 29);
}

// These follow tests/parallel/run/fake_stage.h line by line.
__global__ void forward_kernel(const FakeWork work) {
  Word sum = 0;
  for (int i = 0; i < kFakeWords; ++i) {
    Word word = work.input ? work.input[i]
                           : mix(static_cast<Word>(work.step * 1000 + work.micro), static_cast<Word>(i));
    word = mix(word, static_cast<Word>(work.stage));
    sum = mix(sum, word);
    if (work.output) work.output[i] = word;
  }
  if (work.stage == work.stages - 1) *work.loss = mix(*work.loss, sum);
  *work.forward_key = sum;
}

__global__ void input_grad_kernel(const FakeWork work) {
  const Word key = *work.forward_key;
  Word sum = key;
  for (int i = 0; i < kFakeWords; ++i) {
    const Word word = mix(work.input ? work.input[i] : mix(key, static_cast<Word>(i)), key);
    sum = mix(sum, word);
    if (work.output) work.output[i] = word;
  }
  *work.backward_key = sum;
}

__global__ void weight_grad_kernel(const FakeWork work) {
  *work.gradient = mix(*work.gradient, *work.backward_key);
}

__global__ void fill_kernel(Word* words, std::size_t count, const Word* key, int piece) {
  const Word base = *key + static_cast<Word>(piece);
  for (std::size_t i = blockIdx.x * kThreads + threadIdx.x; i < count; i += std::size_t{gridDim.x} * kThreads)
    words[i] = mix(base, i);
}

__global__ void check_kernel(const Word* words, std::size_t count, const Word* key, int piece,
                             unsigned long long* wrong) {
  const Word base = *key + static_cast<Word>(piece);
  unsigned long long mine = 0;
  for (std::size_t i = blockIdx.x * kThreads + threadIdx.x; i < count; i += std::size_t{gridDim.x} * kThreads)
    mine += words[i] != mix(base, i);
  if (mine > 0) atomicAdd(wrong, mine);
}

__device__ std::int64_t now() {
  std::int64_t time;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(time));
  return time;
}

__global__ void spin_kernel(std::int64_t nanoseconds) {
  const std::int64_t end = now() + nanoseconds;
  while (now() < end) __nanosleep(200);
}

unsigned blocks_for(std::size_t count) {
  return static_cast<unsigned>(std::min<std::size_t>((count + kThreads - 1) / kThreads, 32));
}

}  // namespace

void fake_forward(const FakeWork& work, cudaStream_t stream) {
  forward_kernel<<<1, 1, 0, stream>>>(work);
  cuda::check_launch("fake_forward");
}
void fake_input_grad(const FakeWork& work, cudaStream_t stream) {
  input_grad_kernel<<<1, 1, 0, stream>>>(work);
  cuda::check_launch("fake_input_grad");
}
void fake_weight_grad(const FakeWork& work, cudaStream_t stream) {
  weight_grad_kernel<<<1, 1, 0, stream>>>(work);
  cuda::check_launch("fake_weight_grad");
}
void fake_fill(Word* words, std::size_t count, const Word* key, int piece, cudaStream_t stream) {
  fill_kernel<<<blocks_for(count), kThreads, 0, stream>>>(words, count, key, piece);
  cuda::check_launch("fake_fill");
}
void fake_check(const Word* words, std::size_t count, const Word* key, int piece, unsigned long long* wrong,
                cudaStream_t stream) {
  check_kernel<<<blocks_for(count), kThreads, 0, stream>>>(words, count, key, piece, wrong);
  cuda::check_launch("fake_check");
}
void spin(std::int64_t nanoseconds, cudaStream_t stream) {
  if (nanoseconds <= 0) return;
  spin_kernel<<<1, 1, 0, stream>>>(nanoseconds);
  cuda::check_launch("spin");
}

}  // namespace lacuna::test
