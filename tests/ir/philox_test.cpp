// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Philox against the published known answers, and the two distributions made from it.
#include "ir/philox.h"

#include <gtest/gtest.h>

#include <cmath>

namespace fusegrad::ir {
namespace {

// The file kat_vectors of Random123: philox4x32 10.
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox4x32_10({0, 0, 0, 0}, {0, 0}),
            (PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(
      philox4x32_10({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
      (PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(
      philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
      (PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, EveryWordOfTheCounterAndTheKeyMatters) {
  const PhiloxBlock block = random_block(1, 2, 3, 4);
  EXPECT_EQ(block, philox4x32_10({4, 0, 2, 3}, {1, 0}));
  EXPECT_EQ(random_block((INT64_C(7) << 32) + 1, 2, 3, (INT64_C(9) << 32) + 4),
            philox4x32_10({4, 9, 2, 3}, {1, 7}));
  EXPECT_NE(random_block(1, 2, 3, 5), block);
  EXPECT_NE(random_block(1, 2, 4, 4), block);
  EXPECT_NE(random_block(1, 3, 3, 4), block);
  EXPECT_NE(random_block(2, 2, 3, 4), block);
}

TEST(Philox, NumbersFromBits) {
  EXPECT_EQ(uniform_number({0, 0, 0, 0}), 0.0);
  EXPECT_EQ(uniform_number({0xffffffff, 0, 0, 0}), 1.0 - 0x1p-24);
  EXPECT_EQ(uniform_number({0x80000000, 0, 0, 0}), 0.5);
  EXPECT_EQ(normal_number({0xffffffff, 0, 0, 0}), 0.0);  // u = 1
  EXPECT_DOUBLE_EQ(normal_number({0, 0, 0, 0}), std::sqrt(48.0 * std::log(2.0)));
  EXPECT_DOUBLE_EQ(normal_number({0, 0x80000000, 0, 0}), -std::sqrt(48.0 * std::log(2.0)));
}

// Means and variances of 100,000 draws, within four standard errors.
TEST(Philox, Moments) {
  constexpr int count = 100000;
  double uniform_sum = 0, normal_sum = 0, normal_squares = 0;
  for (int i = 0; i < count; ++i) {
    uniform_sum += uniform_number(random_block(5, 1, 17, i));
    const double normal = normal_number(random_block(5, 1, 18, i));
    normal_sum += normal;
    normal_squares += normal * normal;
  }
  const double error = 4.0 / std::sqrt(count);
  EXPECT_NEAR(uniform_sum / count, 0.5, error * std::sqrt(1.0 / 12.0));
  EXPECT_NEAR(normal_sum / count, 0.0, error);
  EXPECT_NEAR(normal_squares / count, 1.0, error * std::sqrt(2.0));
}

}  // namespace
}  // namespace fusegrad::ir
