// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sorting the places of a batch, against the definition.
#include "runtime/core/sorted_places.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

namespace fusegrad::runtime {
namespace {

/// `bound`: values are below it; starts has `values` + 1 elements.
template <typename T>
void check(int64_t samples, int64_t row_elements, int64_t values, int64_t bound,
           const std::vector<int32_t>& rows) {
  std::vector<T> column(static_cast<size_t>(samples * row_elements));
  uint32_t state = 3;
  for (T& value : column) {
    state = state * 1664525U + 1013904223U;
    value = static_cast<T>((state >> 8) % static_cast<uint32_t>(bound));
  }
  std::vector<std::byte> bytes(column.size() * sizeof(T) + 1);  // a column may begin anywhere
  std::memcpy(bytes.data() + 1, column.data(), column.size() * sizeof(T));
  std::vector<T> batch;
  for (const int32_t row : rows) {
    for (int64_t i = 0; i < row_elements; ++i) {
      batch.push_back(column[static_cast<size_t>(row * row_elements + i)]);
    }
  }
  std::vector<int32_t> expected(batch.size());
  std::iota(expected.begin(), expected.end(), 0);
  std::stable_sort(expected.begin(), expected.end(), [&](int32_t a, int32_t b) {
    return batch[static_cast<size_t>(a)] < batch[static_cast<size_t>(b)];
  });
  std::vector<int32_t> starts(static_cast<size_t>(values + 1), -1);
  std::vector<int32_t> positions(batch.size() + 2, -1);
  BatchOfIntegers of;
  of.column = bytes.data() + 1;
  of.element = sizeof(T) == 1 ? ElementType::u8 : ElementType::i32;
  of.row_elements = row_elements;
  of.rows = rows;
  sort_places(of, starts, positions);
  for (int64_t v = 0; v <= values; ++v) {
    const auto below = std::count_if(batch.begin(), batch.end(),
                                     [&](T value) { return static_cast<int64_t>(value) < v; });
    EXPECT_EQ(starts[static_cast<size_t>(v)], below) << v;
  }
  expected.push_back(-1);  // a short batch leaves the rest alone
  expected.push_back(-1);
  EXPECT_EQ(positions, expected);
}

TEST(SortedPlaces, AreTheDefinition) {
  check<int32_t>(9, 4, 11, 11, {3, 1, 8, 0});
  check<uint8_t>(9, 4, 11, 11, {3, 1, 8, 0, 5});
  check<int32_t>(40, 16, 5000, 5000, {7, 39, 0});  // most values never occur
  check<int32_t>(4, 3, 6, 1, {2, 0, 1});           // all equal
  check<uint8_t>(4, 1, 1, 1, {3});                 // one value, one place
  check<uint8_t>(300, 1, 256, 256, {255, 12, 299, 12});
}

}  // namespace
}  // namespace fusegrad::runtime
