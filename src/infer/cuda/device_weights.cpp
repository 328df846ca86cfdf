#include "src/infer/cuda/device_weights.h"

#include <algorithm>
#include <cstring>

#include "kernels/unpack.h"
#include "src/base/error.h"

namespace lacuna {

DeviceWeights::DeviceWeights(DecodeLayout layout)
    : layout_(std::move(layout)),
      memory_(static_cast<std::size_t>(layout_.bytes), "the model's weights on the GPU") {}

cuda::DecodeMatrix DeviceWeights::matrix(const PlacedMatrix& placed) const {
  return {memory_.data() + placed.offset, placed.dtype, placed.rows, placed.cols, placed.stride};
}

cuda::DecodeMatrix DeviceWeights::matrix(const PlacedMatrix& placed, std::int64_t begin,
                                         std::int64_t rows) const {
  LACUNA_ASSERT(begin >= 0 && begin + rows <= placed.rows);
  cuda::DecodeMatrix out = matrix(placed);
  out.data = memory_.data() + placed.offset +
             begin * placed.stride * static_cast<std::int64_t>(size_of(placed.dtype));
  out.rows = rows;
  return out;
}

float* DeviceWeights::floats(std::int64_t offset) const {
  return offset < 0 ? nullptr : memory_.as<float>(static_cast<std::size_t>(offset));
}

cuda::DecodeNorm DeviceWeights::norm(std::int64_t offset) const {
  return {floats(offset), static_cast<float>(config().norm_eps)};
}

namespace {

// Two pieces of pinned memory in turn: one is filled while the other travels.
class Uploader {
 public:
  Uploader() {
    for (Piece& piece : pieces_) {
      piece.memory = PinnedMemory(kBytes);
      LACUNA_CUDA(cudaEventCreateWithFlags(&piece.sent, cudaEventDisableTiming));
    }
  }
  ~Uploader() {
    cudaStreamSynchronize(stream_);
    for (Piece& piece : pieces_) cudaEventDestroy(piece.sent);
  }
  Uploader(const Uploader&) = delete;
  Uploader& operator=(const Uploader&) = delete;

  // turned: rows of `to` are columns of `from`.
  void put(const MatrixView& from, const cuda::DecodeMatrix& to, bool turned = false) {
    LACUNA_ASSERT(turned ? from.rows == to.cols && from.cols == to.rows
                         : from.rows == to.rows && from.cols == to.cols);
    const std::size_t row_bytes = static_cast<std::size_t>(to.cols) * size_of(to.dtype);
    const std::size_t pitch = static_cast<std::size_t>(to.stride) * size_of(to.dtype);
    const auto most = static_cast<std::int64_t>(std::max<std::size_t>(1, kBytes / row_bytes));
    LACUNA_ASSERT(row_bytes <= kBytes);
    for (std::int64_t row = 0; row < to.rows; row += most) {
      const std::int64_t rows = std::min(most, to.rows - row);
      Piece& piece = next();
      if (turned)
        turn(from, row, rows, to.dtype, piece.memory.as<std::byte>());
      else
        for (std::int64_t r = 0; r < rows; ++r)
          convert(from, row + r, to.dtype,
                  piece.memory.as<std::byte>() + static_cast<std::size_t>(r) * row_bytes);
      std::byte* target =
          static_cast<std::byte*>(const_cast<void*>(to.data)) + static_cast<std::size_t>(row) * pitch;
      LACUNA_CUDA(cudaMemcpy2DAsync(target, pitch, piece.memory.as<std::byte>(), row_bytes, row_bytes,
                                    static_cast<std::size_t>(rows), cudaMemcpyHostToDevice, stream_));
      LACUNA_CUDA(cudaEventRecord(piece.sent, stream_));
    }
  }
  // Floats or 32-bit integers as they are.
  template <class T>
  void put(const std::vector<T>& from, T* to) {
    static_assert(sizeof(T) == sizeof(float));
    if (from.empty()) return;
    LACUNA_ASSERT(to != nullptr);
    const auto size = static_cast<std::int64_t>(from.size());
    put(view_of(from, size), cuda::DecodeMatrix{to, DType::F32, 1, size, size});
  }
  // Rows of `cols` values one behind the other.
  template <class T>
  static MatrixView view_of(const std::vector<T>& from, std::int64_t cols) {
    return {reinterpret_cast<const std::byte*>(from.data()), DType::F32,
            static_cast<std::int64_t>(from.size()) / cols, cols, cols};
  }
  void wait() { stream_.wait(); }

 private:
  static constexpr std::size_t kBytes = std::size_t{32} << 20;
  struct Piece {
    PinnedMemory memory;
    cudaEvent_t sent = nullptr;
  };

  Piece& next() {
    Piece& piece = pieces_[turn_ ^= 1];
    LACUNA_CUDA(cudaEventSynchronize(piece.sent));
    return piece;
  }

  void convert(const MatrixView& from, std::int64_t row, DType dtype, std::byte* to) {
    const auto cols = static_cast<std::size_t>(from.cols);
    if (from.dtype == dtype) {
      std::memcpy(to, from.row(row), cols * size_of(dtype));
    } else if (dtype == DType::F32) {
      unpack_row(from, row, reinterpret_cast<float*>(to));
    } else {
      floats_.resize(cols);
      unpack_row(from, row, floats_.data());
      auto* out = reinterpret_cast<std::uint16_t*>(to);
      for (std::size_t i = 0; i < cols; ++i) out[i] = to_bf16(floats_[i]);
    }
  }

  // Columns [column, column + count) of `from` as rows, a few at a time so that writes stay in the cache.
  void turn(const MatrixView& from, std::int64_t column, std::int64_t count, DType dtype, std::byte* to) {
    constexpr std::int64_t kFew = 32;
    floats_.resize(kFew);
    for (std::int64_t first = 0; first < count; first += kFew) {
      const std::int64_t few = std::min(kFew, count - first);
      MatrixView part = from;
      part.data += static_cast<std::size_t>(column + first) * size_of(from.dtype);
      part.cols = few;
      for (std::int64_t r = 0; r < from.rows; ++r) {
        unpack_row(part, r, floats_.data());
        for (std::int64_t i = 0; i < few; ++i) {
          const std::int64_t at = (first + i) * from.rows + r;
          const float value = floats_[static_cast<std::size_t>(i)];
          if (dtype == DType::BF16)
            reinterpret_cast<std::uint16_t*>(to)[at] = to_bf16(value);
          else
            reinterpret_cast<float*>(to)[at] = value;
        }
      }
    }
  }

  OwnedStream stream_;
  Piece pieces_[2];
  unsigned turn_ = 0;
  std::vector<float> floats_;
};

std::vector<float> joined(const std::vector<float>& a, const std::vector<float>& b,
                          const std::vector<float>& c) {
  std::vector<float> out = a;
  out.insert(out.end(), b.begin(), b.end());
  out.insert(out.end(), c.begin(), c.end());
  return out;
}

void put_router(const RouterWeights& from, const DeviceWeights& to, const PlacedRouter& placed,
                Uploader& uploader) {
  const std::int64_t hidden = to.config().hidden;
  std::int64_t row = 0;
  for (const std::vector<float>* part : {&from.weight, &from.gate, &from.up}) {
    if (part->empty()) continue;
    const MatrixView view = Uploader::view_of(*part, hidden);
    uploader.put(view, to.matrix(placed.rows, row, view.rows));
    row += view.rows;
  }
  uploader.put(Uploader::view_of(from.mean, hidden), to.matrix(placed.mean));
  uploader.put(from.bias, to.floats(placed.bias));
  if (placed.scale >= 0) uploader.put(from.scale, to.floats(placed.scale));
  uploader.put(std::vector<std::int32_t>(from.neurons.begin.begin(), from.neurons.begin.end()),
               to.integers(placed.begin));
}

void put_layer(const LayerWeights& from, const DeviceWeights& to, const PlacedLayer& placed, bool turned,
               Uploader& uploader) {
  uploader.put(from.attention_norm, to.floats(placed.attention_norm));
  uploader.put(from.ffn_norm, to.floats(placed.ffn_norm));
  uploader.put(from.query_norm, to.floats(placed.query_norm));
  uploader.put(from.key_norm, to.floats(placed.key_norm));
  uploader.put(joined(from.query_bias, from.key_bias, from.value_bias), to.floats(placed.qkv_bias));
  std::int64_t row = 0;
  for (const MatrixView* part : {&from.query, &from.key, &from.value}) {
    uploader.put(*part, to.matrix(placed.qkv, row, part->rows));
    row += part->rows;
  }
  uploader.put(from.output, to.matrix(placed.output));
  uploader.put(from.gate, to.matrix(placed.gate));
  uploader.put(from.up, to.matrix(placed.up));
  uploader.put(from.down, to.matrix(placed.down), turned);
  if (to.config().is_routed()) put_router(from.router, to, placed.router, uploader);
}

bool all_zero(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float value) { return value == 0; });
}

}  // namespace

DeviceWeights upload_weights(const Weights& weights, DType dtype) {
  DecodeLayout layout = decode_layout(weights.config(), dtype, weights.neuron_major());
  for (std::size_t layer = 0; layer < layout.layers.size(); ++layer)  // then no softmax is needed
    if (all_zero(weights.layers()[layer].router.scale)) layout.layers[layer].router.scale = -1;
  const bool turned = layout.neuron_major && !weights.neuron_major();
  DeviceWeights out(std::move(layout));
  Uploader uploader;
  uploader.put(weights.embedding(), out.matrix(out.layout().embedding));
  if (!weights.config().tied_embeddings) uploader.put(weights.head(), out.matrix(out.layout().head));
  uploader.put(weights.final_norm(), out.floats(out.layout().final_norm));
  for (std::size_t layer = 0; layer < weights.layers().size(); ++layer)
    put_layer(weights.layers()[layer], out, out.layout().layers[layer], turned, uploader);
  uploader.wait();
  return out;
}

}  // namespace lacuna
