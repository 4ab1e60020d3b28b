// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Philox4x32-10: random bits as a pure function of a counter and a key. A header without
// dependencies.
//
// Source: Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011),
// section 3.3 and table 2; constants as in the authors' library Random123.
#pragma once

#include <array>
#include <cstdint>

namespace fusegrad::runtime {

using PhiloxCounter = std::array<uint32_t, 4>;
using PhiloxKey = std::array<uint32_t, 2>;

/// Four uniformly distributed 32-bit words; equal arguments give equal words on every machine.
inline PhiloxCounter philox4x32_10(PhiloxCounter counter, PhiloxKey key) {
  constexpr uint64_t multiplier_0 = 0xD2511F53;
  constexpr uint64_t multiplier_1 = 0xCD9E8D57;
  constexpr uint32_t key_step_0 = 0x9E3779B9;  // the golden ratio
  constexpr uint32_t key_step_1 = 0xBB67AE85;  // sqrt(3) - 1
  for (int round = 0; round < 10; ++round) {
    const uint64_t product_0 = multiplier_0 * counter[0];
    const uint64_t product_1 = multiplier_1 * counter[2];
    counter = {static_cast<uint32_t>(product_1 >> 32) ^ counter[1] ^ key[0],
               static_cast<uint32_t>(product_1),
               static_cast<uint32_t>(product_0 >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(product_0)};
    key = {key[0] + key_step_0, key[1] + key_step_1};
  }
  return counter;
}

}  // namespace fusegrad::runtime
