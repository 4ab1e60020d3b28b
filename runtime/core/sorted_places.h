// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The places of a batch's values, sorted by value: what sums over equal values run along.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/core/job_table.h"

namespace fusegrad::runtime {

/// A batch of an integer input: element (b, i) is column[rows[b] * row_elements + i].
struct BatchOfIntegers {
  const std::byte* column = nullptr;
  ElementType element = ElementType::u8;  ///< u8 or i32
  int64_t row_elements = 1;
  std::span<const int32_t> rows;
};

/// Counting sort in time proportional to the places and values. All values lie in 0..N, where
/// `starts` has N + 1 elements: they were checked when the data was loaded. starts[v] becomes the
/// number of values below v; `positions` (one for each place, or more) the numbers b * row_elements
/// + i, sorted by value, equal values in their order.
void sort_places(const BatchOfIntegers& batch, std::span<int32_t> starts,
                 std::span<int32_t> positions);

}  // namespace fusegrad::runtime
