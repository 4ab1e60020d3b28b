// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Brings the numbers of a table to a common scale.
#pragma once

#include <optional>
#include <vector>

#include "runtime/core/column.h"

namespace fusegrad::runtime {

/// Mean and standard deviation (of n values) of each number of a record over all records. A
/// deviation of 0 is given as 1, so that a constant becomes 0.
struct Statistics {
  std::vector<double> means;
  std::vector<double> deviations;
};

/// Of a column of f32 or f64; sums are taken in f64 in the order of the records. Nothing when they
/// are not finite.
std::optional<Statistics> measure(const Column& column);

/// Replaces each number by (number - mean) / deviation. The statistics are those of a column with
/// the same shape of a record.
void standardise(Column& column, const Statistics& statistics);

}  // namespace fusegrad::runtime
