// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Typing rules of the scalar operators, as one switch that the compiler keeps complete.
#include "ir/expr_types.h"

#include <fmt/format.h>

namespace fusegrad::ir {
namespace {

bool is_number(Type type) { return type.scalar != ScalarType::boolean; }

/// "" if all operands have the type of the first.
std::string equal_operands(const Expr& node) {
  for (const ExprRef& operand : node.operands) {
    if (!(operand->type == node.operands[0]->type)) {
      return fmt::format("`{}` of {} and {}", spelling(node.op), spelling(node.operands[0]->type),
                         spelling(operand->type));
    }
  }
  return "";
}

std::string wants(const Expr& node, std::string_view what, Type found) {
  return fmt::format("`{}` needs {}, not {}", spelling(node.op), what, spelling(found));
}

std::string operand_mistake(const Expr& node) {
  const auto& operands = node.operands;
  switch (node.op) {
    case Op::constant:
    case Op::index:
    case Op::uniform:
    case Op::variable:
    case Op::iota:
      return "";

    case Op::read:
      for (size_t i = 0; i < node.index_count(); ++i) {
        if (operands[i]->type.scalar != ScalarType::i64) {
          return fmt::format("an index of `{}` is {}, not i64", node.name,
                             spelling(operands[i]->type));
        }
      }
      if (node.has_else && !(node.else_value()->type == node.type)) {
        return fmt::format("`{}` has elements of {} but its else value is {}", node.name,
                           spelling(node.type), spelling(node.else_value()->type));
      }
      return "";

    case Op::negate:
    case Op::abs:
    case Op::add:
    case Op::subtract:
    case Op::multiply:
    case Op::minimum:
    case Op::maximum:
    case Op::vector_sum:
      if (!is_number(operands[0]->type)) return wants(node, "numbers", operands[0]->type);
      return equal_operands(node);

    case Op::divide:
    case Op::exp:
    case Op::log:
    case Op::log1p:
    case Op::expm1:
    case Op::sqrt:
    case Op::rsqrt:
    case Op::tanh:
    case Op::erf:
    case Op::sin:
    case Op::cos:
    case Op::floor:
    case Op::custom:
    case Op::fma:
      if (!is_real(operands[0]->type.scalar)) return wants(node, "reals", operands[0]->type);
      return equal_operands(node);

    case Op::floor_divide:
    case Op::modulo:
      if (!is_integer(operands[0]->type.scalar)) return wants(node, "integers", operands[0]->type);
      return equal_operands(node);

    case Op::power:
      if (!is_real(operands[0]->type.scalar)) return wants(node, "a real base", operands[0]->type);
      if (operands[1]->type.lanes != operands[0]->type.lanes ||
          (!is_integer(operands[1]->type.scalar) && !(operands[1]->type == operands[0]->type))) {
        return wants(node, "an exponent that is an integer or of the type of the base",
                     operands[1]->type);
      }
      return "";

    case Op::less:
    case Op::less_equal:
    case Op::greater:
    case Op::greater_equal:
      if (!is_number(operands[0]->type)) return wants(node, "numbers", operands[0]->type);
      return equal_operands(node);

    case Op::equal:
    case Op::not_equal:
    case Op::stop_gradient:
      return equal_operands(node);

    case Op::logical_and:
    case Op::logical_or:
    case Op::logical_not:
      if (is_number(operands[0]->type)) return wants(node, "bool", operands[0]->type);
      return equal_operands(node);

    case Op::select:
      if (is_number(operands[0]->type)) {
        return fmt::format("the condition of `if` is {}, not bool", spelling(operands[0]->type));
      }
      if (!(operands[1]->type == operands[2]->type)) {
        return fmt::format("`if` with branches of {} and {}", spelling(operands[1]->type),
                           spelling(operands[2]->type));
      }
      if (operands[0]->type.lanes != 1 && operands[0]->type.lanes != operands[1]->type.lanes) {
        return fmt::format("`if` with a condition of {} and branches of {}",
                           spelling(operands[0]->type), spelling(operands[1]->type));
      }
      return "";

    case Op::convert:
      if (node.type.lanes != operands[0]->type.lanes) {
        return fmt::format("conversion of {} to {}", spelling(operands[0]->type),
                           spelling(node.type));
      }
      return "";

    case Op::rand:
    case Op::normal:
      if (operands[0]->type.scalar != ScalarType::i64) {
        return wants(node, "a position of type i64", operands[0]->type);
      }
      if (!is_real(node.type.scalar) || node.type.lanes != operands[0]->type.lanes) {
        return wants(node, "a real result with the lanes of the position", node.type);
      }
      return "";

    case Op::splat:
      if (operands[0]->type.lanes != 1 || node.type.scalar != operands[0]->type.scalar) {
        return fmt::format("splat of {} to {}", spelling(operands[0]->type), spelling(node.type));
      }
      return "";

    case Op::lane:
      if (operands[1]->op != Op::constant || !is_integer(operands[1]->type.scalar) ||
          operands[1]->type.lanes != 1 || operands[1]->integer < 0 ||
          operands[1]->integer >= operands[0]->type.lanes) {
        return fmt::format("`lane` of {} needs a constant below its number of lanes",
                           spelling(operands[0]->type));
      }
      return "";

    case Op::bit_cast:
      if (node.type.lanes != operands[0]->type.lanes ||
          byte_size(node.type.scalar) != byte_size(operands[0]->type.scalar) ||
          !is_number(node.type) || !is_number(operands[0]->type)) {
        return fmt::format("bits of {} as {}", spelling(operands[0]->type), spelling(node.type));
      }
      return "";

    case Op::bit_and:
    case Op::bit_or:
    case Op::bit_xor:
      if (!is_integer(operands[0]->type.scalar)) return wants(node, "integers", operands[0]->type);
      return equal_operands(node);

    case Op::shift_left:
    case Op::shift_right:
      for (const ExprRef& operand : operands) {
        if (!is_integer(operand->type.scalar)) return wants(node, "integers", operand->type);
      }
      if (operands[1]->type.lanes != 1 && operands[1]->type.lanes != operands[0]->type.lanes) {
        return wants(node, "a count for every lane or one for all", operands[1]->type);
      }
      return "";
  }
  return "";
}

/// Operands that the operator takes; -1: any number.
int operand_count(Op op) {
  switch (op) {
#define FG_SCALAR_OP(enumerator, spelling, operands, form) \
  case Op::enumerator:                                     \
    return operands;
#include "ir/scalar_ops.def"
#undef FG_SCALAR_OP
  }
  return -1;
}

}  // namespace

bool type_follows_operands(Op op) {
  switch (op) {
    case Op::constant:
    case Op::index:
    case Op::uniform:
    case Op::variable:
    case Op::read:
    case Op::convert:
    case Op::rand:
    case Op::normal:
    case Op::splat:
    case Op::iota:
    case Op::bit_cast:
      return false;
    case Op::negate:
    case Op::add:
    case Op::subtract:
    case Op::multiply:
    case Op::divide:
    case Op::floor_divide:
    case Op::modulo:
    case Op::power:
    case Op::minimum:
    case Op::maximum:
    case Op::less:
    case Op::less_equal:
    case Op::greater:
    case Op::greater_equal:
    case Op::equal:
    case Op::not_equal:
    case Op::logical_and:
    case Op::logical_or:
    case Op::logical_not:
    case Op::select:
    case Op::exp:
    case Op::log:
    case Op::log1p:
    case Op::expm1:
    case Op::sqrt:
    case Op::rsqrt:
    case Op::tanh:
    case Op::erf:
    case Op::sin:
    case Op::cos:
    case Op::abs:
    case Op::floor:
    case Op::stop_gradient:
    case Op::custom:
    case Op::fma:
    case Op::lane:
    case Op::bit_and:
    case Op::bit_or:
    case Op::bit_xor:
    case Op::shift_left:
    case Op::shift_right:
    case Op::vector_sum:
      return true;
  }
  return false;
}

Type result_type(const Expr& node) {
  if (node.operands.empty()) return node.type;
  if (is_comparison(node.op)) return {ScalarType::boolean, node.operands[0]->type.lanes};
  if (node.op == Op::select) {
    return node.operands.size() == 3 ? node.operands[1]->type : node.type;
  }
  if (node.op == Op::lane || node.op == Op::vector_sum) {
    return {node.operands[0]->type.scalar, 1};
  }
  return node.operands[0]->type;
}

std::string type_mistake(const Expr& node) {
  const int wanted = operand_count(node.op);
  if (wanted >= 0 && node.operands.size() != static_cast<size_t>(wanted)) {
    const std::string name =
        node.op == Op::convert ? "a conversion" : fmt::format("`{}`", spelling(node.op));
    return fmt::format("{} needs {} argument{}, not {}", name, wanted, wanted == 1 ? "" : "s",
                       node.operands.size());
  }
  if (node.op == Op::custom && node.operands.size() % 2 != 1) {
    return "`custom` needs a value and then pairs of an argument and its slope";
  }
  std::string mistake = operand_mistake(node);
  if (!mistake.empty()) return mistake;
  if (type_follows_operands(node.op) && !(node.type == result_type(node))) {
    return fmt::format("`{}` is marked as {} but gives {}", spelling(node.op), spelling(node.type),
                       spelling(result_type(node)));
  }
  return "";
}

}  // namespace fusegrad::ir
