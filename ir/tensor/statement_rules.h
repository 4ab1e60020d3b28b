// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rules about one statement that T and K share.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/range_analysis.h"
#include "ir/tensor/program.h"
#include "ir/tensor/statement_text.h"

namespace fusegrad::ir {

/// Something that can be read where the statement stands.
struct ReadableTensor {
  ScalarType type = ScalarType::f32;
  Shape shape;
  ValueRange values;  ///< of an integer tensor
};

/// What is known around a statement.
struct StatementContext {
  int64_t batch = 1;
  /// Null when there is nothing of that name. The pointer must stay valid during the check.
  std::function<const ReadableTensor*(std::string_view)> find;
};

/// Checks `right_side` of a statement whose elements have `type`; `indices` are all indices in
/// scope besides the binders. Covers rules 2 to 6 of ir/tensor/verify.h. Appends to `mistakes`.
void check_right_side(const RightSide& right_side, ScalarType type,
                      const std::vector<IndexRange>& indices, const StatementContext& context,
                      std::vector<std::string>& mistakes);

/// Values that the elements of an integer statement can take.
ValueRange values_of_statement(const RightSide& right_side, ScalarType type,
                               const std::vector<IndexRange>& indices,
                               const StatementContext& context);

/// Values of a tensor with that declared range.
ValueRange values_of_declared(ScalarType type, const std::optional<IntegerRange>& range);

/// Distinct names that are valid and no uniforms; ranges that begin before they end.
/// `begin_at_zero` for left indices.
void check_ranges(const std::vector<IndexRange>& ranges, bool begin_at_zero, int64_t batch,
                  std::vector<std::string>& mistakes);

/// Sizes are positive and those over rows agree with the batch.
void check_shape(const Shape& shape, int64_t batch, std::string_view name,
                 std::vector<std::string>& mistakes);

/// A valid name that is no uniform.
void check_name(std::string_view name, std::vector<std::string>& mistakes);

}  // namespace fusegrad::ir
