// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Names and orders that the generator and its callers agree on.
#include "codegen/calling_convention.h"

#include <fmt/format.h>

#include <algorithm>

namespace fusegrad::codegen {

using ir::LoopFunction;
using ir::LoopParameter;
using ir::LoopProgram;

std::vector<std::string> buffer_table(const LoopProgram& program) {
  std::vector<std::string> names;
  for (const ir::Buffer& buffer : program.buffers) names.push_back(buffer.name);
  auto uses_row_list = [](const LoopFunction& function) {
    return std::any_of(function.parameters.begin(), function.parameters.end(),
                       [](const LoopParameter& p) { return p.name == ir::row_list_name; });
  };
  if (std::any_of(program.functions.begin(), program.functions.end(), uses_row_list) &&
      program.find_buffer(ir::row_list_name) == nullptr) {
    names.emplace_back(ir::row_list_name);
  }
  return names;
}

std::string symbol_part(std::string_view name) {
  constexpr size_t longest = 120;
  std::string result(name.substr(0, longest));
  for (char& c : result) {
    bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    if (!plain) c = '_';
  }
  return result;
}

std::vector<std::string> symbol_names(const LoopProgram& program, std::string_view prefix) {
  std::vector<std::string> names;
  for (size_t i = 0; i < program.functions.size(); ++i) {
    names.push_back(fmt::format("{}{}_{}", prefix, symbol_part(program.functions[i].name), i));
  }
  return names;
}

}  // namespace fusegrad::codegen
