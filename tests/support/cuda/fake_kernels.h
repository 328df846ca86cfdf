// What the fake stage does on a device, and a kernel that does nothing for a while.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace lacuna::test {

struct FakeWork {
  int step = 0, stage = 0, micro = 0, stages = 0;
  const std::uint64_t* input = nullptr;  // kWords at a boundary, null without a neighbour
  std::uint64_t* output = nullptr;
  std::uint64_t* forward_key = nullptr;   // what the stash must hold after the forward
  std::uint64_t* backward_key = nullptr;  // and after the input gradient
  std::uint64_t* gradient = nullptr;      // sums that show their order
  std::uint64_t* loss = nullptr;
};
inline constexpr int kFakeWords = 11;

void fake_forward(const FakeWork& work, cudaStream_t stream);
void fake_input_grad(const FakeWork& work, cudaStream_t stream);
void fake_weight_grad(const FakeWork& work, cudaStream_t stream);
// Every word of piece `piece` follows from the key.
void fake_fill(std::uint64_t* words, std::size_t count, const std::uint64_t* key, int piece,
               cudaStream_t stream);
// Adds the words that are not what the key says to *wrong.
void fake_check(const std::uint64_t* words, std::size_t count, const std::uint64_t* key, int piece,
                unsigned long long* wrong, cudaStream_t stream);

// Keeps one multiprocessor's corner busy for so long.
void spin(std::int64_t nanoseconds, cudaStream_t stream);

}  // namespace lacuna::test
