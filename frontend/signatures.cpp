// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Signatures with their documentation.
#include "frontend/signatures.h"

#include <algorithm>
#include <utility>
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

/// Calls `visit(signature, name, documentation, span)` for each definition of the file in its
/// order.
template <typename Visit>
void visit_definitions(const ast::File& file, const Visit& visit) {
  for (const ast::Item& item : file.items) {
    if (const auto* function = std::get_if<ast::Function>(&item)) {
      visit(print_signature(*function), function->name.text, function->documentation,
            function->span);
    } else if (const auto* layer = std::get_if<ast::Layer>(&item)) {
      visit(print_signature(*layer), layer->name.text, layer->documentation, layer->span);
    } else if (const auto* optimizer = std::get_if<ast::Optimizer>(&item)) {
      visit(print_signature(*optimizer), optimizer->name.text, optimizer->documentation,
            optimizer->span);
    }
  }
}

/// The title of the last line `# ---- title` before that place; "" if there is none.
std::string title_before(std::string_view text, size_t place) {
  constexpr std::string_view mark = "\n# ---";
  const size_t at = text.substr(0, place).rfind(mark);
  if (at == std::string_view::npos) return "";
  const size_t begin = text.find_first_not_of('-', at + 3);
  const size_t end = std::min(text.find('\n', at + 1), text.size());
  if (begin == std::string_view::npos || begin >= end) return "";
  std::string title(text.substr(begin + 1, end - begin - 1));
  if (!title.empty() && title[0] >= 'a' && title[0] <= 'z') {
    title[0] = static_cast<char>(title[0] - 'a' + 'A');
  }
  return title;
}

/// Plain words of a comment as Markdown: what looks like markup in a formula is no markup.
std::string escaped(const std::string& documentation) {
  std::string text;
  bool is_code = false;
  for (const char c : documentation) {
    if (c == '`') is_code = !is_code;
    const bool is_markup = c == '*' || c == '_' || c == '[' || c == ']' || c == '<' || c == '|';
    if (is_markup && !is_code) text += '\\';
    text += c;
  }
  return text;
}

}  // namespace

std::string signatures(const ast::File& file) {
  std::string text;
  visit_definitions(
      file, [&](const std::string& signature, const std::string&, const std::string& documentation,
                Span) { text += entry(signature, documentation); });
  return text;
}

std::string signatures_page(const ast::File& file, std::string_view text) {
  std::string page =
      "# The library\n\n"
      "What every model file can use. It is written in the language itself "
      "(`frontend/library.fg`); a "
      "definition of the\nsame name in a model file hides it. Shapes are written as in the "
      "signatures; `...` is any number of leading sizes.\nRules on scalars apply to whole tensors "
      "element by element. This page is printed by `fusegrad list --markdown`.\n";
  std::string title;
  visit_definitions(file, [&](const std::string& signature, const std::string& name,
                              const std::string& documentation, Span span) {
    std::string next = title_before(text, span.begin);
    if (next != title) page += "\n## " + next + "\n";
    title = std::move(next);
    page += "\n### `" + name + "`\n\n```\n" + signature + "\n```\n";
    if (!documentation.empty()) page += "\n" + escaped(documentation) + "\n";
  });
  return page;
}

}  // namespace fusegrad::frontend
