// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How often a test repeats itself.
#pragma once

namespace fusegrad::test {

/// `count`, or a tenth of it where a sanitizer makes every step many times slower.
constexpr int repeats(int count) {
#if defined(FUSEGRAD_SANITIZED)
  return count / 10;
#else
  return count;
#endif
}

}  // namespace fusegrad::test
