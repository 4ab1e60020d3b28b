// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The random numbers of the language: pure functions of seed, step, stream and position.
//
// Generator: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2,
// 3; SC 2011), counter = (position low, position high, step low, stream), key = (seed low, seed
// high), all words of 32 bits. rand uses word 0 of the block, normal words 0 and 1.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace fusegrad::ir {

using PhiloxBlock = std::array<uint32_t, 4>;

/// One block of four words.
inline PhiloxBlock philox4x32_10(PhiloxBlock counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t product_0 = uint64_t{0xD2511F53} * counter[0];
    const uint64_t product_1 = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(product_1 >> 32) ^ counter[1] ^ key[0],
               static_cast<uint32_t>(product_1),
               static_cast<uint32_t>(product_0 >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(product_0)};
    key = {key[0] + 0x9E3779B9, key[1] + 0xBB67AE85};
  }
  return counter;
}

/// The block that rand.STREAM(position) and normal.STREAM(position) draw from.
inline PhiloxBlock random_block(int64_t seed, int64_t step, int64_t stream, int64_t position) {
  const auto low = [](int64_t value) { return static_cast<uint32_t>(value); };
  const auto high = [](int64_t value) { return static_cast<uint32_t>(value >> 32); };
  return philox4x32_10({low(position), high(position), low(step), low(stream)},
                       {low(seed), high(seed)});
}

/// Uniform in [0, 1): the upper 24 bits of word 0, times 2^-24. Exact in f32 and f64.
inline double uniform_number(const PhiloxBlock& block) {
  return static_cast<double>(block[0] >> 8) * 0x1p-24;
}

/// Standard normal by Box and Muller (1958): sqrt(-2 log u) * cos(2 pi v) with
/// u = ((word 0 >> 8) + 1) * 2^-24 in (0, 1] and v = (word 1 >> 8) * 2^-24 in [0, 1). Largest
/// magnitude: sqrt(48 log 2), about 5.77.
inline double normal_number(const PhiloxBlock& block) {
  const double u = static_cast<double>((block[0] >> 8) + 1) * 0x1p-24;
  const double v = static_cast<double>(block[1] >> 8) * 0x1p-24;
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
}

}  // namespace fusegrad::ir
