// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The pieces of text that statements of T and K share: index ranges and right sides.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ir/expr_text.h"
#include "ir/tensor/program.h"
#include "ir/text_reader.h"

namespace fusegrad::ir {

/// `b in 0..rows, i in 0..784`.
std::string range_list_text(const std::vector<IndexRange>& ranges);
std::string range_text(const IndexRange& range);

/// What stands right of `=`: a map's value, or `sum(i in 0..784 where c: value)`.
struct RightSide {
  Reduction reduction = Reduction::none;
  std::vector<IndexRange> binders;
  ExprRef condition;  ///< null: always
  ExprRef value;
};
std::string right_side_text(const RightSide& right_side, const ExprTextOptions& options);

/// Reads `b in 0..rows`; `batch` is the value of rows.
std::optional<IndexRange> parse_range(TextReader& reader, int64_t batch);
/// Reads `a..b` of two integers.
std::optional<IntegerRange> parse_integer_range(TextReader& reader);
/// Reads a right side. `indices` are in scope in addition to the binders; `tensors` resolves all
/// other names.
std::optional<RightSide> parse_right_side(TextReader& reader, int64_t batch,
                                          const std::vector<std::string>& indices,
                                          const NameResolver& tensors,
                                          const ExprTextOptions& options);

/// Reads the line `stage NAME` and returns NAME; reports an error and returns "" if it is none of
/// `expected`.
std::string parse_stage_line(TextReader& reader, const std::vector<std::string_view>& expected);

/// Reads `program NAME batch N [precision f64] {`.
struct ProgramHead {
  std::string name;
  int64_t batch = 1;
  ScalarType real = ScalarType::f32;
};
std::optional<ProgramHead> parse_program_head(TextReader& reader);
std::string program_head_text(const ProgramHead& head);

/// Reads what follows the word `result`: `metric accuracy = acc`, `loss = objective`.
std::optional<TensorResult> parse_result(TextReader& reader);
/// `result metric accuracy = acc`.
std::string result_text(const TensorResult& result);

}  // namespace fusegrad::ir
