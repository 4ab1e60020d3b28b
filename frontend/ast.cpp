// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The words and signs behind the enumerators of the syntax tree, shared by the parser, the printer
// and messages.
#include "frontend/ast.h"

#include <set>

namespace fusegrad::frontend::ast {

bool Layer::has_good_parameters() const {
  std::set<std::string_view> names;
  for (const LayerParameter& parameter : parameters) {
    if (!names.insert(parameter.name.text).second) return false;
    if (parameter.kind == LayerParameterKind::tensor && !parameter.type) return false;
  }
  return true;
}

std::string_view spelling(BinaryOperator op) {
  switch (op) {
    case BinaryOperator::logical_or:
      return "or";
    case BinaryOperator::logical_and:
      return "and";
    case BinaryOperator::less:
      return "<";
    case BinaryOperator::less_equal:
      return "<=";
    case BinaryOperator::greater:
      return ">";
    case BinaryOperator::greater_equal:
      return ">=";
    case BinaryOperator::equal:
      return "==";
    case BinaryOperator::not_equal:
      return "!=";
    case BinaryOperator::add:
      return "+";
    case BinaryOperator::subtract:
      return "-";
    case BinaryOperator::multiply:
      return "*";
    case BinaryOperator::divide:
      return "/";
    case BinaryOperator::floor_divide:
      return "//";
    case BinaryOperator::modulo:
      return "%";
    case BinaryOperator::power:
      return "^";
  }
  return "";
}

std::string_view spelling(ReductionOperator op) {
  switch (op) {
    case ReductionOperator::sum:
      return "sum";
    case ReductionOperator::mean:
      return "mean";
    case ReductionOperator::max:
      return "max";
    case ReductionOperator::min:
      return "min";
    case ReductionOperator::argmax:
      return "argmax";
    case ReductionOperator::argmin:
      return "argmin";
    case ReductionOperator::any:
      return "any";
    case ReductionOperator::all:
      return "all";
  }
  return "";
}

std::string_view spelling(ElementName element) {
  switch (element) {
    case ElementName::real:
      return "real";
    case ElementName::integer:
      return "int";
    case ElementName::any:
      return "any";
    case ElementName::f16:
      return "f16";
    case ElementName::bf16:
      return "bf16";
    case ElementName::f32:
      return "f32";
    case ElementName::f64:
      return "f64";
    case ElementName::u8:
      return "u8";
    case ElementName::i32:
      return "i32";
    case ElementName::boolean:
      return "bool";
  }
  return "";
}

}  // namespace fusegrad::frontend::ast
