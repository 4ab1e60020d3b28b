// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Printing L: one line a statement, two blanks a level.
#include "ir/loop/print.h"

#include <fmt/format.h>

#include "ir/expr_text.h"
#include "ir/kernel/buffer_text.h"
#include "ir/tensor/statement_text.h"

namespace fusegrad::ir {
namespace {

class LoopPrinter {
 public:
  explicit LoopPrinter(ScalarType real) : options_{real, ExprLevel::loop} {}

  std::string head(const LoopStatement& statement) const {
    return std::visit([this](const auto& node) { return line(node); }, statement.node);
  }

  void print(const LoopFunction& function, int level) {
    indent(level);
    text_ += fmt::format("func {}(", function.name);
    for (size_t i = 0; i < function.parameters.size(); ++i) {
      const LoopParameter& parameter = function.parameters[i];
      text_ +=
          fmt::format("{}{}{}: ptr<{}>", i == 0 ? "" : ", ", parameter.written ? "mutable " : "",
                      parameter.name, spelling(parameter.type));
      if (parameter.elements >= 0) text_ += fmt::format("[{}]", parameter.elements);
    }
    text_ += ") tasks(";
    for (size_t i = 0; i < function.tasks.size(); ++i) {
      text_ += fmt::format("{}{} tile {}", i == 0 ? "" : ", ", spelling(function.tasks[i].extent),
                           function.tasks[i].tile);
    }
    text_ += ") {\n";
    block(function.body, level + 1);
    indent(level);
    text_ += "}\n";
  }

  std::string take() { return std::move(text_); }

 private:
  std::string expression(const ExprRef& e) const { return print_expression(e, options_); }

  std::string line(const LoopLet& let) const {
    return fmt::format("let {} = {}", let.name, expression(let.value));
  }
  std::string line(const LoopVar& var) const {
    return fmt::format("var {} = {}", var.name, expression(var.value));
  }
  std::string line(const LoopAssign& assign) const {
    return fmt::format("{} = {}", assign.name, expression(assign.value));
  }
  std::string line(const LoopStack& stack) const {
    return fmt::format("stack {}: {}[{}]", stack.name, spelling(stack.type), stack.elements);
  }
  std::string line(const LoopStore& store) const {
    return fmt::format("store {}[{}] = {}", store.buffer, expression(store.address),
                       expression(store.value));
  }
  std::string line(const LoopFor& loop) const {
    return fmt::format("for {} = {} to {} step {}", loop.name, expression(loop.begin),
                       expression(loop.end), loop.step);
  }
  std::string line(const LoopIf& branch) const {
    return fmt::format("if {}", expression(branch.condition));
  }

  void indent(int level) { text_.append(static_cast<size_t>(2 * level), ' '); }

  void block(const LoopBlock& statements, int level) {
    for (const LoopStatement& statement : statements) {
      indent(level);
      text_ += head(statement);
      if (const auto* loop = std::get_if<LoopFor>(&statement.node)) {
        braces(loop->body, level);
      } else if (const auto* branch = std::get_if<LoopIf>(&statement.node)) {
        braces(branch->then_block, level);
        if (!branch->else_block.empty()) {
          text_ += " else";
          braces(branch->else_block, level);
        }
      }
      text_ += '\n';
    }
  }

  void braces(const LoopBlock& statements, int level) {
    text_ += " {\n";
    block(statements, level + 1);
    indent(level);
    text_ += '}';
  }

  ExprTextOptions options_;
  std::string text_;
};

}  // namespace

std::string print_statement_head(const LoopStatement& statement, ScalarType real) {
  return LoopPrinter(real).head(statement);
}

std::string print(const LoopFunction& function, ScalarType real) {
  LoopPrinter printer(real);
  printer.print(function, 0);
  return printer.take();
}

std::string print(const LoopProgram& program) {
  std::string text = program_head_text({program.name, program.batch, program.real});
  for (const Buffer& buffer : program.buffers) text += "  " + print_buffer(buffer) + "\n";
  text += fmt::format("  arena {}\n", program.arena_bytes);
  for (const LoopFunction& function : program.functions) {
    LoopPrinter printer(program.real);
    printer.print(function, 1);
    text += printer.take();
  }
  for (const LoopLaunch& launch : program.launches) {
    text += "  launch {";
    for (const std::string& function : launch.functions) text += " " + function;
    text += " }\n";
  }
  for (const KernelResult& result : program.results) text += "  " + print_result(result) + "\n";
  return text + "}\n";
}

std::string print(const LoopModule& module) {
  std::string text = "stage loops\n";
  for (const LoopProgram& program : module.programs) text += "\n" + print(program);
  return text;
}

}  // namespace fusegrad::ir
