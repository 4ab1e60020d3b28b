// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Source text and positions in it: byte offsets are kept everywhere, lines and columns are computed
// to be printed.
#include "ir/support/source.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "ir/support/check.h"

namespace fusegrad {
namespace {

constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

}  // namespace

Span join(Span first, Span second) {
  if (!first.valid()) return second;
  if (!second.valid()) return first;
  FG_CHECK(first.file == second.file, "spans of the files {} and {}", first.file, second.file);
  return {first.file, std::min(first.begin, second.begin), std::max(first.end, second.end)};
}

uint32_t SourceManager::add(std::string name, std::string text) {
  if (text.starts_with(byte_order_mark)) text.erase(0, byte_order_mark.size());
  // Offsets have 32 bits. Nobody reads a text of this size: the lexer refuses it long before.
  constexpr size_t limit = std::numeric_limits<uint32_t>::max() - 1;
  if (text.size() > limit) text.resize(limit);

  File file{std::move(name), std::move(text), {0}};
  for (size_t at = file.text.find('\n'); at != std::string::npos;
       at = file.text.find('\n', at + 1)) {
    file.line_starts.push_back(static_cast<uint32_t>(at + 1));
  }
  files_.push_back(std::move(file));
  return static_cast<uint32_t>(files_.size() - 1);
}

std::string_view SourceManager::name(uint32_t file) const {
  FG_CHECK(file < files_.size(), "no file {}", file);
  return files_[file].name;
}

std::string_view SourceManager::text(uint32_t file) const {
  FG_CHECK(file < files_.size(), "no file {}", file);
  return files_[file].text;
}

std::string_view SourceManager::text(Span span) const {
  if (!span.valid()) return {};
  std::string_view whole = text(span.file);
  FG_CHECK(span.begin <= span.end && span.end <= whole.size(), "span {}..{} in {} bytes",
           span.begin, span.end, whole.size());
  return whole.substr(span.begin, span.end - span.begin);
}

LineColumn SourceManager::position(uint32_t file, uint32_t offset) const {
  FG_CHECK(file < files_.size(), "no file {}", file);
  const std::vector<uint32_t>& starts = files_[file].line_starts;
  auto after = std::upper_bound(starts.begin(), starts.end(), offset);
  uint32_t line = static_cast<uint32_t>(after - starts.begin());
  return {line, offset - starts[line - 1] + 1};
}

std::string_view SourceManager::line(uint32_t file, uint32_t line) const {
  FG_CHECK(file < files_.size(), "no file {}", file);
  const File& source = files_[file];
  FG_CHECK(line >= 1 && line <= source.line_starts.size(), "no line {}", line);
  size_t begin = source.line_starts[line - 1];
  size_t end = line < source.line_starts.size() ? source.line_starts[line] - 1 : source.text.size();
  if (end > begin && source.text[end - 1] == '\r') --end;
  return std::string_view(source.text).substr(begin, end - begin);
}

}  // namespace fusegrad
