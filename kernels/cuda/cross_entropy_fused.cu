// The loss of one rank in one pass: a block keeps a row on the chip between its statistics and its gradient,
// and fetches the next row while it writes this one. Every thread copies, reads and overwrites only packs of
// its own, so the copies need no barrier. Packs beyond shared memory and registers are read twice.
#include <algorithm>

#include "kernels/cuda/cross_entropy_rows.cuh"

namespace lacuna::cuda {

namespace {

constexpr int kHeld = 2;  // packs of a thread in registers, beside those in shared memory

// Pack number layer·threads + thread belongs to `thread`. Layers below `shared` lie in shared memory, the
// next kHeld in registers.
struct Layers {
  int packs = 0, all = 0, shared = 0;
};

__device__ inline void copy_pack(void* to, const void* from) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(from) : "memory");
}
__device__ inline void end_copy_group() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int N>
__device__ inline void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}
// Waits until at most `pending` groups (or fewer) are under way.
__device__ inline void wait_until_pending(int pending) {
  if (pending >= 12)
    wait_for_copies<12>();
  else if (pending >= 9)
    wait_for_copies<9>();
  else if (pending >= 7)
    wait_for_copies<7>();
  else if (pending >= 5)
    wait_for_copies<5>();
  else if (pending == 4)
    wait_for_copies<4>();
  else if (pending == 3)
    wait_for_copies<3>();
  else if (pending == 2)
    wait_for_copies<2>();
  else if (pending == 1)
    wait_for_copies<1>();
  else
    wait_for_copies<0>();
}

template <class T>
struct RowOnChip {
  using A = Accumulate<T>;
  static constexpr int V = kPack<T>;

  const LossArgs<T>& args;
  const Layers& layers;
  uint4* memory;  // [layers.shared, threads]
  Raw<T> held[kHeld];

  __device__ int pack_of(int layer) const {
    return layer * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
  }
  __device__ uint4* slot(int layer) const { return memory + pack_of(layer); }
  __device__ bool exists(int layer) const { return pack_of(layer) < layers.packs; }
  __device__ T* address(std::int64_t row, int layer) const {
    return args.logits + row * args.cols + static_cast<std::int64_t>(pack_of(layer)) * V;
  }

  // One group of copies a layer, empty where there is no row.
  __device__ void fetch(std::int64_t row, int layer, bool wanted) {
    if (wanted && exists(layer)) copy_pack(slot(layer), address(row, layer));
    end_copy_group();
  }
  __device__ void fetch_held(std::int64_t row, bool wanted) {
#pragma unroll
    for (int j = 0; j < kHeld; ++j)
      if (wanted && exists(layers.shared + j)) held[j] = load_raw(address(row, layers.shared + j));
  }

  __device__ RowSums<T> sums(std::int64_t row) {
    RowSums<T> sums;
    const auto add = [&](const Raw<T>& raw, int layer) {
      A v[V];
      unpack<T>(raw, v);
      sums.add(v, static_cast<std::int64_t>(pack_of(layer)) * V, args.valid);
    };
    for (int layer = 0; layer < layers.shared; ++layer) {
      wait_until_pending(layers.shared - 1 - layer);
      if (exists(layer)) add({*slot(layer)}, layer);
    }
#pragma unroll
    for (int j = 0; j < kHeld; ++j)
      if (exists(layers.shared + j)) add(held[j], layers.shared + j);
#pragma unroll 2
    for (int layer = layers.shared + kHeld; layer < layers.all; ++layer)
      if (exists(layer)) add(load_raw(address(row, layer)), layer);
    return sums;
  }

  // Writes the row's gradient and fetches the row after it.
  __device__ void finish(std::int64_t row, std::int64_t target, A top, A factor, std::int64_t next,
                         bool next_wanted) {
    const auto write = [&](const Raw<T>& raw, int layer) {
      A v[V];
      unpack<T>(raw, v);
      softmax_grad<T, V>(args, v, static_cast<std::int64_t>(pack_of(layer)) * V, target, top, factor);
      store<V>(address(row, layer), v);
    };
    for (int layer = 0; layer < layers.shared; ++layer) {
      if (exists(layer)) write({*slot(layer)}, layer);
      fetch(next, layer, next_wanted);
    }
#pragma unroll
    for (int j = 0; j < kHeld; ++j)
      if (exists(layers.shared + j)) write(held[j], layers.shared + j);
    fetch_held(next, next_wanted);
    for (int layer = layers.shared + kHeld; layer < layers.all; ++layer)
      if (exists(layer)) write(load_raw(address(row, layer)), layer);
  }

  // A row that is not scored: zeros, nothing is read.
  __device__ void clear(std::int64_t row, std::int64_t next, bool next_wanted) {
    const A zeros[V] = {};
    for (int layer = 0; layer < layers.all; ++layer)
      if (exists(layer)) store<V>(address(row, layer), zeros);
    for (int layer = 0; layer < layers.shared; ++layer) fetch(next, layer, next_wanted);
    fetch_held(next, next_wanted);
  }
};

template <class T>
__global__ void __launch_bounds__(1024) fused_kernel(LossArgs<T> args, Layers layers, double* row_losses) {
  using A = Accumulate<T>;
  extern __shared__ uint4 memory[];
  __shared__ RowSums<T> shared[2][32];
  RowOnChip<T> chip{args, layers, memory, {}};
  std::int64_t row = blockIdx.x;
  bool wanted = row < args.rows && args.scored(row);
  for (int layer = 0; layer < layers.shared; ++layer) chip.fetch(row, layer, wanted);
  chip.fetch_held(row, wanted);
  for (int turn = 0; row < args.rows; turn ^= 1) {
    const std::int64_t next = row + gridDim.x;
    const bool next_wanted = next < args.rows && args.scored(next);
    if (wanted) {
      const std::int64_t target = args.target_column(row);
      const A target_logit =
          threadIdx.x == 0 && target >= 0 ? widen(args.logits[row * args.cols + target]) : A{0};
      RowSums<T> sums = chip.sums(row);
      sums.reduce(shared[turn]);  // its barrier also stands between the read of the target and all writes
      chip.finish(row, target, sums.top, args.scale / sums.sum, next, next_wanted);
      if (threadIdx.x == 0)
        row_losses[row] = static_cast<double>(log(sums.sum) - (target < 0 ? A{0} : target_logit - sums.top));
    } else {
      chip.clear(row, next, next_wanted);
      if (threadIdx.x == 0) row_losses[row] = 0;
    }
    row = next;
    wanted = next_wanted;
  }
}

}  // namespace

template <class T>
void cross_entropy_fused(const LossArgs<T>& args, double* row_losses, Stream stream) {
  constexpr int kSmallRow = 72 * 1024;  // three such rows share a multiprocessor
  Layers layers;
  layers.packs = static_cast<int>(args.cols / kPack<T>);
  int threads = 32;
  while (threads < 512 && layers.packs > 8 * threads) threads *= 2;
  if (args.cols * static_cast<std::int64_t>(sizeof(T)) > kSmallRow) threads = 1024;
  layers.all = static_cast<int>(ceil_div(layers.packs, threads));

  int device = 0, processors = 0, room = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device),
        "cudaDeviceGetAttribute");
  check(cudaDeviceGetAttribute(&room, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
        "cudaDeviceGetAttribute");
  const int layer_bytes = threads * 16, reserve = 2048;  // reserve: what the kernel declares itself
  layers.shared = std::min(layers.all, (room - reserve) / layer_bytes);
  const std::size_t bytes = static_cast<std::size_t>(layers.shared) * static_cast<std::size_t>(layer_bytes);
  check(cudaFuncSetAttribute(fused_kernel<T>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(bytes)),
        "cudaFuncSetAttribute");
  int resident = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, fused_kernel<T>, threads, bytes),
        "cudaOccupancyMaxActiveBlocksPerMultiprocessor");
  LACUNA_ASSERT(resident > 0);
  const std::int64_t blocks = std::min<std::int64_t>(args.rows, std::int64_t{resident} * processors);
  fused_kernel<T>
      <<<grid_of(blocks), static_cast<unsigned>(threads), bytes, stream>>>(args, layers, row_losses);
  check_launch("cross_entropy");
}

template void cross_entropy_fused<double>(const LossArgs<double>&, double*, Stream);
template void cross_entropy_fused<float>(const LossArgs<float>&, double*, Stream);
template void cross_entropy_fused<Bf16>(const LossArgs<Bf16>&, double*, Stream);

}  // namespace lacuna::cuda
