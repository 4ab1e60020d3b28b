// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The meaning of T, executed: plain loops over every element of every statement.
//
// A statement's elements are computed in row-major order. A reduction visits its points in
// row-major order of the binders and accumulates one after the other, in the precision of the
// statement's type: sum from 0; max from -inf by max(accumulator, value), which propagates NaN;
// argmax keeps the first position with the largest value, where the first NaN counts as the
// largest. Integer max and min of nothing are the smallest and largest number of the statement's
// type.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ir/scalar_evaluate.h"
#include "ir/tensor/program.h"

namespace fusegrad::ir {

/// Tensors by name.
using TensorValues = std::map<std::string, TensorValue, std::less<>>;

/// Runs `program` (verified). `given` holds all declared tensors; inputs have uniforms.rows rows,
/// at least 1 and at most the batch, and values within their declared range. Returns them, with
/// updates applied, and the tensors of all statements. Anything that does not fit is our bug.
TensorValues evaluate(const TensorProgram& program, const TensorValues& given,
                      const Uniforms& uniforms, Precision precision);

/// A tensor that exists before the program runs.
struct GivenTensor {
  std::string name;
  ScalarType type = ScalarType::f32;
  Shape shape;
  std::optional<IntegerRange> range;
};

/// The value that `given` has for it, rounded to its type. That there is one, of that type, shape
/// and range, is checked here; everything behind trusts it.
TensorValue given_value(const GivenTensor& wanted, const TensorValues& given, int64_t rows,
                        Precision precision);

/// Sizes of `shape` for that many rows.
std::vector<int64_t> sizes_at(const Shape& shape, int64_t rows);

}  // namespace fusegrad::ir
