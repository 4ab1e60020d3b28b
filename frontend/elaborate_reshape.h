// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A tensor seen with other sizes: where the element at some place stood before.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "ir/expr.h"
#include "ir/types.h"

namespace fusegrad::frontend {

/// The indices into a tensor of shape `from` of the element that stands at `indices` in the same
/// row-major order of elements with shape `to`. Both shapes have equally many elements for every
/// number of rows. Sizes that stay as they are keep their index; only what lies between is taken
/// apart by `//` and `%`. Nothing if the number of rows would be a divisor or a stride (the batch
/// does not lead): [4, B] to [B, 4].
std::optional<std::vector<ir::ExprRef>> reshaped_indices(const ir::Shape& from, const ir::Shape& to,
                                                         const std::vector<ir::ExprRef>& indices,
                                                         int64_t batch);

}  // namespace fusegrad::frontend
