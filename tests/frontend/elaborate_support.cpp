// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Shared by the tests of elaboration.
#include "tests/frontend/elaborate_support.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "frontend/library.h"
#include "frontend/parser.h"
#include "ir/expr_text.h"
#include "ir/tensor/print.h"
#include "ir/tensor/verify.h"

namespace fusegrad::frontend {

Elaborated elaborate_text(std::string_view text, const ElaborateOptions& options) {
  Elaborated result;
  const uint32_t library_file =
      result.sources.add(std::string(library_file_name), std::string(library_text()));
  const uint32_t model_file = result.sources.add("model.fg", std::string(text));
  const ast::File library = parse(result.sources, library_file, result.diagnostics);
  const ast::File model = parse(result.sources, model_file, result.diagnostics);
  result.job = elaborate(model, library, options, result.sources, result.diagnostics);
  if (result.job) {
    for (const std::string& mistake : ir::verify(result.job->module)) {
      ADD_FAILURE() << mistake << "\nin\n" << text;
    }
  }
  return result;
}

Elaborated elaborate_body(std::string_view body, std::string_view items) {
  ElaborateOptions options;
  options.train = {{"batch", "4"}};
  options.needs_data = false;
  options.needs_epochs = false;
  options.needs_optimizer = false;
  return elaborate_text(fmt::format("{}model m {{\n{}}}\n", items, body), options);
}

std::string program_text(const Elaborated& elaborated, std::string_view program) {
  if (!elaborated.job) return elaborated.messages();
  const std::string printed = ir::print(*elaborated.job->module.find(program));
  std::string text;
  size_t begin = printed.find('\n') + 1;
  while (begin < printed.size()) {
    const size_t end = printed.find('\n', begin);
    std::string line = printed.substr(begin, end - begin);
    begin = end + 1;
    if (line == "}") break;
    line.erase(0, line.find_first_not_of(' '));
    text += line + "\n";
  }
  return text;
}

std::string statements_text(const Elaborated& elaborated, std::string_view program) {
  if (!elaborated.job) return elaborated.messages();
  std::string text;
  for (const ir::TensorStatement& statement : elaborated.job->module.find(program)->statements) {
    text += ir::print(statement, elaborated.job->settings.real) + "\n";
  }
  return text;
}

std::string rule_text(const Elaborated& elaborated, const std::string& parameter) {
  if (!elaborated.job) return elaborated.messages();
  const auto found = elaborated.job->update_rules.find(parameter);
  if (found == elaborated.job->update_rules.end()) return "no rule";
  const ir::ExprTextOptions options = {elaborated.job->settings.real, ir::ExprLevel::tensor};
  std::string text;
  for (const ir::UpdateRule::State& state : found->second.states) {
    text +=
        fmt::format("state {} = {}\n", state.name, ir::print_expression(state.initial, options));
  }
  for (const ir::UpdateRule::Update& update : found->second.updates) {
    text += fmt::format("{} <- {}\n", update.target, ir::print_expression(update.value, options));
  }
  return text;
}

}  // namespace fusegrad::frontend
