// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Tables. Every cell that is used must hold a value, and every row as many fields as the first one:
// what is not a number is an error with line and column, never a NaN.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

#include "runtime/core/csv_scanner.h"
#include "runtime/core/readers.h"

namespace fusegrad::runtime {

namespace {

constexpr int64_t first_rows = 1024;

class CsvReader {
 public:
  CsvReader(const ReadRequest& request, ContentStream& stream)
      : request_(request),
        path_(request.file.path),
        scanner_(stream, separator(request), request.limits),
        categories_(find_argument<std::vector<std::string>>(request.arguments, "categories")) {
    column_.element = request.input.element;
  }

  Expected<Column, DataFailure> read() {
    if (read_all()) return std::move(column_);
    return *failure_;
  }

 private:
  static char separator(const ReadRequest& request) {
    const auto text = argument_or<std::string>(request.arguments, "separator", ",");
    RUNTIME_CHECK(text.size() == 1, "separator {}", text);
    return text[0];
  }

  bool fail(DataFailureKind kind, std::string message) {
    failure_ = data_failure(kind, path_, std::move(message));
    return false;
  }
  /// "`file`, line 3, column 2 (`age`)", for the current row.
  std::string place(int64_t column) const {
    std::string text = scanner_.place(scanner_.line(), column);
    if (column < static_cast<int64_t>(names_.size())) {
      text += fmt::format(" ({})", quoted(names_[static_cast<size_t>(column)]));
    }
    return text;
  }
  bool fail_cell(int64_t column, std::string message) {
    return fail(DataFailureKind::malformed, fmt::format("{}: {}", place(column), message));
  }

  /// False after a failure, and at the end with `ended_` set.
  bool next_row() {
    Expected<bool, DataFailure> row = scanner_.next();
    if (!row) {
      failure_ = row.error();
      return false;
    }
    ended_ = !*row;
    return *row;
  }

  bool read_all() {
    const bool has_header = argument_or<bool>(request_.arguments, "header", true);
    if (!next_row()) {
      if (!ended_) return false;
      return fail(DataFailureKind::malformed, fmt::format("{} is empty; expected {}", quoted(path_),
                                                          has_header ? "a line of names" : "rows"));
    }
    width_ = scanner_.fields();
    width_line_ = scanner_.line();
    if (has_header) {
      for (int64_t i = 0; i < width_; ++i) names_.emplace_back(scanner_.field(i));
    }
    if (!choose_columns()) return false;
    if (const auto* rows = find_argument<std::vector<int64_t>>(request_.arguments, "rows")) {
      RUNTIME_CHECK(rows->size() == 2, "rows of {} numbers", rows->size());
      first_row_ = (*rows)[0];
      end_row_ = (*rows)[1];
    }
    if (has_header && !next_row() && !ended_) return false;
    for (; !ended_; ++row_) {
      if (!read_row()) return false;
      if (!next_row() && !ended_) return false;
    }
    if (end_row_ != all_rows && row_ < end_row_) {
      return fail(DataFailureKind::malformed,
                  fmt::format("{}: expected rows {} to {}, as `rows` says; the file has {}",
                              quoted(path_), first_row_, end_row_ - 1, row_));
    }
    column_.shape = {stored_};
    if (is_matrix_) column_.shape.push_back(static_cast<int64_t>(columns_.size()));
    if (!column_.bytes.resize(used_bytes_)) {
      failure_ = no_memory_for(path_, used_bytes_);
      return false;
    }
    return true;
  }

  // ---- which columns

  bool choose_columns() {
    if (const auto* number = std::get_if<int64_t>(argument("column"))) {
      return add_range(*number, *number + 1, "column");
    }
    if (const auto* name = std::get_if<std::string>(argument("column"))) return add_name(*name);
    is_matrix_ = true;
    if (const auto* range = std::get_if<std::vector<int64_t>>(argument("columns"))) {
      RUNTIME_CHECK(range->size() == 2, "columns of {} numbers", range->size());
      return add_range((*range)[0], (*range)[1], "columns");
    }
    if (const auto* names = std::get_if<std::vector<std::string>>(argument("columns"))) {
      return std::all_of(names->begin(), names->end(),
                         [&](const std::string& name) { return add_name(name); });
    }
    return add_range(0, width_, "columns");
  }

  const ReaderValue* argument(std::string_view name) const {
    for (const ReaderArgument& each : request_.arguments) {
      if (each.name == name) return &each.value;
    }
    return nullptr;
  }

  bool add_range(int64_t begin, int64_t end, const char* argument_name) {
    if (begin < 0 || end > width_) {
      return fail(DataFailureKind::does_not_fit,
                  fmt::format("{}, line {}: expected columns up to {}, as `{}` says; found columns "
                              "0 to {}",
                              quoted(path_), width_line_, end - 1, argument_name, width_ - 1));
    }
    for (int64_t i = begin; i < end; ++i) columns_.push_back(i);
    return true;
  }

  bool add_name(const std::string& name) {
    const auto found = std::find(names_.begin(), names_.end(), name);
    if (found == names_.end()) {
      std::string known;
      for (size_t i = 0; i < names_.size() && i < 20; ++i) {
        known += fmt::format("{}{}", i == 0 ? "" : ", ", quoted(names_[i]));
      }
      fail(DataFailureKind::does_not_fit,
           fmt::format("{}, line {}: expected a column {}, found none of that name", quoted(path_),
                       width_line_, quoted(name)));
      failure_->notes.push_back("the first line names " + known);
      return false;
    }
    if (std::find(found + 1, names_.end(), name) != names_.end()) {
      return fail(DataFailureKind::malformed,
                  fmt::format("{}, line {}: expected one column {}, found several", quoted(path_),
                              width_line_, quoted(name)));
    }
    columns_.push_back(found - names_.begin());
    return true;
  }

  // ---- rows

  bool read_row() {
    if (scanner_.fields() != width_) {
      const bool blank = scanner_.fields() == 1 && scanner_.field(0).empty();
      return fail(
          DataFailureKind::malformed,
          fmt::format("{}, line {}: expected {} columns, as in line {}, found {}", quoted(path_),
                      scanner_.line(), width_, width_line_,
                      blank ? std::string("an empty line") : fmt::format("{}", scanner_.fields())));
    }
    if (row_ < first_row_ || row_ >= end_row_) return true;
    const int64_t row_bytes = static_cast<int64_t>(columns_.size()) * element_size(column_.element);
    if (!reserve(row_bytes)) return false;
    for (const int64_t column : columns_) {
      if (!read_cell(column)) return false;
    }
    ++stored_;
    return true;
  }

  bool reserve(int64_t row_bytes) {
    if (used_bytes_ + row_bytes > request_.limits.largest_bytes) {
      return fail(DataFailureKind::too_large,
                  fmt::format("{}, line {}: the values take more than the limit of {} bytes",
                              quoted(path_), scanner_.line(), request_.limits.largest_bytes));
    }
    if (used_bytes_ + row_bytes <= column_.bytes.size()) return true;
    const int64_t wanted = std::max(2 * column_.bytes.size(), first_rows * row_bytes);
    if (column_.bytes.resize(wanted)) return true;
    failure_ = no_memory_for(path_, wanted);
    return false;
  }

  bool read_cell(int64_t column) {
    const std::string_view text = scanner_.field(column);
    if (categories_ != nullptr) {
      const auto found = std::find(categories_->begin(), categories_->end(), text);
      if (found == categories_->end()) {
        return fail_cell(
            column, text.empty()
                        ? std::string("the value is missing")
                        : fmt::format("expected one of `categories`, found {}", shortened(text)));
      }
      return store_integer(column, text, found - categories_->begin());
    }
    if (text.empty()) return fail_cell(column, "the value is missing");
    switch (column_.element) {
      case ElementType::boolean:
        if (text == "true") return store_integer(column, text, 1);
        if (text == "false") return store_integer(column, text, 0);
        return read_integer(column, text);
      case ElementType::u8:
      case ElementType::i32:
        return read_integer(column, text);
      case ElementType::f32:
        return read_real<float>(column, text);
      case ElementType::f64:
        return read_real<double>(column, text);
    }
    return false;
  }

  static std::string shortened(std::string_view text) {
    return text.size() <= 40 ? quoted(text) : quoted(std::string(text.substr(0, 40)) + "...");
  }

  bool fail_value(int64_t column, std::string_view text) {
    switch (column_.element) {
      case ElementType::boolean:
        return fail_cell(
            column, fmt::format("expected a bool, 0, 1, true or false, found {}", shortened(text)));
      case ElementType::u8:
        return fail_cell(column, fmt::format("expected a u8, 0 to 255, found {}", shortened(text)));
      case ElementType::i32:
        return fail_cell(column, fmt::format("expected an i32, an integer of 32 bits, found {}",
                                             shortened(text)));
      case ElementType::f32:
      case ElementType::f64:
        return fail_cell(column, fmt::format("expected a finite {}, found {}",
                                             element_name(column_.element), shortened(text)));
    }
    return false;
  }

  bool read_integer(int64_t column, std::string_view text) {
    int64_t value = 0;
    const std::from_chars_result result =
        std::from_chars(text.data(), text.data() + text.size(), value);
    if (result.ec != std::errc() || result.ptr != text.data() + text.size()) {
      return fail_value(column, text);
    }
    return store_integer(column, text, value);
  }

  template <typename Real>
  bool read_real(int64_t column, std::string_view text) {
    const char* begin = text.data();
    const char* end = begin + text.size();
    Real value = 0;
    std::from_chars_result result = std::from_chars(begin, end, value);
    if (result.ec == std::errc::result_out_of_range && sizeof(Real) == sizeof(float)) {
      // A number too small for f32 is 0; one too large is refused.
      double wide = 0;
      result = std::from_chars(begin, end, wide);
      if (!(std::abs(wide) < 1)) return fail_value(column, text);
      value = static_cast<Real>(wide);
    }
    if (result.ec != std::errc() || result.ptr != end || !std::isfinite(value)) {
      return fail_value(column, text);
    }
    append(value);
    return true;
  }

  bool store_integer(int64_t column, std::string_view text, int64_t value) {
    switch (column_.element) {
      case ElementType::boolean:
        if (value < 0 || value > 1) return fail_value(column, text);
        append(static_cast<uint8_t>(value));
        return true;
      case ElementType::u8:
        if (value < 0 || value > 255) return fail_value(column, text);
        append(static_cast<uint8_t>(value));
        return true;
      case ElementType::i32:
        if (value < INT32_MIN || value > INT32_MAX) return fail_value(column, text);
        append(static_cast<int32_t>(value));
        return true;
      case ElementType::f32:
        append(static_cast<float>(value));
        return true;
      case ElementType::f64:
        append(static_cast<double>(value));
        return true;
    }
    return false;
  }

  template <typename T>
  void append(T value) {
    std::memcpy(column_.bytes.data() + used_bytes_, &value, sizeof value);
    used_bytes_ += static_cast<int64_t>(sizeof value);
  }

  static constexpr int64_t all_rows = std::numeric_limits<int64_t>::max();

  const ReadRequest& request_;
  const std::string& path_;
  CsvScanner scanner_;
  const std::vector<std::string>* categories_;
  std::vector<std::string> names_;  ///< empty without a header
  int64_t width_ = 0;
  int64_t width_line_ = 1;
  std::vector<int64_t> columns_;
  bool is_matrix_ = false;
  int64_t first_row_ = 0;
  int64_t end_row_ = all_rows;
  int64_t row_ = 0;
  int64_t stored_ = 0;
  bool ended_ = false;
  Column column_;
  int64_t used_bytes_ = 0;
  std::optional<DataFailure> failure_;
};

}  // namespace

Expected<Column, DataFailure> read_csv(const ReadRequest& request) {
  Expected<ContentStream, DataFailure> stream = ContentStream::open(request.file);
  if (!stream) return stream.error();
  return CsvReader(request, *stream).read();
}

}  // namespace fusegrad::runtime
