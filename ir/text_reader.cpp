// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Tokens of stage files. The whole file is split at once: parsers look ahead by plain indexing.
#include "ir/text_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace fusegrad::ir {
namespace {

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool continues_name(char c) { return is_letter(c) || is_digit(c) || c == '\''; }

/// Length of the name at the start of `text`, 0 if there is none.
size_t name_length(std::string_view text) {
  if (text.empty() || !is_letter(text[0])) return 0;
  size_t length = 1;
  while (length < text.size()) {
    bool dot_inside =
        text[length] == '.' && length + 1 < text.size() && continues_name(text[length + 1]);
    if (!continues_name(text[length]) && !dot_inside) break;
    ++length;
  }
  return length;
}

size_t digits_length(std::string_view text) {
  size_t length = 0;
  while (length < text.size() && is_digit(text[length])) ++length;
  return length;
}

/// Length of the number at the start of `text`: `12`, `1.5`, `1e-07`. `0..10` starts with `0`.
size_t number_length(std::string_view text) {
  size_t length = digits_length(text);
  if (length == 0) return 0;
  if (length + 1 < text.size() && text[length] == '.' && is_digit(text[length + 1])) {
    length += 1 + digits_length(text.substr(length + 1));
  }
  if (length < text.size() && (text[length] == 'e' || text[length] == 'E')) {
    size_t exponent = length + 1;
    if (exponent < text.size() && (text[exponent] == '+' || text[exponent] == '-')) ++exponent;
    size_t digits = digits_length(text.substr(std::min(exponent, text.size())));
    if (digits != 0) length = exponent + digits;
  }
  return length;
}

/// The type in `:i32` right behind a number; "" if there is none. A `(` behind it means a
/// conversion instead: `where i < 7:f32(x)`.
std::string_view type_suffix(std::string_view text) {
  if (text.empty() || text[0] != ':') return {};
  std::string_view word = text.substr(1, name_length(text.substr(1)));
  if (!parse_type(word)) return {};
  if (1 + word.size() < text.size() && text[1 + word.size()] == '(') return {};
  return word;
}

// Longest first, so that `<` does not hide `<=`.
constexpr std::array<std::string_view, 29> signs = {
    "==", "!=", "<=", ">=", "<-", "//", "..", "(", ")", "[", "]", "{", "}", ",", ":",
    "@",  "=",  "<",  ">",  "+",  "-",  "*",  "/", "%", "^", "!", "&", ";", "?"};

constexpr std::array<std::string_view, 12> reserved_words = {
    "if", "then", "else", "and", "or", "not", "true", "false", "inf", "nan", "where", "in"};

}  // namespace

bool is_valid_name(std::string_view name) {
  if (name.empty() || name_length(name) != name.size()) return false;
  for (std::string_view word : reserved_words) {
    if (name == word) return false;
  }
  return true;
}

std::optional<Type> parse_type(std::string_view text) {
  if (std::optional<ScalarType> scalar = parse_scalar_type(text)) return Type{*scalar, 1};
  size_t cross = text.rfind('x');
  if (cross == std::string_view::npos || cross + 1 >= text.size()) return std::nullopt;
  std::optional<ScalarType> scalar = parse_scalar_type(text.substr(0, cross));
  if (!scalar || text[cross + 1] == '0') return std::nullopt;
  int lanes = 0;
  const char* end = text.data() + text.size();
  auto [stop, status] = std::from_chars(text.data() + cross + 1, end, lanes);
  if (status != std::errc() || stop != end || lanes < 2 || lanes > 64) return std::nullopt;
  return Type{*scalar, lanes};
}

TextReader::TextReader(const SourceManager& sources, uint32_t file, Diagnostics& diagnostics)
    : diagnostics_(diagnostics) {
  tokenize(sources, file);
}

void TextReader::tokenize(const SourceManager& sources, uint32_t file) {
  const std::string_view text = sources.text(file);
  size_t at = 0;
  auto span = [&](size_t length) {
    return Span{file, static_cast<uint32_t>(at), static_cast<uint32_t>(at + length)};
  };
  while (at < text.size()) {
    const char c = text[at];
    if (c == ' ' || c == '\n' || c == '\t' || c == '\r') {
      ++at;
      continue;
    }
    if (c == '#') {
      at = std::min(text.find('\n', at), text.size());
      continue;
    }
    const std::string_view rest = text.substr(at);
    Token token;
    const size_t number_end = number_length(rest);
    size_t length = name_length(rest);
    const std::string_view word = rest.substr(0, length);
    if (word == "inf" || word == "nan") {
      const std::string_view suffix = type_suffix(rest.substr(length));
      if (!suffix.empty()) length += 1 + suffix.size();
      token = {TokenKind::number, word, suffix, span(length)};
    } else if (length != 0) {
      token = {TokenKind::name, word, {}, span(length)};
    } else if (number_end != 0) {
      const std::string_view number = rest.substr(0, number_end);
      const std::string_view suffix = type_suffix(rest.substr(number_end));
      length = number_end;
      if (!suffix.empty()) length += 1 + suffix.size();
      token = {TokenKind::number, number, suffix, span(length)};
    } else {
      for (std::string_view sign : signs) {
        if (rest.starts_with(sign)) {
          length = sign.size();
          break;
        }
      }
      if (length == 0) {
        tokens_.push_back({TokenKind::end, {}, {}, span(1)});
        error(span(1), "unexpected character");
        return;
      }
      token = {TokenKind::sign, rest.substr(0, length), {}, span(length)};
    }
    tokens_.push_back(token);
    at += length;
  }
  tokens_.push_back({TokenKind::end, {}, {}, span(0)});
}

const Token& TextReader::peek(size_t ahead) const {
  // After an error nothing more is read: everybody sees the end.
  size_t wanted = failed_ ? tokens_.size() - 1 : position_ + ahead;
  return tokens_[std::min(wanted, tokens_.size() - 1)];
}

Token TextReader::take() {
  Token token = peek();
  if (!failed_ && position_ + 1 < tokens_.size()) ++position_;
  return token;
}

bool TextReader::at(std::string_view text, size_t ahead) const {
  const Token& token = peek(ahead);
  return (token.kind == TokenKind::name || token.kind == TokenKind::sign) && token.text == text;
}

bool TextReader::accept(std::string_view text) {
  if (!at(text)) return false;
  take();
  return true;
}

bool TextReader::expect(std::string_view text) {
  if (accept(text)) return true;
  error_expected(fmt::format("`{}`", text));
  return false;
}

std::string TextReader::take_name(std::string_view what) {
  if (at_name() && is_valid_name(peek().text)) return std::string(take().text);
  error_expected(what);
  return {};
}

std::optional<int64_t> TextReader::take_integer(std::string_view what) {
  const bool negative = at("-");
  const Token number = peek(negative ? 1 : 0);
  if (number.kind != TokenKind::number || !number.suffix.empty()) {
    error_expected(what);
    return std::nullopt;
  }
  // The sign belongs to the conversion: the smallest integer has no positive counterpart.
  std::string digits = negative ? "-" : "";
  digits += number.text;
  int64_t value = 0;
  auto [stop, status] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (status == std::errc::result_out_of_range) {
    error(number.span, "this integer does not fit 64 bits");
    return std::nullopt;
  }
  if (status != std::errc() || stop != digits.data() + digits.size()) {
    error_expected(what);
    return std::nullopt;
  }
  if (negative) take();
  take();
  return value;
}

std::optional<Extent> TextReader::take_extent(int64_t batch) {
  const Span start = peek().span;
  if (accept("rows")) {
    int64_t factor = 1;
    if (accept("*")) {
      std::optional<int64_t> number = take_integer("the number of elements per row");
      if (!number) return std::nullopt;
      factor = *number;
    }
    if (factor < 1 || !checked_multiply(batch, factor)) {
      error(start, "a multiple of rows must be at least 1 and fit 63 bits at the full batch");
      return std::nullopt;
    }
    return Extent::of_rows(batch, factor);
  }
  std::optional<int64_t> number = take_integer("a size");
  if (!number) return std::nullopt;
  if (*number < 0) {
    error(start, "a size is not negative");
    return std::nullopt;
  }
  return Extent::number(*number);
}

std::optional<Shape> TextReader::take_shape(int64_t batch) {
  Shape shape;
  const Span start = peek().span;
  if (!expect("[")) return std::nullopt;
  if (!accept("]")) {
    do {
      std::optional<Extent> extent = take_extent(batch);
      if (!extent) return std::nullopt;
      shape.push_back(*extent);
    } while (accept(","));
    if (!expect("]")) return std::nullopt;
  }
  if (!element_count(shape)) {
    error(start, "the number of elements does not fit 63 bits");
    return std::nullopt;
  }
  return shape;
}

std::optional<ScalarType> TextReader::take_scalar_type() {
  if (at_name()) {
    if (std::optional<ScalarType> type = parse_scalar_type(peek().text)) {
      take();
      return type;
    }
  }
  error_expected("an element type (bool, u8, i32, i64, f32, f64)");
  return std::nullopt;
}

std::optional<Type> TextReader::take_type() {
  if (at_name()) {
    if (std::optional<Type> type = parse_type(peek().text)) {
      take();
      return type;
    }
  }
  error_expected("a type");
  return std::nullopt;
}

void TextReader::error(Span span, std::string message) {
  if (failed_) return;
  failed_ = true;
  diagnostics_.add(
      {Severity::error, stage_text_error_code, std::move(message), {span, ""}, {}, {}, {}});
}

void TextReader::error_expected(std::string_view what) {
  const Token& found = peek();
  if (found.kind == TokenKind::end) {
    error(found.span, fmt::format("expected {}, found the end of the text", what));
  } else {
    error(found.span, fmt::format("expected {}, found `{}`", what, found.text));
  }
}

}  // namespace fusegrad::ir
