// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A ragged or half-quoted table must never become numbers in the wrong columns, so whatever departs
// from the format ends the reading.
#include "runtime/core/csv_scanner.h"

namespace fusegrad::runtime {

namespace {

constexpr int64_t csv_piece = int64_t{256} << 10;

bool is_blank(int character) { return character == ' ' || character == '\t'; }

}  // namespace

CsvScanner::CsvScanner(ContentStream& stream, char separator, const ReadLimits& limits)
    : stream_(stream), separator_(separator), limits_(limits), piece_(csv_piece) {}

std::string_view CsvScanner::field(int64_t column) const {
  const auto index = static_cast<size_t>(column);
  const size_t begin = index == 0 ? 0 : ends_[index - 1];
  return std::string_view(text_).substr(begin, ends_[index] - begin);
}

std::string CsvScanner::place(int64_t line, int64_t column) const {
  return fmt::format("{}, line {}, column {}", quoted(stream_.file().path), line, column);
}

bool CsvScanner::fail(std::string message) {
  failure_ = malformed(stream_.file().path, fmt::format("{}: {}", place(line_, fields()), message));
  return false;
}

/// False at the end and after a failure.
bool CsvScanner::refill() {
  if (stream_ended_ || failure_) return false;
  Expected<int64_t, DataFailure> count = stream_.read(piece_, limits_);
  if (!count) {
    failure_ = count.error();
    return false;
  }
  available_ = *count;
  next_ = 0;
  stream_ended_ = *count < csv_piece;
  if (stream_.position() > limits_.largest_bytes) {
    failure_ = data_failure(
        DataFailureKind::too_large, stream_.file().path,
        fmt::format("{}: {} more than the limit of {} bytes", stream_.place(limits_.largest_bytes),
                    stream_.has_text(), limits_.largest_bytes));
    return false;
  }
  return available_ > 0;
}

int CsvScanner::peek() {
  if (next_ >= available_ && !refill()) return end_of_text;
  return static_cast<int>(piece_[static_cast<size_t>(next_)]);
}

bool CsvScanner::add(char character) {
  if (++row_bytes_ > largest_row) {
    return fail(fmt::format("expected a row of at most {} bytes, found a longer one", largest_row));
  }
  text_ += character;
  return true;
}

void CsvScanner::skip_byte_order_mark() {
  if (peek() == end_of_text || available_ < 3) return;
  if (piece_[0] == std::byte{0xef} && piece_[1] == std::byte{0xbb} &&
      piece_[2] == std::byte{0xbf}) {
    next_ = 3;
  }
}

Expected<bool, DataFailure> CsvScanner::next() {
  if (row_line_ == 1 && line_ == 1 && next_ == 0 && available_ == 0) skip_byte_order_mark();
  text_.clear();
  ends_.clear();
  quoted_.clear();
  row_bytes_ = 0;
  row_line_ = line_;
  if (peek() == end_of_text) {
    if (failure_) return *failure_;
    return false;
  }
  while (true) {
    if (!read_field()) return *failure_;
    const int sign = peek();
    if (failure_) return *failure_;
    ends_.push_back(text_.size());
    if (sign == end_of_text) return true;
    advance();
    // A separator is counted too, so that a row of empty fields has an end.
    if (sign == separator_) {
      if (++row_bytes_ <= largest_row) continue;
      fail(fmt::format("expected a row of at most {} bytes, found a longer one", largest_row));
      return *failure_;
    }
    if (sign == '\r') {
      if (peek() != '\n') {
        if (!failure_) fail("expected a line feed behind the carriage return");
        return *failure_;
      }
      advance();
    }
    ++line_;
    return true;
  }
}

/// Reads up to the separator, the line's end or the text's end, which stays.
bool CsvScanner::read_field() {
  while (is_blank(peek()) && peek() != separator_) advance();
  const bool in_quotes = peek() == '"';
  quoted_.push_back(in_quotes);
  if (!(in_quotes ? read_quoted() : read_unquoted())) return false;
  return !failure_;
}

bool CsvScanner::read_unquoted() {
  const size_t begin = text_.size();
  while (true) {
    const int character = peek();
    if (character == end_of_text || character == '\n' || character == '\r' ||
        character == separator_) {
      break;
    }
    if (character == '"') {
      return fail(
          "found a quote inside a field that does not begin with one; write the field in "
          "quotes and the quote twice");
    }
    if (!add(static_cast<char>(character))) return false;
    advance();
  }
  while (text_.size() > begin && is_blank(text_.back())) text_.pop_back();
  return true;
}

bool CsvScanner::read_quoted() {
  const int64_t first_line = line_;
  advance();
  while (true) {
    const int character = peek();
    if (character == end_of_text) {
      if (failure_) return false;
      return fail(fmt::format("the file ends inside the quotes that begin in line {}", first_line));
    }
    advance();
    if (character == '"') {
      if (peek() != '"') break;
      advance();
    }
    if (character == '\n') ++line_;
    if (!add(static_cast<char>(character))) return false;
  }
  while (is_blank(peek()) && peek() != separator_) advance();
  const int sign = peek();
  if (sign == end_of_text || sign == '\n' || sign == '\r' || sign == separator_) return true;
  return fail("expected the field's end behind its closing quote");
}

}  // namespace fusegrad::runtime
