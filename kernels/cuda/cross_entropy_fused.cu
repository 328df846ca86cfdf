// The loss of one rank in one pass: a block keeps a row on the chip between its statistics and its gradient.
// While it writes this row's gradient, it fetches the next row and adds up the statistics of what has
// arrived, so that memory is always busy. Every thread copies, reads and overwrites only packs of its own:
// the copies need no barrier. Packs beyond shared memory and registers are read twice.
#include <algorithm>

#include "kernels/cuda/cross_entropy_rows.cuh"

namespace lacuna::cuda {

namespace {

constexpr int kLag = 4;  // layers under way between a fetch and its use

// Pack number layer·threads + thread belongs to `thread`. Layers below `shared` lie in shared memory, the
// next few in registers.
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
// Waits until at most N groups of this thread are under way.
template <int N>
__device__ inline void wait_until_pending() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// What a row's gradient needs. Rows that are not scored get zeros.
template <class A>
struct Finished {
  bool scored;
  std::int64_t row, target;
  A shift, factor;
};

// Held: layers in registers.
template <class T, int Held>
struct RowOnChip {
  using A = Accumulate<T>;
  static constexpr int V = kPack<T>;

  const LossArgs<T>& args;
  const Layers& layers;
  uint4* memory;  // [layers.shared, threads]
  Raw<T> held[Held > 0 ? Held : 1];

  __device__ int pack_of(int layer) const {
    return layer * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
  }
  __device__ bool exists(int layer) const { return pack_of(layer) < layers.packs; }
  __device__ T* address(std::int64_t row, int layer) const {
    return args.logits + row * args.cols + static_cast<std::int64_t>(pack_of(layer)) * V;
  }

  // Writes the gradient of `done`, if there is one, and fetches `next`, if it is wanted; returns this
  // thread's sums of it.
  __device__ RowSums<T> advance(const Finished<A>* done, std::int64_t next, bool wanted) {
    RowSums<T> sums;
    for (int layer = 0; layer < layers.shared; ++layer) {
      if (done && exists(layer)) write(*done, {memory[pack_of(layer)]}, layer);
      if (wanted && exists(layer)) copy_pack(memory + pack_of(layer), address(next, layer));
      end_copy_group();
      if (wanted && layer >= kLag) {
        wait_until_pending<kLag>();
        if (exists(layer - kLag)) add(sums, {memory[pack_of(layer - kLag)]}, layer - kLag);
      }
    }
#pragma unroll
    for (int j = 0; j < Held; ++j) {
      const int layer = layers.shared + j;
      if (!exists(layer)) continue;
      if (done) write(*done, held[j], layer);
      if (wanted) held[j] = load_raw(address(next, layer));
    }
    if (done)
      for (int layer = layers.shared + Held; layer < layers.all; ++layer)
        if (exists(layer)) write(*done, load_raw(address(done->row, layer)), layer);
    if (!wanted) return sums;
    wait_until_pending<0>();
    for (int layer = max(0, layers.shared - kLag); layer < layers.shared; ++layer)
      if (exists(layer)) add(sums, {memory[pack_of(layer)]}, layer);
#pragma unroll
    for (int j = 0; j < Held; ++j)
      if (exists(layers.shared + j)) add(sums, held[j], layers.shared + j);
#pragma unroll 2
    for (int layer = layers.shared + Held; layer < layers.all; ++layer)
      if (exists(layer)) add(sums, load_raw(address(next, layer)), layer);
    return sums;
  }

 private:
  __device__ void add(RowSums<T>& sums, const Raw<T>& raw, int layer) const {
    A v[V];
    unpack<T>(raw, v);
    sums.add(v, pack_of(layer) * V, static_cast<int>(args.valid));
  }
  __device__ void write(const Finished<A>& done, const Raw<T>& raw, int layer) const {
    A v[V] = {};
    if (done.scored) {
      unpack<T>(raw, v);
      softmax_grad<T, V>(args, v, static_cast<std::int64_t>(pack_of(layer)) * V, done.target, done.shift,
                         done.factor);
    }
    store<V>(address(done.row, layer), v);
  }
};

template <class T, int Held, int Threads, int Blocks>
__global__ void __launch_bounds__(Threads, Blocks)
    fused_kernel(LossArgs<T> args, Layers layers, double* row_losses) {
  using A = Accumulate<T>;
  extern __shared__ uint4 memory[];
  __shared__ RowSums<T> shared[2][32];
  RowOnChip<T, Held> chip{args, layers, memory, {}};
  std::int64_t row = blockIdx.x;
  bool scored = args.scored(row);
  RowSums<T> sums = chip.advance(nullptr, row, scored);
  int turn = 0;
  while (row < args.rows) {
    Finished<A> done{scored, row, args.target_column(row), 0, 0};
    if (scored) {
      const A target_logit =
          threadIdx.x == 0 && done.target >= 0 ? widen(args.logits[row * args.cols + done.target]) : A{0};
      sums.reduce(shared[turn]);  // its barrier also stands between the read of the target and all writes
      turn ^= 1;
      done.shift = SoftExp<T>::scaled(sums.top);
      done.factor = args.scale / sums.sum;
      if (threadIdx.x == 0)
        row_losses[row] =
            static_cast<double>(log(sums.sum) - (done.target < 0 ? A{0} : target_logit - sums.top));
    } else if (threadIdx.x == 0) {
      row_losses[row] = 0;
    }
    row += gridDim.x;
    scored = row < args.rows && args.scored(row);
    sums = chip.advance(&done, row, scored);
  }
}

// Starts as many blocks as the device holds at a time.
template <class T, int Held, int Threads, int Blocks>
void start(const LossArgs<T>& args, Layers layers, int threads, int device, double* row_losses,
           Stream stream) {
  const auto kernel = fused_kernel<T, Held, Threads, Blocks>;
  const std::size_t bytes = static_cast<std::size_t>(layers.shared) * static_cast<std::size_t>(threads) * 16;
  allow_shared(reinterpret_cast<const void*>(kernel), bytes, "cross_entropy");
  int resident = 0, processors = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, kernel, threads, bytes),
        "cudaOccupancyMaxActiveBlocksPerMultiprocessor");
  check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device),
        "cudaDeviceGetAttribute");
  LACUNA_ASSERT(resident > 0);
  const std::int64_t blocks = std::min<std::int64_t>(args.rows, std::int64_t{resident} * processors);
  kernel<<<grid_of(blocks), static_cast<unsigned>(threads), bytes, stream>>>(args, layers, row_losses);
  check_launch("cross_entropy");
}

}  // namespace

template <class T>
void cross_entropy_fused(const LossArgs<T>& args, double* row_losses, Stream stream) {
  constexpr int kSmallRow = 72 * 1024;  // three such rows share a multiprocessor of 227 KiB
  LACUNA_ASSERT(args.cols < (std::int64_t{1} << 31));
  Layers layers;
  layers.packs = static_cast<int>(args.cols / kPack<T>);
  const bool small = args.cols * static_cast<std::int64_t>(sizeof(T)) <= kSmallRow;
  int threads = small ? 32 : 1024;
  while (small && threads < 512 && layers.packs > 8 * threads) threads *= 2;
  layers.all = static_cast<int>(ceil_div(layers.packs, threads));
  int device = 0, room = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&room, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
        "cudaDeviceGetAttribute");
  constexpr int kOwn = 2048;  // what the kernel declares itself, at most
  layers.shared = std::min(layers.all, (room - kOwn) / (16 * threads));
  if (small)
    start<T, 0, 512, sizeof(T) == 8 ? 2 : 3>(args, layers, threads, device, row_losses, stream);
  else
    start<T, 2, 1024, 1>(args, layers, threads, device, row_losses, stream);
}

template void cross_entropy_fused<double>(const LossArgs<double>&, double*, Stream);
template void cross_entropy_fused<float>(const LossArgs<float>&, double*, Stream);
template void cross_entropy_fused<Bf16>(const LossArgs<Bf16>&, double*, Stream);

}  // namespace lacuna::cuda
