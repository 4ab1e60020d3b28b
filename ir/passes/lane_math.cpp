// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Constants, bits, names: what all expansions of functions share.
#include "ir/passes/lane_math.h"

#include <fmt/format.h>

#include <bit>

#include "ir/support/check.h"

namespace fusegrad::ir {

Lanes real(double value, const Lanes& like) {
  return {make_splat(make_real(value, like.type().scalar), like.type().lanes)};
}

Lanes constant_of(ScalarType type, int64_t value, const Lanes& like) {
  return {make_splat(make_integer(value, type), like.type().lanes)};
}

Lanes integer(int64_t value, const Lanes& like) {
  return constant_of(like.type().scalar, value, like);
}

Lanes shift_left(const Lanes& a, int64_t count) {
  return {make_binary(Op::shift_left, a.e, integer(count, a).e)};
}

Lanes shift_right(const Lanes& a, int64_t count) {
  return {make_binary(Op::shift_right, a.e, integer(count, a).e)};
}

ScalarType bits_type(ScalarType real) {
  return real == ScalarType::f32 ? ScalarType::i32 : ScalarType::i64;
}

Lanes bits_of(const Lanes& a) {
  return {make_bit_cast({bits_type(a.type().scalar), a.type().lanes}, a.e)};
}

Lanes real_of_bits(const Lanes& a, ScalarType real) {
  return {make_bit_cast({real, a.type().lanes}, a.e)};
}

Lanes with_sign_of(const Lanes& magnitude, const Lanes& sign) {
  const Lanes bits = bits_of(sign);
  const int64_t sign_bit = magnitude.is_f32() ? INT32_MIN : INT64_MIN;
  return real_of_bits(bit_or(bits_of(magnitude), bit_and(bits, integer(sign_bit, bits))),
                      magnitude.type().scalar);
}

Lanes polynomial(const Lanes& x, std::span<const double> coefficients) {
  FG_CHECK(!coefficients.empty(), "a polynomial without coefficients");
  Lanes sum = real(coefficients.back(), x);
  for (size_t i = coefficients.size() - 1; i-- > 0;) {
    sum = fma(sum, x, real(coefficients[i], x));
  }
  return sum;
}

void LaneWriter::open_block() { scopes_.emplace_back(); }

LoopBlock LaneWriter::close_block() {
  LoopBlock block = std::move(scopes_.back().block);
  scopes_.pop_back();
  return block;
}

std::string LaneWriter::fresh(std::string_view base) {
  std::string candidate(base);
  int& number = last_number_[candidate];
  if (number == 0) number = 1;
  while (!used_.insert(candidate).second) candidate = fmt::format("{}_{}", base, ++number);
  return candidate;
}

bool LaneWriter::may_change(const ExprRef& e) const {
  bool found = false;
  walk(e, [&](const Expr& node) {
    found =
        found || node.op == Op::read || (node.op == Op::variable && changing_.contains(node.name));
  });
  return found;
}

Lanes LaneWriter::name(std::string_view base, const Lanes& value) {
  const Expr& node = *value.e;
  const bool changing = may_change(value.e);
  if (!changing &&
      (node.operands.empty() || (node.op == Op::splat && node.operands[0]->op == Op::constant))) {
    return value;
  }
  if (!changing) {
    for (const Scope& scope : scopes_) {
      auto found = scope.values.find(node.hash());
      if (found == scope.values.end()) continue;
      for (const auto& [known, variable] : found->second) {
        if (same(known, value.e)) return {variable};
      }
    }
  }
  const std::string chosen = fresh(base);
  ExprRef variable = make_variable(chosen, node.type);
  add({LoopLet{chosen, value.e}});
  if (!changing) scopes_.back().values[node.hash()].emplace_back(value.e, variable);
  return {variable};
}

Lanes LaneWriter::variable(std::string_view base, const Lanes& value) {
  const std::string chosen = fresh(base);
  add({LoopVar{chosen, value.e}});
  mark_changing(chosen);
  return {make_variable(chosen, value.type())};
}

void LaneWriter::assign(const Lanes& variable, const Lanes& value) {
  add({LoopAssign{variable.e->name, value.e}});
}

Lanes LaneWriter::any(const Lanes& condition) {
  const int lanes = condition.type().lanes;
  if (lanes == 1) return condition;
  FG_CHECK(std::has_single_bit(static_cast<unsigned>(lanes)), "any of {} lanes", lanes);
  const Lanes count{make_vector_sum(convert_to(ScalarType::i32, condition).e)};
  return less(integer(0, count), count);
}

}  // namespace fusegrad::ir
