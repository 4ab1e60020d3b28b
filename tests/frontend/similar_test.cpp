// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which name is taken for the one that was meant.
#include "frontend/similar.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace fusegrad::frontend {
namespace {

TEST(Similar, FindsTheNearestWithinAThirdOfTheLetters) {
  std::vector<std::string_view> names = {"logits", "label", "loss", "dense", "dense_2"};
  EXPECT_EQ(most_similar("logit", names), "logits");
  EXPECT_EQ(most_similar("lable", names), "label");  // neighbours swapped
  EXPECT_EQ(most_similar("Dense", names), "dense");
  EXPECT_EQ(most_similar("dense_3", names), "dense_2");
  EXPECT_EQ(most_similar("accuracy", names), "");
  EXPECT_EQ(most_similar("losses", names), "loss");
}

TEST(Similar, ShortNamesDifferInOneLetter) {
  std::vector<std::string_view> names = {"lr", "x"};
  EXPECT_EQ(most_similar("l", names), "lr");
  EXPECT_EQ(most_similar("y", names), "");   // nothing in common with `x`
  EXPECT_EQ(most_similar("lr", names), "");  // itself is no suggestion
}

TEST(Similar, IsBounded) {
  std::vector<std::string_view> names = {"abc"};
  EXPECT_EQ(most_similar(std::string(100000, 'a'), names), "");
  EXPECT_EQ(most_similar("", names), "");
}

}  // namespace
}  // namespace fusegrad::frontend
