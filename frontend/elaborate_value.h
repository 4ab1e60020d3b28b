// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What an expression of the language means while it is elaborated, and the arithmetic on it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "frontend/ast.h"
#include "ir/expr.h"
#include "ir/types.h"

namespace fusegrad::frontend {

enum class ValueKind : uint8_t {
  error,    ///< something went wrong and was reported; whatever uses it stays silent
  boolean,  ///< known at compile time: `boolean`
  integer,  ///< known at compile time: a number, or a multiple of the rows of the batch: `integer`
  real,     ///< known at compile time: `real`
  element,  ///< known at run time: `expression`, one element of a tensor of shape `shape`
};

/// A scalar, or a whole tensor given by the rule for its elements. Rules of tensors of rank r are
/// written over the indices whole_index(0) ... whole_index(r - 1); two of equal shape are combined
/// by combining the rules. Literals and sizes have no type of their own: they take their
/// neighbour's.
struct Value {
  ValueKind kind = ValueKind::error;
  bool boolean = false;
  ir::Extent integer;  ///< `maximum` may be 0 or negative
  double real = 0;
  ir::ExprRef expression;
  /// An element of type i64 that is made of sizes and literals only (`rows - 1`), so that it
  /// becomes real where a real is wanted.
  bool is_flexible = false;
  ir::Shape shape;

  static Value of_boolean(bool value);
  static Value of_integer(ir::Extent value);
  static Value of_number(int64_t value) { return of_integer(ir::Extent::number(value)); }
  static Value of_real(double value);
  static Value of_element(ir::ExprRef expression, ir::Shape shape = {}, bool is_flexible = false);

  bool is_error() const { return kind == ValueKind::error; }
  /// Known at compile time.
  bool is_constant() const {
    return kind == ValueKind::boolean || kind == ValueKind::integer || kind == ValueKind::real;
  }
  /// An integer that is the same for every number of rows.
  bool is_number() const { return kind == ValueKind::integer && integer.per_row == 0; }
  bool is_boolean() const;
  /// Takes the type of its neighbour: a literal number, a size, or what is made of them.
  bool has_open_type() const {
    return kind == ValueKind::integer || kind == ValueKind::real || is_flexible;
  }
  /// An integer with a type: it never becomes real silently.
  bool is_typed_integer() const;
  bool is_typed_real() const;
};

/// The index that stands for dimension `dimension` in the rule of a whole tensor.
std::string whole_index(size_t dimension);
/// Stands, in rules, for the row-major position of the element that is being defined.
inline constexpr std::string_view position_index = "$position";

/// Compile-time arithmetic on sizes, which are numbers or multiples of the rows of the batch.
enum class SizeMistake : uint8_t {
  none,
  overflow,      ///< beyond 64 bits
  not_multiple,  ///< neither a number nor a multiple of the rows: B + 1, B // 3, B * B
  divisor,       ///< `//` or `%` by a number that is not positive
};
struct SizeResult {
  ir::Extent value;
  SizeMistake mistake = SizeMistake::none;
};
/// add, subtract, multiply, floor_divide, modulo or power of two sizes. `batch`: rows of a full
/// batch. B*28 // 4, B*6 // (B*3), B*5 % (B*2) and B - B are exact; what is not is a mistake.
SizeResult size_arithmetic(ast::BinaryOperator op, ir::Extent a, ir::Extent b, int64_t batch);
/// -1, 0 or 1 for less, equal, greater; nothing if the answer depends on the number of rows.
std::optional<int> compare_sizes(ir::Extent a, ir::Extent b);
/// The size as a model file would write it: 28, B, B * 28.
std::string size_text(ir::Extent size);
/// 128 x 256; "a single number" for rank 0.
std::string shape_text(const ir::Shape& shape);
/// The product of all sizes: a number or a multiple of the rows.
SizeResult element_count(const ir::Shape& shape, int64_t batch);

/// Arithmetic at run time. Makers fold what keeps the text of T readable and never changes a value:
/// constants among integers, `+ 0`, `* 1`, `// 1` and the like, `and`/`or` with true or false.
ir::ExprRef fold_binary(ir::Op op, const ir::ExprRef& a, const ir::ExprRef& b);
ir::ExprRef fold_negate(const ir::ExprRef& a);
ir::ExprRef fold_not(const ir::ExprRef& a);
/// `if condition then a else b` of equal types, with a constant condition taken.
ir::ExprRef fold_select(const ir::ExprRef& condition, const ir::ExprRef& a, const ir::ExprRef& b);

/// The value as an expression of the given type: i64, boolean, f32 or f64. Null if it has another
/// type and must not change it.
ir::ExprRef as_expression(const Value& value, ir::ScalarType type);
/// The size as an expression of type i64.
ir::ExprRef size_expression(ir::Extent size);
bool mentions_random(const ir::ExprRef& e);
bool mentions_rows(const ir::ExprRef& e);
/// The row-major position of the element at `indices` of a tensor of that shape. Strides are those
/// of a full batch, so positions never depend on the number of rows.
ir::ExprRef row_major_position(const std::vector<ir::ExprRef>& indices, const ir::Shape& shape);

}  // namespace fusegrad::frontend
