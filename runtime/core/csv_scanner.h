// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Splits comma-separated text into rows and fields (RFC 4180).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/content_stream.h"

namespace fusegrad::runtime {

/// One row after the other. Lines end with LF or CR LF; the last may end with the file. A field may
/// stand in quotes, with "" for a quote; there it may hold separators and line ends. Spaces and
/// tabs around a field without quotes are left out. A byte order mark of UTF-8 is skipped.
/// Everything else is a failure with file, line and column. Memory: one row, at most 16 MiB.
class CsvScanner {
 public:
  static constexpr int64_t largest_row = int64_t{16} << 20;

  /// `stream` must outlive the scanner.
  CsvScanner(ContentStream& stream, char separator, const ReadLimits& limits);

  /// Goes to the next row; false at the end.
  Expected<bool, DataFailure> next();

  /// Of the row: its fields, valid until the next one, and its first line, from 1.
  int64_t fields() const { return static_cast<int64_t>(ends_.size()); }
  std::string_view field(int64_t column) const;
  /// A field in quotes means what it says, even with nothing in it.
  bool is_quoted(int64_t column) const { return quoted_[static_cast<size_t>(column)]; }
  int64_t line() const { return row_line_; }
  const ContentStream& stream() const { return stream_; }

  /// "`file`, line 3, column 2"
  std::string place(int64_t line, int64_t column) const;

 private:
  static constexpr int end_of_text = -1;

  /// The next byte, left where it is; end_of_text, or failed_ is set.
  int peek();
  void advance() { ++next_; }
  bool refill();
  bool read_field();
  bool read_quoted();
  bool read_unquoted();
  bool add(char character);
  bool fail(std::string message);
  void skip_byte_order_mark();

  ContentStream& stream_;
  char separator_;
  const ReadLimits& limits_;
  std::vector<std::byte> piece_;
  int64_t available_ = 0;
  int64_t next_ = 0;
  bool stream_ended_ = false;
  std::string text_;
  std::vector<size_t> ends_;
  std::vector<bool> quoted_;
  int64_t row_bytes_ = 0;
  int64_t line_ = 1;
  int64_t row_line_ = 1;
  std::optional<DataFailure> failure_;
};

}  // namespace fusegrad::runtime
