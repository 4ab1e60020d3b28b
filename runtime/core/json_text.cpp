// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A JSON library would be most of what a shipped trainer contains; it writes strings and numbers
// only.
#include "runtime/core/json_text.h"

#include <fmt/format.h>

#include <cmath>

namespace fusegrad::runtime {

size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  // The Unicode Standard, table 3-7: well-formed UTF-8 byte sequences.
  size_t length = 0;
  unsigned second_from = 0x80;
  unsigned second_to = 0xbf;
  if (first >= 0xc2 && first <= 0xdf) {
    length = 2;
  } else if (first >= 0xe0 && first <= 0xef) {
    length = 3;
    if (first == 0xe0) second_from = 0xa0;
    if (first == 0xed) second_to = 0x9f;
  } else if (first >= 0xf0 && first <= 0xf4) {
    length = 4;
    if (first == 0xf0) second_from = 0x90;
    if (first == 0xf4) second_to = 0x8f;
  }
  if (length == 0 || text.size() < length) return 0;
  if (byte(1) < second_from || byte(1) > second_to) return 0;
  for (size_t i = 2; i < length; ++i) {
    if (byte(i) < 0x80 || byte(i) > 0xbf) return 0;
  }
  return length;
}

std::string json_string(std::string_view text) {
  std::string result = "\"";
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    const auto first = static_cast<unsigned char>(text[0]);
    if (length == 0) {
      result += "\\ufffd";
    } else if (first == '"' || first == '\\') {
      result += '\\';
      result += text[0];
    } else if (first < 0x20 || first == 0x7f) {
      result += fmt::format("\\u{:04x}", first);
    } else {
      result += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return result + '"';
}

std::string json_number(double value) {
  // fmt prints the shortest digits that read back equal (Dragonbox), locale or not.
  return std::isfinite(value) ? fmt::format("{}", value) : "null";
}

}  // namespace fusegrad::runtime
