// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Writing formulas on L: values with operators, and the place where statements for them go.
// Internal to expand_functions. A formula holds for scalars and for every number of lanes.
#pragma once

#include <initializer_list>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ir/loop/program.h"

namespace fusegrad::ir {

/// An expression of L that is written with C++ operators. Both operands have one type; integers
/// wrap.
struct Lanes {
  ExprRef e;

  Type type() const { return e->type; }
  bool is_f32() const { return e->type.scalar == ScalarType::f32; }
};

inline Lanes operator+(const Lanes& a, const Lanes& b) { return {make_binary(Op::add, a.e, b.e)}; }
inline Lanes operator-(const Lanes& a, const Lanes& b) {
  return {make_binary(Op::subtract, a.e, b.e)};
}
inline Lanes operator*(const Lanes& a, const Lanes& b) {
  return {make_binary(Op::multiply, a.e, b.e)};
}
inline Lanes operator/(const Lanes& a, const Lanes& b) {
  return {make_binary(Op::divide, a.e, b.e)};
}
inline Lanes operator-(const Lanes& a) { return {make_unary(Op::negate, a.e)}; }

/// Constants with the type and lanes of `like`; the last one with another scalar type.
Lanes real(double value, const Lanes& like);
Lanes integer(int64_t value, const Lanes& like);
Lanes constant_of(ScalarType type, int64_t value, const Lanes& like);

inline Lanes fma(const Lanes& a, const Lanes& b, const Lanes& c) {
  return {make_fma(a.e, b.e, c.e)};
}
inline Lanes minimum(const Lanes& a, const Lanes& b) {
  return {make_binary(Op::minimum, a.e, b.e)};
}
inline Lanes maximum(const Lanes& a, const Lanes& b) {
  return {make_binary(Op::maximum, a.e, b.e)};
}
inline Lanes absolute(const Lanes& a) { return {make_unary(Op::abs, a.e)}; }
inline Lanes floor_of(const Lanes& a) { return {make_unary(Op::floor, a.e)}; }
inline Lanes root(const Lanes& a) { return {make_unary(Op::sqrt, a.e)}; }
inline Lanes less(const Lanes& a, const Lanes& b) { return {make_binary(Op::less, a.e, b.e)}; }
inline Lanes equal(const Lanes& a, const Lanes& b) { return {make_binary(Op::equal, a.e, b.e)}; }
inline Lanes both(const Lanes& a, const Lanes& b) {
  return {make_binary(Op::logical_and, a.e, b.e)};
}
inline Lanes opposite(const Lanes& a) { return {make_unary(Op::logical_not, a.e)}; }
inline Lanes choose(const Lanes& condition, const Lanes& then_value, const Lanes& else_value) {
  return {make_select(condition.e, then_value.e, else_value.e)};
}
inline Lanes convert_to(ScalarType type, const Lanes& a) { return {make_convert(type, a.e)}; }
inline Lanes bit_and(const Lanes& a, const Lanes& b) {
  return {make_binary(Op::bit_and, a.e, b.e)};
}
inline Lanes bit_or(const Lanes& a, const Lanes& b) { return {make_binary(Op::bit_or, a.e, b.e)}; }
inline Lanes bit_xor(const Lanes& a, const Lanes& b) {
  return {make_binary(Op::bit_xor, a.e, b.e)};
}
Lanes shift_left(const Lanes& a, int64_t count);
Lanes shift_right(const Lanes& a, int64_t count);

/// The integer type as wide as a real type: i32 for f32, i64 for f64.
ScalarType bits_type(ScalarType real);
/// The bits of a real as an integer of that width, and back.
Lanes bits_of(const Lanes& a);
Lanes real_of_bits(const Lanes& a, ScalarType real);
/// `magnitude` with the sign of `sign`; the sign of `magnitude` must be plus.
Lanes with_sign_of(const Lanes& magnitude, const Lanes& sign);

/// c0 + x * (c1 + x * (c2 + ...)) by fused multiply-adds, coefficients lowest first.
Lanes polynomial(const Lanes& x, std::span<const double> coefficients);

/// How the expansion of functions sees the place under work: the block that statements are added
/// to, and what is named there already.
class LaneWriter {
 public:
  /// `used` are the names that may not be taken again.
  explicit LaneWriter(std::set<std::string> used) : used_(std::move(used)) {}

  /// Opens a block whose names are seen until it is closed, which hands out its statements.
  void open_block();
  LoopBlock close_block();
  void add(LoopStatement statement) { scopes_.back().block.push_back(std::move(statement)); }
  /// From here on the variable may change: values that mention it are not shared.
  void mark_changing(const std::string& variable) { changing_.insert(variable); }

  /// A name for the value, by a `let` here. A value that was named before and cannot have changed
  /// since gives the old name; names and constants stay as they are.
  Lanes name(std::string_view base, const Lanes& value);
  /// `var` with a first value.
  Lanes variable(std::string_view base, const Lanes& value);
  void assign(const Lanes& variable, const Lanes& value);
  /// A condition over all lanes: true if it holds in any. The number of lanes must be a power of 2.
  Lanes any(const Lanes& condition);

 private:
  struct Scope {
    LoopBlock block;
    /// Named values, by hash.
    std::map<uint64_t, std::vector<std::pair<ExprRef, ExprRef>>> values;
  };

  std::string fresh(std::string_view base);
  bool may_change(const ExprRef& e) const;

  std::set<std::string> used_;
  std::map<std::string, int> last_number_;
  std::set<std::string> changing_;
  std::vector<Scope> scopes_;
};

// The functions. `x` is a value whose evaluation is cheap (a name or a constant); the result is an
// expression over names that `writer` has written. Accuracy: docs/functions.md.

Lanes expand_exp(LaneWriter& writer, const Lanes& x);
Lanes expand_expm1(LaneWriter& writer, const Lanes& x);
Lanes expand_tanh(LaneWriter& writer, const Lanes& x);
Lanes expand_erf(LaneWriter& writer, const Lanes& x);
Lanes expand_log(LaneWriter& writer, const Lanes& x);
Lanes expand_log1p(LaneWriter& writer, const Lanes& x);
Lanes expand_rsqrt(LaneWriter& writer, const Lanes& x);
Lanes expand_sin(LaneWriter& writer, const Lanes& x);
Lanes expand_cos(LaneWriter& writer, const Lanes& x);
/// cos(2 pi turns) for 0 <= turns <= 1.
Lanes expand_cos_of_turns(LaneWriter& writer, const Lanes& turns);
/// `exponent` is an integer or has the type of `base`.
Lanes expand_power(LaneWriter& writer, const Lanes& base, const Lanes& exponent);
/// `position` is i64; the result has type `real` and the lanes of `position`.
Lanes expand_rand(LaneWriter& writer, int64_t stream, const Lanes& position, ScalarType real);
Lanes expand_normal(LaneWriter& writer, int64_t stream, const Lanes& position, ScalarType real);

/// 2^n * p where p = exp(v) / 2^n, for formulas that need the exponential of a moderate number:
/// |v| < 87 for f32, < 700 for f64, and neither NaN nor out of range matters. At most 1 ulp.
Lanes moderate_exp(LaneWriter& writer, const Lanes& v);

}  // namespace fusegrad::ir
