// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Text of scalar expressions: one printer and one parser for T, K and L.
//
// The notation is the core form of the language (docs/language.md) with these additions:
//   reals      shortest decimal form that reads back as the same number, always with `.`, `e`,
//   `inf`
//              or `nan`; a type other than that of the program's reals is written: 1.5:f64
//   integers   7; a type other than i64 is written: 7:i32, 7:u8
//   constants  with a minus sign are constants (-1.0); a negation of a constant is -(1.0)
//   reads      t[i, j], t[i, j else 0.0]; of rank 0: t
//   random     rand.3(position), normal.3(position); rand.3.f64(position) for a type that is not
//   the
//              program's real
// and on L (`ExprLevel::loop`):
//   loads      load p[address], load8 p[address] (8 lanes; a scalar or a vector address)
//   vectors    splat8(x), iota8(), lane(v, 3), vector_sum(v), constants like 7:i32x8
//   others     fma(a, b, c), bits.i32x8(x), bit_and(a, b), shift_left(a, n), ...
// Precedence, loosest first: if-then-else; or; and; not; comparisons (which do not chain); + -;
// * / // %; unary minus; ^. Parentheses are printed where they are needed and nowhere else.
//
// parse(print(e)) is structurally `same` as e, except that a NaN keeps its sign only; and
// print(parse(s)) == s for every printed s.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "ir/expr.h"
#include "ir/text_reader.h"

namespace fusegrad::ir {

/// T and K write reads of tensors by index, L writes loads by address.
enum class ExprLevel : uint8_t { tensor, loop };

struct ExprTextOptions {
  ScalarType real = ScalarType::f32;  ///< type of real constants without a suffix: the program's
  ExprLevel level = ExprLevel::tensor;
};

/// The canonical text of `e`.
std::string print_expression(const ExprRef& e, const ExprTextOptions& options);

/// What a name stands for where an expression is parsed.
struct NameMeaning {
  enum class Kind : uint8_t { unknown, index, uniform, variable, tensor };
  Kind kind = Kind::unknown;
  Type type;                            ///< of a variable
  ScalarType stored = ScalarType::f32;  ///< of a tensor or buffer: its elements
  int rank = 0;                         ///< of a tensor (not looked at on L)

  static NameMeaning index() { return {Kind::index, {ScalarType::i64}, ScalarType::i64, 0}; }
  static NameMeaning uniform() { return {Kind::uniform, {ScalarType::i64}, ScalarType::i64, 0}; }
  static NameMeaning variable(Type type) { return {Kind::variable, type, type.scalar, 0}; }
  static NameMeaning tensor(ScalarType stored, int rank) {
    return {Kind::tensor, {}, stored, rank};
  }
};

/// Asked for every name. `indexed` says that `[` follows (or, on L, that it is loaded): then only a
/// tensor is wanted, and an index of the same name must not hide it.
using NameResolver = std::function<NameMeaning(std::string_view name, bool indexed)>;

/// Whether the name is one of the uniforms: rows, step, epoch, steps, seed.
bool is_uniform_name(std::string_view name);

/// Reads one expression. Types are checked; a mistake is reported through `reader` and gives null.
/// Depth is limited by maximum_expression_depth.
ExprRef parse_expression(TextReader& reader, const NameResolver& resolve,
                         const ExprTextOptions& options);

}  // namespace fusegrad::ir
