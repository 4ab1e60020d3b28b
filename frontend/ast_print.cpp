// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Prints the syntax tree as source text: the `ast` stage, signatures in lists and messages, and
// later the formatter.
#include "frontend/ast_print.h"

#include <fmt/format.h>

#include <string_view>

namespace fusegrad::frontend {
namespace {

using ast::ExpressionKind;
using ast::StatementKind;

// How tightly an expression holds together; an operand that holds less than its place asks for gets
// parentheses.
enum Strength {
  strength_expression,  // if, and a call with `init`, whose value reaches as far to the right as it
                        // can
  strength_or,
  strength_and,
  strength_not,
  strength_comparison,
  strength_add,
  strength_multiply,
  strength_unary,
  strength_power,
  strength_postfix,
};

Strength strength_of(ast::BinaryOperator op) {
  switch (op) {
    case ast::BinaryOperator::logical_or:
      return strength_or;
    case ast::BinaryOperator::logical_and:
      return strength_and;
    case ast::BinaryOperator::less:
    case ast::BinaryOperator::less_equal:
    case ast::BinaryOperator::greater:
    case ast::BinaryOperator::greater_equal:
    case ast::BinaryOperator::equal:
    case ast::BinaryOperator::not_equal:
      return strength_comparison;
    case ast::BinaryOperator::add:
    case ast::BinaryOperator::subtract:
      return strength_add;
    case ast::BinaryOperator::multiply:
    case ast::BinaryOperator::divide:
    case ast::BinaryOperator::floor_divide:
    case ast::BinaryOperator::modulo:
      return strength_multiply;
    case ast::BinaryOperator::power:
      return strength_power;
  }
  return strength_postfix;
}

Strength strength_of(const ast::Expression& expression) {
  switch (expression.kind) {
    case ExpressionKind::conditional:
      return strength_expression;
    case ExpressionKind::binary:
      return strength_of(expression.binary);
    case ExpressionKind::logical_not:
      return strength_not;
    case ExpressionKind::negate:
      return strength_unary;
    case ExpressionKind::call:
      return expression.initialisers.empty() ? strength_postfix : strength_expression;
    case ExpressionKind::invalid:
    case ExpressionKind::number:
    case ExpressionKind::infinity:
    case ExpressionKind::boolean:
    case ExpressionKind::training:
    case ExpressionKind::string:
    case ExpressionKind::name:
    case ExpressionKind::dimension:
    case ExpressionKind::ellipsis:
    case ExpressionKind::list:
    case ExpressionKind::read:
    case ExpressionKind::reduction:
      return strength_postfix;
  }
  return strength_postfix;
}

class Printer {
 public:
  std::string take() { return std::move(out_); }

  // -------------------------------------------------------------------------------------------
  // expressions

  // `suffixes` is false in the value of an `init`, where `as` and `init` would go to the call
  // around it.
  void expression(const ast::Expression& expression, Strength least = strength_expression,
                  bool suffixes = true) {
    bool has_suffix = !expression.instance.text.empty() || !expression.initialisers.empty();
    bool would_lose_suffix = !suffixes && expression.kind == ExpressionKind::call && has_suffix;
    if (strength_of(expression) < least || would_lose_suffix) {
      out_ += '(';
      bare_expression(expression, true);
      out_ += ')';
    } else {
      bare_expression(expression, suffixes);
    }
  }

  void type(const ast::Type& type) {
    out_ += spelling(type.element);
    out_ += '[';
    separated(type.sizes, [&](const ast::Expression& size) { expression(size); });
    out_ += ']';
  }

  // --------------------------------------------------------------------------------------------
  // statements

  void block(const std::vector<ast::Statement>& body, int indent) {
    out_ += "{\n";
    for (const ast::Statement& inner : body) statement(inner, indent + 1);
    start_line(indent);
    out_ += '}';
  }

  void statement(const ast::Statement& statement, int indent) {
    start_line(indent);
    bare_statement(statement, indent);
    out_ += '\n';
  }

  // -------------------------------------------------------------------------------------------------
  // items

  void item(const ast::Item& item) {
    std::visit([&](const auto& alternative) { bare_item(alternative); }, item);
    out_ += '\n';
  }

  void signature(const ast::Function& function) {
    write("fn ", function.name);
    value_parameters(function.parameters);
  }

  void signature(const ast::Layer& layer) {
    write("layer ", layer.name);
    out_ += '(';
    separated(layer.parameters,
              [&](const ast::LayerParameter& parameter) { layer_parameter(parameter); });
    out_ += ") -> ";
    bool in_parentheses = layer.outputs.size() != 1;
    if (in_parentheses) out_ += '(';
    separated(layer.outputs, [&](const ast::LayerOutput& output) {
      write("", output.name);
      out_ += ": ";
      type(output.type);
    });
    if (in_parentheses) out_ += ')';
  }

  void signature(const ast::Optimizer& optimizer) {
    write(optimizer.is_transform ? "gradient " : "optimizer ", optimizer.name);
    value_parameters(optimizer.parameters);
    out_ += " for ";
    separated(optimizer.subjects, [&](const ast::Identifier& subject) { write("", subject); });
  }

 private:
  template <typename Range, typename Function>
  void separated(const Range& range, Function print_one) {
    bool is_first = true;
    for (const auto& element : range) {
      if (!is_first) out_ += ", ";
      is_first = false;
      print_one(element);
    }
  }

  void write(std::string_view before, const ast::Identifier& name) {
    out_ += before;
    out_ += name.text.empty() ? "<error>" : std::string_view(name.text);
  }

  void start_line(int indent) { out_.append(2 * static_cast<size_t>(indent), ' '); }

  void string(std::string_view value) {
    out_ += '"';
    for (char c : value) {
      if (c == '\n') {
        out_ += "\\n";
      } else {
        if (c == '"' || c == '\\') out_ += '\\';
        out_ += c;
      }
    }
    out_ += '"';
  }

  void bare_expression(const ast::Expression& e, bool suffixes) {
    auto operand = [&](size_t number, Strength least) {
      expression(e.operands[number], least, suffixes);
    };
    switch (e.kind) {
      case ExpressionKind::invalid:
        out_ += "<error>";
        return;
      case ExpressionKind::number:
        out_ += e.text;
        return;
      case ExpressionKind::infinity:
        out_ += "inf";
        return;
      case ExpressionKind::boolean:
        out_ += e.boolean ? "true" : "false";
        return;
      case ExpressionKind::training:
        out_ += "training";
        return;
      case ExpressionKind::string:
        return string(e.text);
      case ExpressionKind::name:
      case ExpressionKind::dimension:
        return write("", e.name);
      case ExpressionKind::ellipsis:
        out_ += "...";
        return;
      case ExpressionKind::list:
        out_ += '[';
        separated(e.operands, [&](const ast::Expression& element) { expression(element); });
        out_ += ']';
        return;
      case ExpressionKind::negate:
        out_ += '-';
        return operand(0, strength_unary);
      case ExpressionKind::logical_not:
        out_ += "not ";
        return operand(0, strength_not);
      case ExpressionKind::binary:
        return binary(e, suffixes);
      case ExpressionKind::conditional:
        // An `if` within another one's condition or first branch is legal, but hard on the eye.
        out_ += "if ";
        operand(0, strength_or);
        out_ += " then ";
        operand(1, strength_or);
        out_ += " else ";
        return operand(2, strength_expression);
      case ExpressionKind::read:
        operand(0, strength_postfix);
        out_ += '[';
        separated(e.indices(), [&](const ast::Expression& index) { expression(index); });
        if (e.has_default) {
          out_ += e.indices().empty() ? "else " : " else ";
          expression(*e.default_value());
        }
        out_ += ']';
        return;
      case ExpressionKind::call:
        return call(e);
      case ExpressionKind::reduction:
        out_ += spelling(e.reduction);
        out_ += '(';
        separated(e.binders, [&](const ast::Binder& one) { binder(one); });
        if (e.has_condition) {
          out_ += " where ";
          expression(*e.condition());
        }
        out_ += ": ";
        expression(e.body());
        out_ += ')';
        return;
    }
  }

  void binary(const ast::Expression& e, bool suffixes) {
    Strength own = strength_of(e.binary);
    auto tighter = [](Strength strength) { return static_cast<Strength>(strength + 1); };
    Strength left = own;
    Strength right = tighter(own);
    if (own == strength_comparison) left = tighter(own);  // comparisons do not chain
    if (own == strength_power) {
      left = strength_postfix;
      right = strength_unary;
    }
    expression(e.operands[0], left, suffixes);
    out_ += fmt::format(" {} ", spelling(e.binary));
    expression(e.operands[1], right, suffixes);
  }

  void call(const ast::Expression& e) {
    write("", e.name);
    out_ += '(';
    separated(e.arguments, [&](const ast::Argument& argument) {
      if (!argument.name.text.empty()) out_ += argument.name.text + " = ";
      expression(argument.value);
    });
    out_ += ')';
    if (!e.instance.text.empty()) out_ += " as " + e.instance.text;
    for (const ast::Initialiser& initialiser : e.initialisers) {
      write(" init ", initialiser.parameter);
      out_ += " = ";
      expression(initialiser.value, strength_expression, false);
    }
  }

  void range(const ast::Range& range) {
    expression(range.begin, strength_add);
    out_ += "..";
    expression(range.end, strength_add);
  }

  void binder(const ast::Binder& binder) {
    if (binder.is_ellipsis) {
      out_ += "...";
      return;
    }
    write("", binder.name);
    if (binder.range) {
      out_ += " in ";
      range(*binder.range);
    }
  }

  void assigned(const ast::Expression& value) {
    out_ += " = ";
    expression(value);
  }

  void declaration(std::string_view word, const ast::Statement& s) {
    write(word, s.names[0]);
    if (!s.type) return;
    out_ += ": ";
    type(*s.type);
  }

  void bare_statement(const ast::Statement& s, int indent) {
    auto left = [&] {
      separated(s.names, [&](const ast::Identifier& name) { write("", name); });
      if (!s.has_brackets) return;
      out_ += '[';
      separated(s.indices, [&](const ast::Binder& one) { binder(one); });
      out_ += ']';
    };
    switch (s.kind) {
      case StatementKind::constant:
        write("const ", s.names[0]);
        return assigned(s.value);
      case StatementKind::parameter:
      case StatementKind::state:
        declaration(s.kind == StatementKind::state ? "state " : "param ", s);
        assigned(s.value);
        for (const ast::Identifier& tag : s.tags) write(" @", tag);
        return;
      case StatementKind::require:
        out_ += "require ";
        expression(s.value);
        if (s.message) {
          out_ += ", ";
          expression(*s.message);
        }
        return;
      case StatementKind::when:
        out_ += "when ";
        expression(s.value);
        out_ += ' ';
        block(s.body, indent);
        if (s.has_otherwise) {
          out_ += " else ";
          block(s.otherwise, indent);
        }
        return;
      case StatementKind::repeat:
        out_ += "repeat ";
        expression(s.value);
        out_ += ' ';
        return block(s.body, indent);
      case StatementKind::bind:
      case StatementKind::define:
        left();
        return assigned(s.value);
      case StatementKind::update:
        left();
        out_ += " <- ";
        return expression(s.value);
      case StatementKind::input:
        declaration("input ", s);
        if (s.range) {
          out_ += " in ";
          range(*s.range);
        }
        return;
      case StatementKind::output:
        return write("output ", s.names[0]);
      case StatementKind::loss:
        out_ += "loss";
        return assigned(s.value);
      case StatementKind::metric:
        write("metric ", s.names[0]);
        return assigned(s.value);
    }
  }

  void value_parameters(const std::vector<ast::ValueParameter>& parameters) {
    out_ += '(';
    separated(parameters, [&](const ast::ValueParameter& parameter) {
      write("", parameter.name);
      if (parameter.default_value) assigned(*parameter.default_value);
    });
    out_ += ')';
  }

  void layer_parameter(const ast::LayerParameter& parameter) {
    write("", parameter.name);
    out_ += ": ";
    switch (parameter.kind) {
      case ast::LayerParameterKind::tensor:
        if (parameter.type) type(*parameter.type);
        if (parameter.range) {
          out_ += " in ";
          range(*parameter.range);
        }
        break;
      case ast::LayerParameterKind::size:
        out_ += "dim";
        break;
      case ast::LayerParameterKind::real:
        out_ += "float";
        break;
      case ast::LayerParameterKind::integer:
        out_ += "int";
        break;
      case ast::LayerParameterKind::boolean:
        out_ += "bool";
        break;
    }
    if (parameter.default_value) assigned(*parameter.default_value);
  }

  void entries(const std::vector<ast::Entry>& entries, int indent) {
    out_ += "{\n";
    for (const ast::Entry& entry : entries) {
      start_line(indent + 1);
      write("", entry.key);
      assigned(entry.value);
      out_ += '\n';
    }
    start_line(indent);
    out_ += '}';
  }

  void bare_item(const ast::Import& import) {
    out_ += "import ";
    expression(import.path);
  }

  void bare_item(const ast::Constant& constant) {
    write("const ", constant.name);
    assigned(constant.value);
  }

  void bare_item(const ast::Function& function) {
    signature(function);
    if (function.has_block) {
      out_ += " {\n";
      for (const ast::Statement& binding : function.bindings) statement(binding, 1);
      out_ += "  return ";
      expression(function.result);
      out_ += "\n}";
    } else {
      assigned(function.result);
    }
    for (const ast::Derivative& derivative : function.derivatives) {
      write(derivative.is_override ? "\n  deriv! " : "\n  deriv ", derivative.parameter);
      assigned(derivative.value);
    }
  }

  void bare_item(const ast::Layer& layer) {
    signature(layer);
    out_ += ' ';
    block(layer.body, 0);
  }

  void bare_item(const ast::Optimizer& optimizer) {
    signature(optimizer);
    out_ += ' ';
    block(optimizer.body, 0);
  }

  void bare_item(const ast::Model& model) {
    write("model ", model.name);
    out_ += ' ';
    block(model.body, 0);
  }

  void bare_item(const ast::Data& data) {
    write("data ", data.name);
    out_ += " {\n";
    for (const ast::Split& split : data.splits) {
      write("  ", split.name);
      out_ += ' ';
      entries(split.entries, 1);
      out_ += '\n';
    }
    out_ += '}';
  }

  void bare_item(const ast::Train& train) {
    out_ += "train ";
    if (!train.name.text.empty()) out_ += train.name.text + " ";
    entries(train.entries, 0);
  }

  std::string out_;
};

// Items that stand together without an empty line: neighbours of one kind that take one line each.
bool stand_together(const ast::Item& above, const ast::Item& below) {
  if (above.index() != below.index()) return false;
  auto takes_one_line = [](const ast::Item& item) {
    const ast::Function* function = std::get_if<ast::Function>(&item);
    bool is_short_function =
        function != nullptr && !function->has_block && function->derivatives.empty();
    return is_short_function || std::holds_alternative<ast::Import>(item) ||
           std::holds_alternative<ast::Constant>(item);
  };
  return takes_one_line(above) && takes_one_line(below);
}

template <typename Print>
std::string printed(Print print_into) {
  Printer printer;
  print_into(printer);
  return printer.take();
}

}  // namespace

std::string print(const ast::File& file) {
  std::string out;
  for (size_t i = 0; i < file.items.size(); ++i) {
    if (i > 0 && !stand_together(file.items[i - 1], file.items[i])) out += '\n';
    out += print(file.items[i]);
  }
  return out;
}

std::string print(const ast::Item& item) {
  return printed([&](Printer& printer) { printer.item(item); });
}

std::string print(const ast::Expression& expression) {
  return printed([&](Printer& printer) { printer.expression(expression); });
}

std::string print(const ast::Type& type) {
  return printed([&](Printer& printer) { printer.type(type); });
}

std::string print(const ast::Statement& statement, int indent) {
  return printed([&](Printer& printer) { printer.statement(statement, indent); });
}

std::string print_signature(const ast::Function& function) {
  return printed([&](Printer& printer) { printer.signature(function); });
}

std::string print_signature(const ast::Layer& layer) {
  return printed([&](Printer& printer) { printer.signature(layer); });
}

std::string print_signature(const ast::Optimizer& optimizer) {
  return printed([&](Printer& printer) { printer.signature(optimizer); });
}

}  // namespace fusegrad::frontend
