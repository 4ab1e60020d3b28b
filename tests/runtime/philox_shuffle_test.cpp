// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The random words against the published vectors; the row order is a permutation, fixed and fair.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <vector>

#include "runtime/core/philox.h"
#include "runtime/core/shuffle.h"

namespace fusegrad::runtime {
namespace {

// Random123 1.09, tests/kat_vectors, lines "philox4x32 10".
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox4x32_10({0, 0, 0, 0}, {0, 0}),
            (PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr uint32_t ones = 0xffffffff;
  EXPECT_EQ(philox4x32_10({ones, ones, ones, ones}, {ones, ones}),
            (PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(
      philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
      (PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

std::vector<int32_t> rows_of(int64_t seed, int64_t epoch, size_t size) {
  std::vector<int32_t> rows(size, -1);
  shuffled_rows(seed, epoch, rows);
  return rows;
}

TEST(Shuffle, IsAPermutation) {
  for (const size_t size : {0, 1, 2, 3, 100, 60000}) {
    std::vector<int32_t> rows = rows_of(7, 3, size);
    std::sort(rows.begin(), rows.end());
    std::vector<int32_t> expected(size);
    std::iota(expected.begin(), expected.end(), 0);
    EXPECT_EQ(rows, expected);
  }
}

TEST(Shuffle, DependsOnSeedAndEpochAlone) {
  const std::vector<int32_t> rows = rows_of(1, 1, 1000);
  EXPECT_EQ(rows, rows_of(1, 1, 1000));
  EXPECT_NE(rows, rows_of(2, 1, 1000));
  EXPECT_NE(rows, rows_of(1, 2, 1000));
  EXPECT_NE(rows, rows_of(1 + (int64_t{1} << 32), 1, 1000));
  EXPECT_NE(rows, rows_of(1, 1 + (int64_t{1} << 32), 1000));
  EXPECT_NE(rows, rows_of(-1, 1, 1000));
}

// From a model in another language, written from the papers; it must never change, or resumed runs
// and published figures would.
TEST(Shuffle, OrderIsFixedForEver) {
  EXPECT_EQ(rows_of(0, 1, 10), (std::vector<int32_t>{6, 5, 0, 3, 2, 1, 4, 7, 9, 8}));
  EXPECT_EQ(rows_of(42, 5, 10), (std::vector<int32_t>{6, 2, 4, 1, 9, 5, 8, 7, 3, 0}));
}

TEST(Shuffle, EveryOrderOfFourIsEquallyLikely) {
  std::map<std::vector<int32_t>, int> counts;
  constexpr int draws = 24000;
  for (int seed = 0; seed < draws; ++seed) ++counts[rows_of(seed, 1, 4)];
  ASSERT_EQ(counts.size(), 24U);
  double chi_squared = 0;
  for (const auto& [order, count] : counts) {
    chi_squared += (count - 1000.0) * (count - 1000.0) / 1000.0;
  }
  EXPECT_LT(chi_squared, 49.7);  // 23 degrees of freedom, p = 0.001; the seeds are fixed
}

}  // namespace
}  // namespace fusegrad::runtime
