// Arrays in device memory that tests fill and read as doubles, with NaN where nothing was written and guards
// behind the end; and the rounding units that bounds are made of.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/cuda/launch.h"
#include "src/base/dtype.h"
#include "src/base/rng.h"

namespace lacuna::cuda::test {

using Values = std::vector<double>;

inline constexpr DType kFloatTypes[] = {DType::F64, DType::F32, DType::BF16};

inline DType accumulation(DType dtype) {
  return dtype == DType::F64 ? DType::F64 : DType::F32;
}
// Rounding unit of the arithmetic, and of what is stored.
inline double unit(DType dtype) {
  return dtype == DType::F64 ? 0x1p-53 : 0x1p-24;
}
inline double stored_unit(DType dtype) {
  return dtype == DType::BF16 ? 0x1p-8 : unit(dtype);
}
// Below this, numbers lose digits or vanish: results that underflow are off by about as much.
inline double tiny(DType dtype) {
  return dtype == DType::F64 ? 0x1p-1021 : 0x1p-125;
}

inline double rounded(DType dtype, double x) {
  if (dtype == DType::F64) return x;
  const float single = static_cast<float>(x);
  return dtype == DType::BF16 ? from_bf16(to_bf16(single)) : single;
}
inline Values rounded(DType dtype, Values values) {
  for (double& x : values) x = rounded(dtype, x);
  return values;
}

// `count` normal numbers of stream `name`, rounded to dtype.
inline Values normals(DType dtype, const std::string& name, std::int64_t count, double deviation = 1) {
  Values out;
  out.reserve(static_cast<std::size_t>(count));
  const std::uint64_t key = rng_key(11, name.c_str());
  for (std::int64_t i = 0; i < count; ++i)
    out.push_back(rounded(dtype, deviation * rng_normal(key, static_cast<std::uint64_t>(i))));
  return out;
}

// Not copied: owns device memory. Bytes start as 0xff: NaN in every floating type, -1 in integers.
class DeviceArray {
 public:
  DeviceArray(DType dtype, std::int64_t count)
      : dtype_(dtype), count_(count), bytes_(static_cast<std::size_t>(count) * size_of(dtype)) {
    check(cudaMalloc(&data_, bytes_ + kGuard), "cudaMalloc");
    check(cudaMemset(data_, 0xff, bytes_ + kGuard), "cudaMemset");
  }
  DeviceArray(DType dtype, const Values& values)
      : DeviceArray(dtype, static_cast<std::int64_t>(values.size())) {
    set(values);
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  ~DeviceArray() { cudaFree(data_); }

  void* data() const { return data_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  void* at(std::int64_t index) const {
    return static_cast<std::byte*>(data_) + static_cast<std::size_t>(index) * size_of(dtype_);
  }
  std::int64_t count() const { return count_; }

  void set(const Values& values) {
    std::vector<std::byte> host(bytes_);
    for (std::size_t i = 0; i < values.size(); ++i) put(host.data(), i, values[i]);
    check(cudaMemcpy(data_, host.data(), bytes_, cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  std::vector<std::byte> bytes() const {
    std::vector<std::byte> host(bytes_);
    check(cudaMemcpy(host.data(), data_, bytes_, cudaMemcpyDeviceToHost), "cudaMemcpy");
    return host;
  }
  Values get() const {
    const std::vector<std::byte> host = bytes();
    Values out;
    out.reserve(static_cast<std::size_t>(count_));
    for (std::size_t i = 0; i < static_cast<std::size_t>(count_); ++i) out.push_back(value(host.data(), i));
    return out;
  }
  // Whether the bytes behind the end are untouched.
  bool intact() const {
    std::vector<unsigned char> guard(kGuard);
    check(cudaMemcpy(guard.data(), static_cast<std::byte*>(data_) + bytes_, kGuard, cudaMemcpyDeviceToHost),
          "cudaMemcpy");
    for (unsigned char byte : guard)
      if (byte != 0xff) return false;
    return true;
  }

 private:
  static constexpr std::size_t kGuard = 512;

  void put(std::byte* host, std::size_t index, double x) const {
    std::byte* at = host + index * size_of(dtype_);
    const float single = static_cast<float>(x);
    const std::uint16_t brain = to_bf16(single);
    const auto whole = static_cast<std::int32_t>(dtype_ == DType::I32 ? x : 0);
    const auto large = static_cast<std::int64_t>(dtype_ == DType::I64 ? x : 0);
    const void* from = &x;
    if (dtype_ == DType::F32) from = &single;
    if (dtype_ == DType::BF16) from = &brain;
    if (dtype_ == DType::I32) from = &whole;
    if (dtype_ == DType::I64) from = &large;
    std::memcpy(at, from, size_of(dtype_));
  }
  double value(const std::byte* host, std::size_t index) const {
    if (dtype_ == DType::I32 || dtype_ == DType::I64) {
      std::int64_t large = 0;
      std::int32_t whole = 0;
      std::memcpy(dtype_ == DType::I64 ? static_cast<void*>(&large) : &whole, host + index * size_of(dtype_),
                  size_of(dtype_));
      return dtype_ == DType::I64 ? static_cast<double>(large) : whole;
    }
    return load_as_double(host, dtype_, index);
  }

  DType dtype_;
  std::int64_t count_;
  std::size_t bytes_;
  void* data_ = nullptr;
};

// Any plain structs or index lists in device memory.
template <class T>
class DeviceList {
 public:
  explicit DeviceList(const std::vector<T>& items) : size_(items.size()) {
    check(cudaMalloc(&data_, items.size() * sizeof(T) + 16), "cudaMalloc");
    check(cudaMemcpy(data_, items.data(), items.size() * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  DeviceList(const DeviceList&) = delete;
  DeviceList& operator=(const DeviceList&) = delete;
  ~DeviceList() { cudaFree(data_); }
  T* data() const { return static_cast<T*>(data_); }
  std::vector<T> get() const {
    std::vector<T> items(size_);
    check(cudaMemcpy(items.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost), "cudaMemcpy");
    return items;
  }

 private:
  std::size_t size_;
  void* data_ = nullptr;
};

// Workspace of exactly so many bytes, full of NaN.
class Workspace : public DeviceArray {
 public:
  explicit Workspace(std::size_t bytes) : DeviceArray(DType::U8, static_cast<std::int64_t>(bytes)) {}
};

// Waits for the launches so far; a failure inside a kernel shows here.
inline void finish() {
  check(cudaDeviceSynchronize(), "kernels under test");
}

// |got[i] - want[i]| <= bound(i), and never NaN where a number is wanted.
template <class Bound>
void expect_close(const Values& got, const Values& want, Bound&& bound, const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i)
    ASSERT_LE(std::abs(got[i] - want[i]), bound(i))
        << what << " at " << i << ": " << got[i] << ", wanted " << want[i];
}

inline std::string label(DType dtype, std::int64_t rows, std::int64_t cols) {
  return std::string(name_of(dtype)) + " [" + std::to_string(rows) + ", " + std::to_string(cols) + "]";
}

}  // namespace lacuna::cuda::test
