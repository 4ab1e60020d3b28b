// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Types and shapes of operands: brought together, or refused with the way to write it.
#include <fmt/format.h>

#include <utility>

#include "frontend/elaborator.h"

namespace fusegrad::frontend {

using ir::ExprRef;
using ir::ScalarType;

void Elaborator::report_integer_for_real(const Operand& operand, std::string message,
                                         const Scope& scope) {
  const std::string text = quote(operand.text->span);
  Complaint complaint("E0401", operand.text->span, std::move(message),
                      named_tensor(operand.value)
                          ? fmt::format("`{}`", tensor_text(operand.value))
                          : fmt::format("this is {}", type_text(operand.value)));
  complaint.note("integers never become reals silently");
  complaint.help(
      fmt::format("write `real({})`; the conversion costs no extra pass over memory", text));
  report(scope, std::move(complaint));
}

bool Elaborator::is_number_operand(const Operand& operand, std::string_view sign,
                                   const Scope& scope) {
  if (operand.value.is_error()) return false;
  if (!operand.value.is_boolean()) return true;
  report(scope, Complaint("E0402", operand.text->span,
                          fmt::format("`{}` needs numbers, not `bool`", sign), "this is `bool`")
                    .help("write `if ... then 1 else 0`"));
  return false;
}

ExprRef Elaborator::real_operand(const Operand& operand, std::string_view sign,
                                 const Scope& scope) {
  if (!is_number_operand(operand, sign, scope)) return nullptr;
  if (operand.value.is_typed_integer()) {
    report_integer_for_real(operand,
                            fmt::format("`{}` needs reals, but `{}` is {}", sign,
                                        quote(operand.text->span), type_text(operand.value)),
                            scope);
    return nullptr;
  }
  if (operand.value.is_typed_real()) return operand.value.expression;
  return as_expression(operand.value, options_.real);
}

ExprRef Elaborator::boolean_operand(const Operand& operand, std::string_view sign,
                                    const Scope& scope) {
  if (operand.value.is_error()) return nullptr;
  if (operand.value.is_boolean()) return as_expression(operand.value, ScalarType::boolean);
  report(
      scope,
      Complaint("E0402", operand.text->span, fmt::format("`{}` needs `bool`, not a number", sign),
                fmt::format("this is {}", type_text(operand.value)))
          .help(fmt::format("write a comparison, such as `{} != 0`", quote(operand.text->span))));
  return nullptr;
}

std::optional<ir::Shape> Elaborator::common_shape(const Operand& a, const Operand& b,
                                                  Span sign_span, const Scope& scope) {
  const ir::Shape& left = a.value.shape;
  const ir::Shape& right = b.value.shape;
  if (left.empty()) return right;
  if (right.empty() || left == right) return left;
  report(scope,
         Complaint("E0301", sign_span,
                   fmt::format("the shapes of `{}` and `{}` differ", quote(a.text->span),
                               quote(b.text->span)),
                   fmt::format("{} against {}", shape_text(left), shape_text(right)))
             .note("there is no implicit broadcasting")
             .help("define the elements one by one, with an index for each dimension of each "
                   "tensor"));
  return std::nullopt;
}

std::optional<Elaborator::Pair> Elaborator::unify(const Operand& a, const Operand& b,
                                                  std::string_view sign, Span sign_span,
                                                  const Scope& scope) {
  if (a.value.is_error() || b.value.is_error()) return std::nullopt;
  std::optional<ir::Shape> shape = common_shape(a, b, sign_span, scope);
  if (!shape) return std::nullopt;
  Pair pair;
  pair.shape = std::move(*shape);
  if (a.value.is_boolean() && b.value.is_boolean()) {
    pair.a = as_expression(a.value, ScalarType::boolean);
    pair.b = as_expression(b.value, ScalarType::boolean);
    return pair;
  }
  if (a.value.is_boolean() || b.value.is_boolean()) {
    const Operand& culprit = a.value.is_boolean() ? a : b;
    const Operand& other = a.value.is_boolean() ? b : a;
    report(scope, Complaint("E0402", culprit.text->span,
                            fmt::format("`{}` of a number and a `bool`", sign), "this is `bool`")
                      .other(other.text->span, fmt::format("this is {}", type_text(other.value))));
    return std::nullopt;
  }
  const bool any_integer = a.value.is_typed_integer() || b.value.is_typed_integer();
  const bool any_real = a.value.kind == ValueKind::real || b.value.kind == ValueKind::real ||
                        a.value.is_typed_real() || b.value.is_typed_real();
  if (any_integer && any_real) {
    const Operand& culprit = a.value.is_typed_integer() ? a : b;
    report_integer_for_real(culprit,
                            fmt::format("`{}` of an integer and a real: `{}` is {}", sign,
                                        quote(culprit.text->span), type_text(culprit.value)),
                            scope);
    return std::nullopt;
  }
  if (any_real) {
    ScalarType type = options_.real;
    if (a.value.is_typed_real()) type = a.value.expression->type.scalar;
    if (b.value.is_typed_real()) {
      const ScalarType other = b.value.expression->type.scalar;
      if (a.value.is_typed_real() && other != type) {
        report(scope,
               Complaint("E0401", sign_span,
                         fmt::format("`{}` of `{}` and `{}`", sign, element_text(type),
                                     element_text(other)),
                         "")
                   .note("types are never changed silently")
                   .help(fmt::format("write `{}({})`", ir::spelling(type), quote(b.text->span))));
        return std::nullopt;
      }
      type = other;
    }
    pair.a = as_expression(a.value, type);
    pair.b = as_expression(b.value, type);
    return pair;
  }
  pair.a = as_expression(a.value, ScalarType::i64);
  pair.b = as_expression(b.value, ScalarType::i64);
  pair.is_flexible = !any_integer;
  return pair;
}

}  // namespace fusegrad::frontend
