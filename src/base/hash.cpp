#include "src/base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <array>
#include <bit>
#include <cstring>
#include <vector>

#include "src/base/error.h"

namespace lacuna {

std::uint64_t hash64(const void* data, std::size_t bytes) { return XXH3_64bits(data, bytes); }

std::string to_hex(std::uint64_t value) { return fmt::format("{:016x}", value); }

FileHash::FileHash() : state_(XXH3_createState()) { XXH3_128bits_reset(static_cast<XXH3_state_t*>(state_)); }
FileHash::~FileHash() { XXH3_freeState(static_cast<XXH3_state_t*>(state_)); }
void FileHash::add(const void* data, std::size_t bytes) {
  XXH3_128bits_update(static_cast<XXH3_state_t*>(state_), data, bytes);
}
std::string FileHash::hex() const {
  const XXH128_hash_t digest = XXH3_128bits_digest(static_cast<XXH3_state_t*>(state_));
  return to_hex(digest.high64) + to_hex(digest.low64);
}

namespace {

// FIPS 180-4.
constexpr std::array<std::uint32_t, 64> kRoundConstants = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

void sha256_block(std::array<std::uint32_t, 8>& state, const unsigned char* block) {
  std::array<std::uint32_t, 64> w;
  for (int i = 0; i < 16; ++i)
    w[i] = (std::uint32_t(block[4 * i]) << 24) | (std::uint32_t(block[4 * i + 1]) << 16) |
           (std::uint32_t(block[4 * i + 2]) << 8) | std::uint32_t(block[4 * i + 3]);
  for (int i = 16; i < 64; ++i) {
    const std::uint32_t a = std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ (w[i - 15] >> 3);
    const std::uint32_t b = std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ (w[i - 2] >> 10);
    w[i] = w[i - 16] + a + w[i - 7] + b;
  }
  auto s = state;
  for (int i = 0; i < 64; ++i) {
    const std::uint32_t e = std::rotr(s[4], 6) ^ std::rotr(s[4], 11) ^ std::rotr(s[4], 25);
    const std::uint32_t choose = (s[4] & s[5]) ^ (~s[4] & s[6]);
    const std::uint32_t t1 = s[7] + e + choose + kRoundConstants[i] + w[i];
    const std::uint32_t a = std::rotr(s[0], 2) ^ std::rotr(s[0], 13) ^ std::rotr(s[0], 22);
    const std::uint32_t majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
    s = {t1 + a + majority, s[0], s[1], s[2], s[3] + t1, s[4], s[5], s[6]};
  }
  for (int i = 0; i < 8; ++i) state[i] += s[i];
}

}  // namespace

std::string sha256_hex(const void* data, std::size_t bytes) {
  std::array<std::uint32_t, 8> state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  const auto* input = static_cast<const unsigned char*>(data);
  std::size_t done = 0;
  for (; done + 64 <= bytes; done += 64) sha256_block(state, input + done);
  std::array<unsigned char, 128> tail{};
  const std::size_t left = bytes - done;
  if (left) std::memcpy(tail.data(), input + done, left);
  tail[left] = 0x80;
  const std::size_t tail_bytes = left + 9 <= 64 ? 64 : 128;
  const std::uint64_t bits = std::uint64_t(bytes) * 8;
  for (int i = 0; i < 8; ++i) tail[tail_bytes - 1 - i] = static_cast<unsigned char>(bits >> (8 * i));
  for (std::size_t at = 0; at < tail_bytes; at += 64) sha256_block(state, tail.data() + at);
  std::string hex;
  for (std::uint32_t word : state) hex += fmt::format("{:08x}", word);
  return hex;
}

namespace {

template <class Bits>
void add_typed(ContentHash& hash, std::uint64_t key, std::uint64_t first, const void* data, std::size_t count) {
  const auto* bytes = static_cast<const std::byte*>(data);
  std::uint64_t low = 0, high = 0;
  for (std::size_t i = 0; i < count; ++i) {
    Bits bits;
    std::memcpy(&bits, bytes + i * sizeof(Bits), sizeof(Bits));
    std::uint64_t z = (key ^ (first + i) * 0x9e3779b97f4a7c15ull) + std::uint64_t(bits) * 0xd6e8feb86659fd93ull;
    z = (z ^ (z >> 32)) * 0xd6e8feb86659fd93ull;
    z = (z ^ (z >> 32)) * 0xbf58476d1ce4e5b9ull;
    low += z ^ (z >> 32);
    high += (z ^ (z >> 29)) * 0x94d049bb133111ebull;
  }
  hash += ContentHash{low, high};
}

}  // namespace

void add_elements(ContentHash& hash, std::string_view name, std::uint64_t first_index, const void* data,
                  std::size_t count, std::size_t element_bytes) {
  const std::uint64_t key = hash64(name.data(), name.size());
  switch (element_bytes) {
    case 1: return add_typed<std::uint8_t>(hash, key, first_index, data, count);
    case 2: return add_typed<std::uint16_t>(hash, key, first_index, data, count);
    case 4: return add_typed<std::uint32_t>(hash, key, first_index, data, count);
    case 8: return add_typed<std::uint64_t>(hash, key, first_index, data, count);
    default: fail(ErrorKind::Internal, "add_elements: elements of {} bytes", element_bytes);
  }
}

}  // namespace lacuna
