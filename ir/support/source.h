// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Source text and positions in it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fusegrad {

/// A range of bytes [begin, end) of the file with number `file` in a SourceManager. A default span
/// is "nowhere".
struct Span {
  static constexpr uint32_t no_file = 0xffffffffU;
  uint32_t file = no_file;
  uint32_t begin = 0;
  uint32_t end = 0;

  bool valid() const { return file != no_file; }
  bool operator==(const Span&) const = default;
};

/// The smallest span that covers both; they must be in one file (an invalid one is ignored).
Span join(Span first, Span second);

/// A position for people: both count from 1; `column` counts bytes.
struct LineColumn {
  uint32_t line = 1;
  uint32_t column = 1;
};

/// Owns the texts that spans point into. Files are only ever added.
class SourceManager {
 public:
  /// Adds a file; `name` is what messages print. Returns its number. A UTF-8 byte order mark is
  /// dropped. The caller limits what it reads (the lexer refuses more than 16 MiB); what 32-bit
  /// offsets cannot reach is cut off.
  uint32_t add(std::string name, std::string text);
  std::string_view name(uint32_t file) const;
  std::string_view text(uint32_t file) const;
  std::string_view text(Span span) const;
  LineColumn position(uint32_t file, uint32_t offset) const;
  /// The line with that number (from 1), without its end-of-line characters.
  std::string_view line(uint32_t file, uint32_t line) const;

 private:
  struct File {
    std::string name;
    std::string text;
    std::vector<uint32_t> line_starts;
  };
  std::vector<File> files_;
};

}  // namespace fusegrad
