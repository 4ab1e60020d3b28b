// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Three columns that are as wide as their widest cell.
#include "runtime/core/tensor_differences.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "runtime/core/column.h"
#include "runtime/core/nearest.h"

namespace fusegrad::runtime {

namespace {

constexpr size_t most_lines = 24;
/// Beyond so many names the search for near ones would take long, and help nobody.
constexpr size_t most_compared = 2000;

using Line = std::array<std::string, 3>;

std::string printable(std::string_view name) {
  std::string text;
  for (const char character : name.substr(0, 100)) {
    const bool is_plain = static_cast<unsigned char>(character) >= 0x20 && character != 0x7f;
    text += is_plain ? std::string(1, character)
                     : fmt::format("\\x{:02x}", static_cast<unsigned char>(character));
  }
  return text;
}

std::string type_of(const TensorType& tensor) { return type_text(tensor.element, tensor.shape); }

std::string render_lines(const std::vector<Line>& lines) {
  std::array<size_t, 3> widths = {};
  for (const Line& line : lines) {
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  }
  std::string text;
  for (const Line& line : lines) {
    std::string row =
        fmt::format("  {:<{}}  {:<{}}  {}", line[0], widths[0], line[1], widths[1], line[2]);
    row.erase(row.find_last_not_of(' ') + 1);
    text += "\n" + row;
  }
  return text;
}

}  // namespace

std::optional<std::string> tensor_differences(const std::vector<TensorType>& expected,
                                              const std::vector<TensorType>& found,
                                              bool more_may_be_found) {
  std::map<std::string, const TensorType*> wanted;
  std::map<std::string, const TensorType*> given;
  for (const TensorType& tensor : expected) wanted.emplace(tensor.name, &tensor);
  for (const TensorType& tensor : found) given.emplace(tensor.name, &tensor);
  std::vector<std::string> free_names;
  for (const TensorType& tensor : found) {
    if (!wanted.contains(tensor.name) && free_names.size() < most_compared) {
      free_names.push_back(tensor.name);
    }
  }
  std::vector<Line> lines = {{"", "expected", "found"}};
  for (const TensorType& tensor : expected) {
    const auto other = given.find(tensor.name);
    if (other == given.end()) {
      std::string there = "-";
      const bool is_shown = lines.size() <= most_lines;
      if (auto near = is_shown ? nearest_name(tensor.name, free_names, tensor.name.size() / 2)
                               : std::nullopt) {
        there += fmt::format(" (nearest: {}, {})", printable(*near), type_of(*given.at(*near)));
      }
      lines.push_back({printable(tensor.name), type_of(tensor), std::move(there)});
    } else if (other->second->element != tensor.element || other->second->shape != tensor.shape) {
      lines.push_back({printable(tensor.name), type_of(tensor), type_of(*other->second)});
    }
  }
  if (!more_may_be_found) {
    for (const TensorType& tensor : found) {
      if (wanted.contains(tensor.name)) continue;
      lines.push_back({printable(tensor.name), "-", type_of(tensor)});
    }
  }
  if (lines.size() == 1) return std::nullopt;
  const size_t left_out = lines.size() > most_lines + 1 ? lines.size() - most_lines - 1 : 0;
  if (left_out != 0) lines.resize(most_lines + 1);
  std::string text = render_lines(lines);
  if (left_out != 0) text += fmt::format("\n  and {} more", left_out);
  return text;
}

}  // namespace fusegrad::runtime
