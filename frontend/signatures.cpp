// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Signatures with their documentation.
#include "frontend/signatures.h"

#include <variant>

#include "frontend/ast_print.h"

namespace fusegrad::frontend {
namespace {

std::string entry(const std::string& signature, const std::string& documentation) {
  std::string text = signature + "\n";
  size_t begin = 0;
  while (begin < documentation.size()) {
    size_t end = documentation.find('\n', begin);
    if (end == std::string::npos) end = documentation.size();
    text += "    " + documentation.substr(begin, end - begin) + "\n";
    begin = end + 1;
  }
  return text;
}

}  // namespace

std::string signatures(const ast::File& file) {
  std::string text;
  for (const ast::Item& item : file.items) {
    if (const auto* function = std::get_if<ast::Function>(&item)) {
      text += entry(print_signature(*function), function->documentation);
    } else if (const auto* layer = std::get_if<ast::Layer>(&item)) {
      text += entry(print_signature(*layer), layer->documentation);
    } else if (const auto* optimizer = std::get_if<ast::Optimizer>(&item)) {
      text += entry(print_signature(*optimizer), optimizer->documentation);
    }
  }
  return text;
}

}  // namespace fusegrad::frontend
