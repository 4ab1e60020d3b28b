// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Why the tensors of a file are not those of a model, as a table for the person who mixed them up.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/core/job_table.h"

namespace fusegrad::runtime {

/// A tensor without its elements.
struct TensorType {
  std::string name;
  ElementType element = ElementType::f32;
  std::vector<int64_t> shape;
};

/// A line for each tensor that is missing, of another type, or not known to the model; for a
/// missing one the found name that is nearest, of those that nothing else wants. At most 24 lines.
/// Nothing if both are the same; with `more_may_be_found` what the model does not know is no
/// difference.
std::optional<std::string> tensor_differences(const std::vector<TensorType>& expected,
                                              const std::vector<TensorType>& found,
                                              bool more_may_be_found = false);

}  // namespace fusegrad::runtime
