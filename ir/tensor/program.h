// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// T, tensor statements: one map or one reduction per tensor, all ranges explicit. The level of
// meaning, differentiation and algebra. Text form: docs/ir.md.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ir/expr.h"
#include "ir/support/source.h"
#include "ir/types.h"

namespace fusegrad::ir {

/// An index and its range [begin, end). Left indices begin at 0.
struct IndexRange {
  std::string name;
  int64_t begin = 0;
  Extent end;
  bool operator==(const IndexRange&) const = default;
};

enum class Reduction : uint8_t { none, sum, max, min, argmax, argmin, any, all };
/// "sum", "max", ...; "" for none.
std::string_view spelling(Reduction reduction);
std::optional<Reduction> parse_reduction(std::string_view text);

enum class TensorKind : uint8_t { input, parameter, state };

/// A tensor that exists before the program runs.
struct TensorDeclaration {
  TensorKind kind = TensorKind::input;
  std::string name;  ///< parameters and states: the instance path, "dense.w"
  ScalarType type = ScalarType::f32;
  Shape shape;
  std::optional<IntegerRange> range;  ///< values of an integer tensor
  std::vector<std::string> tags;      ///< "nodecay", ...
  Span origin;
};

/// Defines every element of one tensor:
///   name[indices]: type = value                                   (reduction none: a map)
///   name[indices]: type = reduction(binders where condition: value)
/// argmax and argmin give the row-major position over the binders (type i32), counted from 0 in
/// each binder's range. An empty reduction gives sum 0, max -inf, min inf, any false, all true,
/// argmax and argmin 0.
struct TensorStatement {
  std::string name;
  std::vector<IndexRange> indices;
  ScalarType type = ScalarType::f32;
  Reduction reduction = Reduction::none;
  std::vector<IndexRange> binders;
  ExprRef condition;  ///< null: always
  ExprRef value;
  Span
      origin;  ///< the model text it came from, for messages and remarks; not part of the text form

  Shape shape() const;
};

/// End of the program: the parameter or state takes the value of the statement's tensor.
struct TensorUpdate {
  std::string target;
  std::string value;
};

/// The last three are parts of metrics: tensors whose elements the host adds up over all batches of
/// a pass (total), or of which it keeps the largest or smallest. The program PROGRAM.metrics has a
/// state of that label to receive them.
enum class TensorResultKind : uint8_t {
  loss,
  metric,
  output,
  gradient,
  total,
  largest,
  smallest,
};
std::string_view spelling(TensorResultKind kind);
/// All kinds, in the order of the enumeration.
inline constexpr TensorResultKind tensor_result_kinds[] = {
    TensorResultKind::loss,     TensorResultKind::metric, TensorResultKind::output,
    TensorResultKind::gradient, TensorResultKind::total,  TensorResultKind::largest,
    TensorResultKind::smallest};

/// What the host reads after the program: `result metric accuracy = NAME`.
struct TensorResult {
  TensorResultKind kind = TensorResultKind::loss;
  std::string label;   ///< metric or output name; a gradient's parameter; "loss"
  std::string tensor;  ///< the statement (or declaration) that holds it
};

/// `program NAME batch B { declarations statements results updates }`. Statements are in an order
/// of definition before use.
struct TensorProgram {
  std::string name;                   ///< init, train, eval
  int64_t batch = 1;                  ///< the largest number of rows
  ScalarType real = ScalarType::f32;  ///< type of real constants and of random numbers
  std::vector<TensorDeclaration> declarations;
  std::vector<TensorStatement> statements;
  std::vector<TensorResult> results;
  std::vector<TensorUpdate> updates;

  const TensorDeclaration* find_declaration(std::string_view tensor) const;
  const TensorStatement* find_statement(std::string_view tensor) const;
  /// Shape and element type of a declared or defined tensor; nothing if there is none.
  std::optional<Shape> shape_of(std::string_view tensor) const;
  std::optional<ScalarType> type_of(std::string_view tensor) const;
  /// `base`, or `base_2`, `base_3`, ...: a name that no declaration and no statement has.
  std::string fresh_name(std::string_view base) const;
};

/// The tensors that results of this kind are computed from, directly or not, and their own.
std::set<std::string> tensors_needed_by(const TensorProgram& program, TensorResultKind kind);

/// `base`, or `base_2`, `base_3`, ...: a name that is not taken. For passes that make many names.
std::string fresh_name(std::string_view base, const std::set<std::string>& taken);

/// All programs of a job, in a fixed order: init, train, eval.
struct TensorModule {
  std::vector<TensorProgram> programs;
  TensorProgram* find(std::string_view name);
  const TensorProgram* find(std::string_view name) const;
};

}  // namespace fusegrad::ir
