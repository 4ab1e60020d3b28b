// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sizes, positions and task counts of the job table against direct enumeration.
#include "runtime/core/job_table.h"

#include <gtest/gtest.h>

#include <set>

namespace fusegrad::runtime {
namespace {

TEST(JobTable, ElementSizesAndNames) {
  EXPECT_EQ(element_size(ElementType::boolean), 1);
  EXPECT_EQ(element_size(ElementType::u8), 1);
  EXPECT_EQ(element_size(ElementType::i32), 4);
  EXPECT_EQ(element_size(ElementType::f32), 4);
  EXPECT_EQ(element_size(ElementType::f64), 8);
  EXPECT_STREQ(element_name(ElementType::boolean), "bool");
  EXPECT_STREQ(element_name(ElementType::f32), "f32");
}

Layout layout(std::vector<int64_t> shape, int dimension = -1, int64_t block = 0) {
  Layout result;
  result.shape = std::move(shape);
  result.blocked_dimension = dimension;
  result.block = block;
  return result;
}

TEST(Layout, NaturalIsRowMajor) {
  const Layout natural = layout({2, 3, 4});
  EXPECT_EQ(natural.physical_elements(), 24);
  for (int64_t i = 0; i < 24; ++i) EXPECT_EQ(natural.physical_position(i), i);
  EXPECT_EQ(layout({}).physical_elements(), 1);
  EXPECT_EQ(layout({}).physical_position(0), 0);
  EXPECT_EQ(layout({5, 0}).physical_elements(), 0);
}

TEST(Layout, PackedWeightOfDense) {
  // w[784, 10] with the first dimension in blocks of 8 lies as [98][10][8].
  const Layout packed = layout({784, 10}, 0, 8);
  EXPECT_EQ(packed.physical_elements(), 98 * 10 * 8);
  EXPECT_EQ(packed.physical_position(0), 0);
  EXPECT_EQ(packed.physical_position(1), 8);        // w[0, 1]
  EXPECT_EQ(packed.physical_position(10), 1);       // w[1, 0]
  EXPECT_EQ(packed.physical_position(8 * 10), 80);  // w[8, 0]
  EXPECT_EQ(packed.physical_position(9 * 10 + 3), 80 + 3 * 8 + 1);
}

TEST(Layout, PackedPositionsAreTheDefinition) {
  // Against the header's words: split d into d / block and d % block, the latter innermost.
  const std::vector<int64_t> shape = {3, 5, 4};
  for (int blocked = 0; blocked < 3; ++blocked) {
    for (const int64_t block : {1, 2, 3, 4, 8}) {
      const Layout packed = layout(shape, blocked, block);
      std::vector<int64_t> outer = shape;
      outer[blocked] = (shape[blocked] + block - 1) / block;
      EXPECT_EQ(packed.physical_elements(), outer[0] * outer[1] * outer[2] * block);
      std::set<int64_t> seen;
      int64_t natural = 0;
      for (int64_t i = 0; i < shape[0]; ++i) {
        for (int64_t j = 0; j < shape[1]; ++j) {
          for (int64_t k = 0; k < shape[2]; ++k, ++natural) {
            std::vector<int64_t> index = {i, j, k};
            const int64_t lane = index[blocked] % block;
            index[blocked] /= block;
            const int64_t expected =
                ((index[0] * outer[1] + index[1]) * outer[2] + index[2]) * block + lane;
            const int64_t found = packed.physical_position(natural);
            EXPECT_EQ(found, expected);
            EXPECT_LT(found, packed.physical_elements());
            EXPECT_TRUE(seen.insert(found).second);
          }
        }
      }
    }
  }
}

TEST(KernelEntry, TaskCountFollowsTheRows) {
  KernelEntry kernel;
  EXPECT_EQ(kernel.task_count(128), 1);
  kernel.tasks = {{{128, 1}, 8}};
  EXPECT_EQ(kernel.task_count(128), 16);
  EXPECT_EQ(kernel.task_count(96), 12);
  EXPECT_EQ(kernel.task_count(97), 13);
  EXPECT_EQ(kernel.task_count(1), 1);
  EXPECT_EQ(kernel.task_count(0), 0);
  kernel.tasks = {{{128 * 12, 12}, 100}, {{784, 0}, 16}};
  EXPECT_EQ(kernel.task_count(128), 16 * 49);
  EXPECT_EQ(kernel.task_count(3), 1 * 49);
}

TEST(JobTableDeathTest, SizesThatOverflowAreOurBug) {
  EXPECT_EXIT(layout({int64_t{1} << 40, int64_t{1} << 40}).physical_elements(),
              testing::ExitedWithCode(70), "internal error");
}

}  // namespace
}  // namespace fusegrad::runtime
