// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The verifier of T.
#include "ir/tensor/verify.h"

#include <fmt/format.h>

#include <map>
#include <set>
#include <utility>

#include "ir/support/check.h"
#include "ir/tensor/print.h"
#include "ir/tensor/statement_rules.h"

namespace fusegrad::ir {
namespace {

class TensorVerifier {
 public:
  TensorVerifier(const TensorProgram& program, TensorRules rules)
      : program_(program), rules_(rules) {
    context_.batch = program.batch;
    context_.find = [this](std::string_view name) -> const ReadableTensor* {
      auto found = tensors_.find(name);
      return found == tensors_.end() ? nullptr : &found->second;
    };
  }

  std::vector<std::string> run() {
    if (program_.batch < 1) add("the batch of `{}` has {} rows", program_.name, program_.batch);
    if (!is_real(program_.real))
      add("the reals of `{}` are {}", program_.name, spelling(program_.real));
    for (const TensorDeclaration& declaration : program_.declarations) check(declaration);
    for (const TensorStatement& statement : program_.statements) check(statement);
    for (const TensorResult& result : program_.results) check(result);
    for (const TensorUpdate& update : program_.updates) check(update);
    if (!rules_.dead_statements) check_for_dead_statements();
    return std::move(violations_);
  }

 private:
  template <typename... Arguments>
  void add(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    violations_.push_back(fmt::format(format, std::forward<Arguments>(arguments)...));
  }

  void add_all(const std::vector<std::string>& mistakes, const std::string& place) {
    for (const std::string& mistake : mistakes) add("{}: in `{}`", mistake, place);
  }

  void define(const std::string& name, ReadableTensor tensor, std::vector<std::string>& mistakes) {
    check_name(name, mistakes);
    if (!tensors_.emplace(name, std::move(tensor)).second) {
      mistakes.push_back(fmt::format("`{}` is defined twice", name));
    }
  }

  void check(const TensorDeclaration& declaration) {
    std::vector<std::string> mistakes;
    check_shape(declaration.shape, program_.batch, declaration.name, mistakes);
    for (size_t d = 0; d < declaration.shape.size(); ++d) {
      const bool leads = declaration.kind == TensorKind::input && d == 0;
      if (declaration.shape[d].per_row != (leads ? 1 : 0)) {
        mistakes.push_back(leads ? "the first size of an input is not `rows`"
                                 : "only the first size of an input depends on rows");
      }
    }
    if (declaration.kind == TensorKind::input && declaration.shape.empty()) {
      mistakes.push_back("an input of rank 0");
    }
    if (declaration.range) {
      const ValueRange limits = range_of_type(declaration.type);
      if (!is_integer(declaration.type)) mistakes.push_back("only integers have a range");
      if (declaration.range->begin >= declaration.range->end ||
          declaration.range->begin < limits.min || declaration.range->end - 1 > limits.max) {
        mistakes.push_back("a range that is empty or leaves the type");
      }
    }
    for (const std::string& tag : declaration.tags) {
      if (!is_valid_name(tag)) mistakes.push_back(fmt::format("`{}` is not a valid tag", tag));
    }
    define(declaration.name,
           {declaration.type, declaration.shape,
            values_of_declared(declaration.type, declaration.range)},
           mistakes);
    add_all(mistakes, print(declaration));
  }

  void check(const TensorStatement& statement) {
    std::vector<std::string> mistakes;
    const RightSide right_side = {statement.reduction, statement.binders, statement.condition,
                                  statement.value};
    check_ranges(statement.indices, true, program_.batch, mistakes);
    check_shape(statement.shape(), program_.batch, statement.name, mistakes);
    const size_t left_mistakes = mistakes.size();
    check_right_side(right_side, statement.type, statement.indices, context_, mistakes);
    if (!rules_.gradient_marks) check_gradient_marks(statement, mistakes);
    const bool good = mistakes.size() == left_mistakes && left_mistakes == 0;
    define(statement.name,
           {statement.type, statement.shape(),
            good ? values_of_statement(right_side, statement.type, statement.indices, context_)
                 : range_of_type(statement.type)},
           mistakes);
    add_all(mistakes,
            statement.value == nullptr ? statement.name : print(statement, program_.real));
  }

  static void check_gradient_marks(const TensorStatement& statement,
                                   std::vector<std::string>& mistakes) {
    for (const ExprRef& e : {statement.value, statement.condition}) {
      bool marked = false;
      if (e == nullptr) continue;
      walk(e, [&](const Expr& node) {
        marked = marked || node.op == Op::stop_gradient || node.op == Op::custom;
      });
      if (marked) mistakes.push_back("stop_gradient or custom after differentiation");
    }
  }

  void check(const TensorResult& result) {
    std::vector<std::string> mistakes;
    const ReadableTensor* tensor = context_.find(result.tensor);
    if (tensor == nullptr) {
      mistakes.push_back(fmt::format("there is no tensor `{}`", result.tensor));
    } else if (result.kind == TensorResultKind::loss || result.kind == TensorResultKind::metric) {
      if (!tensor->shape.empty() || !is_real(tensor->type)) {
        mistakes.push_back(fmt::format("`{}` is not a single real", result.tensor));
      }
    } else if (result.kind == TensorResultKind::gradient) {
      const TensorDeclaration* parameter = program_.find_declaration(result.label);
      if (parameter == nullptr || parameter->kind != TensorKind::parameter) {
        mistakes.push_back(fmt::format("there is no parameter `{}`", result.label));
      } else if (parameter->shape != tensor->shape || parameter->type != tensor->type) {
        mistakes.push_back(
            fmt::format("`{}` has another shape or type than `{}`", result.tensor, result.label));
      }
    }
    if (!is_valid_name(result.label)) {
      mistakes.push_back(fmt::format("`{}` is not a valid name", result.label));
    }
    if (!labels_.insert({result.kind, result.label}).second) {
      mistakes.push_back("there are two results of that name");
    }
    if (result.kind == TensorResultKind::loss && result.label != "loss") {
      mistakes.push_back("the loss is called loss");
    }
    add_all(mistakes, result_text(result));
  }

  void check(const TensorUpdate& update) {
    std::vector<std::string> mistakes;
    const TensorDeclaration* target = program_.find_declaration(update.target);
    const TensorStatement* value = program_.find_statement(update.value);
    if (target == nullptr || target->kind == TensorKind::input) {
      mistakes.push_back(fmt::format("`{}` is no parameter and no state", update.target));
      target = nullptr;
    }
    if (value == nullptr) {
      mistakes.push_back(fmt::format("there is no statement `{}`", update.value));
    }
    if (target != nullptr && value != nullptr &&
        (target->shape != value->shape() || target->type != value->type)) {
      mistakes.push_back(
          fmt::format("`{}` has another shape or type than `{}`", update.value, update.target));
    }
    if (!updated_.insert(update.target).second) {
      mistakes.push_back(fmt::format("`{}` is updated twice", update.target));
    }
    add_all(mistakes, fmt::format("{} <- {}", update.target, update.value));
  }

  void check_for_dead_statements() {
    std::set<std::string, std::less<>> needed;
    for (const TensorResult& result : program_.results) needed.insert(result.tensor);
    for (const TensorUpdate& update : program_.updates) needed.insert(update.value);
    for (auto statement = program_.statements.rbegin(); statement != program_.statements.rend();
         ++statement) {
      if (!needed.contains(statement->name)) {
        add("nothing needs `{}`", statement->name);
        continue;
      }
      for (const ExprRef& e : {statement->value, statement->condition}) {
        if (e == nullptr) continue;
        walk(e, [&](const Expr& node) {
          if (node.op == Op::read) needed.insert(node.name);
        });
      }
    }
  }

  const TensorProgram& program_;
  const TensorRules rules_;
  StatementContext context_;
  std::map<std::string, ReadableTensor, std::less<>> tensors_;
  std::set<std::pair<TensorResultKind, std::string>> labels_;
  std::set<std::string> updated_;
  std::vector<std::string> violations_;
};

}  // namespace

TensorRules tensor_rules_at(std::string_view stage) {
  TensorRules rules;
  rules.gradient_marks = stage == "tensor";
  rules.dead_statements = stage != "tensor.opt";
  return rules;
}

std::vector<std::string> verify(const TensorProgram& program, TensorRules rules) {
  return TensorVerifier(program, rules).run();
}

std::vector<std::string> verify(const TensorModule& module, TensorRules rules) {
  std::vector<std::string> violations;
  std::set<std::string> names;
  for (const TensorProgram& program : module.programs) {
    if (!names.insert(program.name).second || !is_valid_name(program.name)) {
      violations.push_back(
          fmt::format("the program name `{}` is taken or not valid", program.name));
    }
    for (std::string& violation : verify(program, rules)) {
      violations.push_back(fmt::format("program {}: {}", program.name, violation));
    }
  }
  return violations;
}

void check_verified(const TensorProgram& program, std::string_view stage) {
  const std::vector<std::string> violations = verify(program, tensor_rules_at(stage));
  if (violations.empty()) return;
  bool printable = true;
  for (const TensorStatement& statement : program.statements) {
    printable = printable && statement.value != nullptr;
  }
  FG_CHECK(violations.empty(), "program {} at stage {}:\n  {}\n{}", program.name, stage,
           fmt::join(violations, "\n  "), printable ? print(program) : "");
}

void check_verified(const TensorModule& module, std::string_view stage) {
  for (const TensorProgram& program : module.programs) check_verified(program, stage);
}

}  // namespace fusegrad::ir
