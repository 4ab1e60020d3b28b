// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Counting sort of the integers of a batch.
#include "runtime/core/sorted_places.h"

#include <algorithm>
#include <cstring>

#include "runtime/core/check.h"

namespace fusegrad::runtime {

namespace {

/// Calls visit(value) for every place in order. A column may begin behind a file's header, so it
/// promises no alignment.
template <typename T, typename Visit>
void visit_places(const BatchOfIntegers& batch, const Visit& visit) {
  for (const int32_t row : batch.rows) {
    const std::byte* elements =
        batch.column + row * batch.row_elements * static_cast<int64_t>(sizeof(T));
    for (int64_t i = 0; i < batch.row_elements; ++i) {
      T value = 0;
      std::memcpy(&value, elements + i * static_cast<int64_t>(sizeof(T)), sizeof value);
      visit(static_cast<size_t>(value));
    }
  }
}

template <typename T>
void sort_as(const BatchOfIntegers& batch, std::span<int32_t> starts,
             std::span<int32_t> positions) {
  // starts[v] counts the values v; then it is where the next place with value v goes, and so in the
  // end where those of v + 1 begin.
  std::fill(starts.begin(), starts.end(), 0);
  visit_places<T>(batch, [&](size_t value) { ++starts[value]; });
  int32_t begin = 0;
  for (int32_t& start : starts) {
    const int32_t count = start;
    start = begin;
    begin += count;
  }
  int32_t place = 0;
  visit_places<T>(batch,
                  [&](size_t value) { positions[static_cast<size_t>(starts[value]++)] = place++; });
  std::copy_backward(starts.begin(), starts.end() - 1, starts.end());
  starts[0] = 0;
}

}  // namespace

void sort_places(const BatchOfIntegers& batch, std::span<int32_t> starts,
                 std::span<int32_t> positions) {
  RUNTIME_CHECK(static_cast<int64_t>(batch.rows.size()) * batch.row_elements <=
                    static_cast<int64_t>(positions.size()),
                "{} rows of {} places, room for {}", batch.rows.size(), batch.row_elements,
                positions.size());
  RUNTIME_CHECK(!starts.empty(), "no starts");
  if (batch.element == ElementType::u8) {
    sort_as<uint8_t>(batch, starts, positions);
  } else {
    RUNTIME_CHECK(batch.element == ElementType::i32, "places of {}", element_name(batch.element));
    sort_as<int32_t>(batch, starts, positions);
  }
}

}  // namespace fusegrad::runtime
