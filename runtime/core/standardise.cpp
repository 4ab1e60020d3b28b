// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Two passes, since the sum of squares of large numbers close to each other has no digits left.
#include "runtime/core/standardise.h"

#include <cmath>
#include <span>

namespace fusegrad::runtime {

namespace {

template <typename T>
std::span<T> elements_of(Column& column) {
  return {reinterpret_cast<T*>(column.bytes.data()),
          static_cast<size_t>(column.bytes.size()) / sizeof(T)};
}

template <typename T>
std::span<const T> elements_of(const Column& column) {
  return elements_of<T>(const_cast<Column&>(column));
}

template <typename T>
std::optional<Statistics> measure_elements(const Column& column) {
  Statistics statistics;
  if (column.records() == 0) return statistics;
  const std::span<const T> elements = elements_of<T>(column);
  const size_t width = elements.size() / static_cast<size_t>(column.records());
  const auto records = static_cast<double>(column.records());
  statistics.means.assign(width, 0);
  statistics.deviations.assign(width, 0);
  for (size_t i = 0; i < elements.size(); ++i) {
    statistics.means[i % width] += static_cast<double>(elements[i]);
  }
  for (double& mean : statistics.means) mean /= records;
  for (size_t i = 0; i < elements.size(); ++i) {
    const double distance = static_cast<double>(elements[i]) - statistics.means[i % width];
    statistics.deviations[i % width] += distance * distance;
  }
  for (size_t i = 0; i < width; ++i) {
    double& deviation = statistics.deviations[i];
    deviation = std::sqrt(deviation / records);
    if (!std::isfinite(deviation)) return std::nullopt;
    if (deviation == 0) deviation = 1;
  }
  return statistics;
}

template <typename T>
void standardise_elements(Column& column, const Statistics& statistics) {
  const std::span<T> elements = elements_of<T>(column);
  const size_t width = statistics.means.size();
  for (size_t i = 0; i < elements.size(); ++i) {
    elements[i] = static_cast<T>((static_cast<double>(elements[i]) - statistics.means[i % width]) /
                                 statistics.deviations[i % width]);
  }
}

}  // namespace

std::optional<Statistics> measure(const Column& column) {
  const bool is_real = column.element == ElementType::f32 || column.element == ElementType::f64;
  RUNTIME_CHECK(is_real, "statistics of {}", element_name(column.element));
  return column.element == ElementType::f32 ? measure_elements<float>(column)
                                            : measure_elements<double>(column);
}

void standardise(Column& column, const Statistics& statistics) {
  if (column.bytes.size() == 0) return;
  const int64_t width = column.bytes.size() / element_size(column.element) / column.records();
  RUNTIME_CHECK(static_cast<int64_t>(statistics.means.size()) == width, "{} numbers a record, {}",
                statistics.means.size(), type_text(column.element, column.shape));
  if (column.element == ElementType::f32) {
    standardise_elements<float>(column, statistics);
  } else {
    standardise_elements<double>(column, statistics);
  }
}

}  // namespace fusegrad::runtime
