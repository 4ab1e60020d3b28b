// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The table of codes as text: one entry for a terminal, all of them as a page.
#include "frontend/diagnostic_codes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>

namespace fusegrad::frontend {
namespace {

constexpr size_t terminal_width = 80;

/// The words of a paragraph on lines that fit a terminal.
std::string wrapped(std::string_view paragraph) {
  std::string text;
  size_t column = 0;
  for (size_t begin = 0; begin < paragraph.size();) {
    size_t end = std::min(paragraph.find(' ', begin), paragraph.size());
    // Quoted code stays on one line: a space in it is not a place to break.
    auto quotes = [&] {
      return std::count(&paragraph[begin], &paragraph[begin] + (end - begin), '`');
    };
    while (quotes() % 2 != 0 && end < paragraph.size())
      end = std::min(paragraph.find(' ', end + 1), paragraph.size());
    std::string_view word = paragraph.substr(begin, end - begin);
    if (column != 0 && column + 1 + word.size() > terminal_width) {
      text += '\n';
      column = 0;
    }
    if (column != 0) {
      text += ' ';
      ++column;
    }
    text += word;
    column += word.size();
    begin = end + 1;
  }
  return text + "\n";
}

std::string indented(std::string_view example) {
  std::string text;
  for (size_t begin = 1; begin < example.size();) {  // behind the first line end
    size_t end = example.find('\n', begin);
    text += fmt::format("    {}\n", example.substr(begin, end - begin));
    begin = end + 1;
  }
  return text;
}

std::string_view kind_of(const DiagnosticCode& entry) {
  return entry.code.starts_with('W') ? "warning" : "error";
}

}  // namespace

const DiagnosticCode* find_diagnostic_code(std::string_view code) {
  std::string upper(code);
  if (!upper.empty() && upper[0] >= 'a' && upper[0] <= 'z') upper[0] -= 'a' - 'A';
  for (const DiagnosticCode& entry : diagnostic_codes) {
    if (entry.code == upper) return &entry;
  }
  return nullptr;
}

std::string explain(const DiagnosticCode& entry) {
  std::string text = fmt::format("{}[{}]: {}\n\n{}", kind_of(entry), entry.code, entry.title,
                                 wrapped(entry.explanation));
  if (!entry.wrong.empty()) {
    text +=
        fmt::format("\nWrong:\n\n{}\nRight:\n\n{}", indented(entry.wrong), indented(entry.right));
  }
  return text;
}

std::string explain_all() {
  std::string text =
      "# Messages and their codes\n\n"
      "Made from the compiler's own table by `fusegrad explain --all`; `fusegrad explain CODE` "
      "prints one of them. Each example is a\n"
      "model file: the first reports the code, the second is correct. Codes that begin with `W` "
      "are warnings, all others are errors.\n"
      "A code never gets a second meaning.\n\n"
      "| Code | Meaning |\n| --- | --- |\n";
  for (const DiagnosticCode& entry : diagnostic_codes) {
    std::string anchor(entry.code);
    anchor[0] += 'a' - 'A';
    text += fmt::format("| [{}](#{}) | {} |\n", entry.code, anchor, entry.title);
  }
  for (const DiagnosticCode& entry : diagnostic_codes) {
    text += fmt::format("\n## {}\n\n**{}{}.** {}\n", entry.code,
                        static_cast<char>(entry.title[0] >= 'a' && entry.title[0] <= 'z'
                                              ? entry.title[0] - 'a' + 'A'
                                              : entry.title[0]),
                        entry.title.substr(1), entry.explanation);
    if (!entry.wrong.empty()) {
      text += fmt::format("\n```{}```\n\nCorrected:\n\n```{}```\n", entry.wrong, entry.right);
    }
  }
  return text;
}

}  // namespace fusegrad::frontend
