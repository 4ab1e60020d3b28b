// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The lexer: one pass over the bytes, one over the tokens to pair brackets. Runs before the parser
// over the whole file, so that the parser may look ahead (`max(a, b)` against `max(k: x[k])`) in
// constant time.
#include "frontend/lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <system_error>
#include <utility>

namespace fusegrad::frontend {
namespace {

// The locale has no say in what a model file means, so <cctype> is not used.
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_word(char c) { return is_digit(c) || is_lower(c) || is_upper(c) || c == '_'; }

struct Spelling {
  TokenKind kind;
  std::string_view text;
};
constexpr Spelling keywords[] = {
#define FUSEGRAD_TOKEN(enumerator, text) {TokenKind::enumerator, text},
    FUSEGRAD_KEYWORDS(FUSEGRAD_TOKEN)
#undef FUSEGRAD_TOKEN
};
constexpr Spelling signs[] = {
#define FUSEGRAD_TOKEN(enumerator, text) {TokenKind::enumerator, text},
    FUSEGRAD_SIGNS(FUSEGRAD_TOKEN)
#undef FUSEGRAD_TOKEN
};

class Lexer {
 public:
  Lexer(const SourceManager& sources, uint32_t file, Diagnostics& diagnostics)
      : text_(sources.text(file)), file_(file), diagnostics_(diagnostics) {}

  TokenStream run() {
    if (text_.size() > max_source_bytes) {
      error("E0010", {file_, 0, 0}, "this file is too large",
            fmt::format("it has {} bytes, the limit is {}", text_.size(), max_source_bytes),
            "split it: definitions can live in a file of their own, read with `import`");
      push(TokenKind::end_of_file, 0, 0);
      return std::move(stream_);
    }
    while (error_count_ < max_lexical_errors) {
      skip_blanks();
      if (at_ >= text_.size()) break;
      lex_token();
    }
    if (at_ < text_.size()) {
      error_count_ = 0;
      error("E0018", span(at_, at_), "too many errors", "the file is read up to here", "");
    }
    first_on_line_ = true;
    push(TokenKind::end_of_file, at_, at_);
    pair_brackets();
    return std::move(stream_);
  }

 private:
  char peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }

  void push(TokenKind kind, size_t begin, size_t end, size_t value = 0) {
    Token token;
    token.kind = kind;
    token.first_on_line = first_on_line_;
    token.begin = static_cast<uint32_t>(begin);
    token.end = static_cast<uint32_t>(end);
    token.value = static_cast<uint32_t>(value);
    stream_.tokens.push_back(token);
    first_on_line_ = false;
  }

  void error(std::string_view code, Span where, std::string message, std::string label,
             std::string help) {
    if (++error_count_ > max_lexical_errors) return;
    Diagnostic diagnostic;
    diagnostic.code = code;
    diagnostic.message = std::move(message);
    diagnostic.primary = {where, std::move(label)};
    if (!help.empty()) diagnostic.helps.push_back(std::move(help));
    diagnostics_.add(std::move(diagnostic));
  }
  Span span(size_t begin, size_t end) const {
    return {file_, static_cast<uint32_t>(begin), static_cast<uint32_t>(end)};
  }

  void skip_blanks() {
    for (; at_ < text_.size(); ++at_) {
      char c = text_[at_];
      if (c == '\n') {
        first_on_line_ = true;
      } else if (c == '#') {
        size_t end = std::min(text_.find('\n', at_), text_.size());
        // An error anywhere in the file, comments included: this is not text.
        size_t nul = text_.substr(at_, end - at_).find('\0');
        if (nul != std::string_view::npos) zero_byte(at_ + nul);
        at_ = end - 1;
      } else if (c != ' ' && c != '\t' && c != '\r') {
        return;
      }
    }
  }

  void lex_token() {
    char c = peek();
    if (is_lower(c) || is_upper(c) || c == '_') return lex_word();
    if (is_digit(c) || (c == '.' && is_digit(peek(1)))) return lex_number();
    if (c == '"') return lex_string();
    for (const Spelling& sign : signs) {
      if (sign.text[0] == c && text_.substr(at_, sign.text.size()) == sign.text) {
        push(sign.kind, at_, at_ + sign.text.size());
        at_ += sign.text.size();
        return;
      }
    }
    bad_character();
  }

  void lex_word() {
    size_t begin = at_;
    while (is_word(peek())) ++at_;
    std::string_view word = text_.substr(begin, at_ - begin);
    if (word.size() > max_name_bytes) {
      error("E0011", span(begin, at_), "this name is too long",
            fmt::format("{} bytes, the limit is {}", word.size(), max_name_bytes), "");
    }
    if (word[0] == '_') {
      error("E0008", span(begin, at_), "a name starts with a letter", "this one starts with `_`",
            "");
    }
    TokenKind kind = is_upper(word[0]) ? TokenKind::dimension : TokenKind::name;
    for (const Spelling& keyword : keywords) {
      if (keyword.text[0] == word[0] && keyword.text == word) kind = keyword.kind;
    }
    push(kind, begin, at_);
  }

  // digits [ "." digits ] [ ("e" | "E") [ "+" | "-" ] digits ], with `_` between digits.
  void lex_number() {
    size_t begin = at_;
    std::string digits;  // without `_`, as from_chars wants it
    bool is_integer = true;
    std::string problem;
    auto take_digits = [&] {
      bool previous_is_digit = false;
      while (is_digit(peek()) || peek() == '_') {
        if (peek() == '_') {
          if (!previous_is_digit || !is_digit(peek(1))) problem = "`_` stands between two digits";
        } else {
          digits += peek();
        }
        previous_is_digit = is_digit(peek());
        ++at_;
      }
    };

    if (peek() == '.') problem = "a number starts with a digit: write a `0` in front";
    take_digits();
    if (peek() == '.' && peek(1) != '.') {
      is_integer = false;
      digits += '.';
      ++at_;
      if (!is_digit(peek()) && problem.empty()) problem = "a digit must follow the `.`";
      take_digits();
    }
    if (peek() == 'e' || peek() == 'E') {
      size_t sign = peek(1) == '+' || peek(1) == '-' ? 1 : 0;
      if (is_digit(peek(1 + sign))) {
        is_integer = false;
        digits += 'e';
        if (peek(1) == '-') digits += '-';
        at_ += 1 + sign;
        take_digits();
      }
    }
    if (is_word(peek())) {  // 3x, 0x10, 1e
      if (problem.empty()) problem = "letters follow the number directly";
      while (is_word(peek())) ++at_;
    }

    ast::Number number;
    number.is_integer = is_integer;
    if (problem.empty()) problem = convert(digits, number);
    if (!problem.empty()) error("E0007", span(begin, at_), "this is not a number", problem, "");
    stream_.numbers.push_back(number);
    push(TokenKind::number, begin, at_, stream_.numbers.size() - 1);
  }

  // Fills in the value; returns what is wrong with it, or "".
  static std::string convert(const std::string& digits, ast::Number& number) {
    if (digits.size() > max_name_bytes) return fmt::format("more than {} digits", max_name_bytes);
    const char* end = digits.data() + digits.size();
    if (number.is_integer) {
      if (std::from_chars(digits.data(), end, number.integer).ec != std::errc()) {
        number.integer = 0;
        return "too large: the largest integer is 9223372036854775807";
      }
    }
    if (std::from_chars(digits.data(), end, number.real).ec != std::errc()) {
      number.real = 0;
      return "outside the numbers that 64 bits can hold, 4.9e-324 to 1.7e308";
    }
    return "";
  }

  void lex_string() {
    size_t begin = at_++;
    std::string value;
    while (true) {
      bool line_ends = at_ >= text_.size() || peek() == '\n' || (peek() == '\r' && peek(1) == '\n');
      if (line_ends) {
        error("E0006", span(begin, at_), "this string does not end",
              "a `\"` is missing on this line", "");
        break;
      }
      char c = text_[at_++];
      if (c == '"') break;
      if (c == '\0') {
        --at_;
        bad_character();
      } else if (c != '\\') {
        value += c;
      } else if (peek() == 'n') {
        value += '\n';
        ++at_;
      } else if (peek() == '"' || peek() == '\\') {
        value += peek();
        ++at_;
      } else {
        size_t length =
            peek() == '\n' || peek() == '\r' || at_ >= text_.size() ? 0 : character_length();
        error("E0006", span(at_ - 1, at_ + length), "unknown escape in a string",
              "the escapes are `\\\"`, `\\\\` and `\\n`", "for a backslash write `\\\\`");
        value += text_.substr(at_, length);
        at_ += length;
      }
    }
    stream_.strings.push_back(std::move(value));
    push(TokenKind::string, begin, at_, stream_.strings.size() - 1);
  }

  // Bytes of the UTF-8 character at the current place; 1 for what is not UTF-8.
  size_t character_length() const {
    size_t length = 1;
    if (static_cast<unsigned char>(peek()) >= 0xC2) {
      while (length < 4 && (static_cast<unsigned char>(peek(length)) & 0xC0) == 0x80) ++length;
    }
    return length;
  }

  void zero_byte(size_t where) {
    error("E0008", span(where, where + 1), "a zero byte in the text", "is this a text file?", "");
  }

  void bad_character() {
    size_t length = character_length();
    unsigned char c = static_cast<unsigned char>(peek());
    std::string message = fmt::format("unexpected character `{}`", text_.substr(at_, length));
    std::string label;
    std::string help;
    if (c == 0) {
      zero_byte(at_++);
      return;
    }
    if (c < 0x20 || c == 0x7F || (c >= 0x80 && length == 1)) {
      message = fmt::format("unexpected byte 0x{:02x}", c);
      label = c >= 0x80 ? "not UTF-8" : "a control character";
    } else if (c == '&' || c == '|') {
      size_t more = peek(1) == peek() ? 1 : 0;
      length += more;
      help = c == '&' ? "write `and`" : "write `or`";
    } else if (c == '\'') {
      help = "strings stand between `\"`";
    } else if (c == '.') {
      help = "a range is written `0..n`; `...` stands for any number of dimensions";
    } else if (c >= 0x80) {
      label = "names, numbers and signs are ASCII";
    }
    error("E0008", span(at_, at_ + length), std::move(message), std::move(label), std::move(help));
    at_ += length;
  }

  // Words that no expression contains.
  static bool begins_statement(TokenKind kind) {
    return (kind >= TokenKind::word_import && kind <= TokenKind::word_return);
  }

  void pair_brackets() {
    std::vector<Token>& tokens = stream_.tokens;
    std::vector<uint32_t> open;
    for (uint32_t i = 0; i < tokens.size(); ++i) {
      Token& token = tokens[i];
      TokenKind kind = token.kind;
      if (is_bracket(kind)) token.value = i;
      if (kind == TokenKind::left_paren || kind == TokenKind::left_bracket) {
        open.push_back(i);
      } else if (kind == TokenKind::right_paren || kind == TokenKind::right_bracket) {
        TokenKind wanted =
            kind == TokenKind::right_paren ? TokenKind::left_paren : TokenKind::left_bracket;
        // `(a[i)`: the `[` was forgotten to be closed, the `(` was not. A `]` of its own closes
        // nothing.
        if (open.size() >= 2 && tokens[open.back()].kind != wanted &&
            tokens[open[open.size() - 2]].kind == wanted) {
          open.pop_back();
        }
        if (!open.empty() && tokens[open.back()].kind == wanted) {
          token.value = open.back();
          tokens[open.back()].value = i;
          open.pop_back();
        }
      } else if (kind == TokenKind::colon) {
        if (!open.empty()) tokens[open.back()].has_colon = true;
      } else if (kind == TokenKind::left_brace || kind == TokenKind::right_brace ||
                 (token.first_on_line && begins_statement(kind))) {
        open.clear();
      }
    }
    size_t depth = 0;
    for (uint32_t i = 0; i < tokens.size(); ++i) {
      bool is_paired = is_bracket(tokens[i].kind) && tokens[i].value != i;
      if (is_paired && tokens[i].value < i) --depth;
      tokens[i].in_group = depth > 0;
      if (is_paired && tokens[i].value > i) ++depth;
    }
  }

  static bool is_bracket(TokenKind kind) {
    return kind >= TokenKind::left_paren && kind <= TokenKind::right_bracket;
  }

  std::string_view text_;
  uint32_t file_;
  Diagnostics& diagnostics_;
  TokenStream stream_;
  size_t at_ = 0;
  size_t error_count_ = 0;
  bool first_on_line_ = true;
};

}  // namespace

std::string_view spelling(TokenKind kind) {
  switch (kind) {
    case TokenKind::end_of_file:
      return "the end of the file";
    case TokenKind::name:
      return "a name";
    case TokenKind::dimension:
      return "a dimension name";
    case TokenKind::number:
      return "a number";
    case TokenKind::string:
      return "a string";
#define FUSEGRAD_TOKEN(enumerator, text) \
  case TokenKind::enumerator:            \
    return text;
      FUSEGRAD_KEYWORDS(FUSEGRAD_TOKEN)
      FUSEGRAD_SIGNS(FUSEGRAD_TOKEN)
#undef FUSEGRAD_TOKEN
  }
  return "";
}

bool is_keyword(TokenKind kind) {
  return kind >= TokenKind::word_import && kind <= TokenKind::word_dim;
}

TokenStream lex(const SourceManager& sources, uint32_t file, Diagnostics& diagnostics) {
  return Lexer(sources, file, diagnostics).run();
}

}  // namespace fusegrad::frontend
