// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Words and signs of the text form of IR stages (T, K and L).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/support/diagnostics.h"
#include "ir/support/source.h"
#include "ir/types.h"

namespace fusegrad::ir {

/// Code of every message about the text of a stage file.
inline constexpr const char* stage_text_error_code = "E0901";

enum class TokenKind : uint8_t {
  name,    ///< a letter or `_`, then letters, digits, `_`, `'`, and `.` between two of these
  number,  ///< digits, optionally with fraction and exponent (no sign); inf, nan
  sign,    ///< ( ) [ ] { } , : @ = == != < <= > >= <- + - * / // % ^ ..
  end,     ///< after the last token, again and again
};

struct Token {
  TokenKind kind = TokenKind::end;
  std::string_view text;    ///< points into the source; of a number without its suffix
  std::string_view suffix;  ///< of a number written like `7:i32`: "i32" (no blank around the colon)
  Span span;
};

/// True for a name of a tensor, buffer or index: the form of TokenKind::name and no reserved word
/// (if then else and or not true false inf nan where in).
bool is_valid_name(std::string_view name);

/// Splits a stage file into tokens and reads the small things that all levels share. White space
/// (newlines included) separates tokens; `#` starts a comment to the end of the line. The first
/// error is reported to the Diagnostics (code E0901) and ends the reading: afterwards every token
/// is `end`, everything fails and nothing more is reported. So a parser may check `failed()`
/// rarely.
class TextReader {
 public:
  /// Reads all of file `file` of `sources`, which must outlive the reader
  /// unchanged.
  TextReader(const SourceManager& sources, uint32_t file, Diagnostics& diagnostics);

  /// The token `ahead` places after the next one.
  const Token& peek(size_t ahead = 0) const;
  /// Takes the next token.
  Token take();
  /// Whether the token is the name or sign `text`.
  bool at(std::string_view text, size_t ahead = 0) const;
  bool at_name(size_t ahead = 0) const { return peek(ahead).kind == TokenKind::name; }
  bool at_end() const { return peek().kind == TokenKind::end; }
  /// Takes the token if it is `text`.
  bool accept(std::string_view text);
  /// Takes `text`, or reports "expected `text`" and fails.
  bool expect(std::string_view text);

  /// These report "expected ..." and return nothing (or an empty string) when something else stands
  /// there. `what` completes the message: "the name of a tensor".
  std::string take_name(std::string_view what);
  /// An integer, optionally with `-` in front.
  std::optional<int64_t> take_integer(std::string_view what);
  /// `784`, `rows` or `rows*28`; sizes are at least 0 and fit 63 bits. `batch` is the value of
  /// rows.
  std::optional<Extent> take_extent(int64_t batch);
  /// `u8[rows, 28, 28]` without the type: `[rows, 28, 28]`; `[]` is rank 0.
  std::optional<Shape> take_shape(int64_t batch);
  std::optional<ScalarType> take_scalar_type();
  /// `f32` or `f32x8`.
  std::optional<Type> take_type();

  /// Reports an error at `span` and fails.
  void error(Span span, std::string message);
  /// The same at the next token, with what was found: "expected X, found `y`".
  void error_expected(std::string_view what);
  bool failed() const { return failed_; }

 private:
  void tokenize(const SourceManager& sources, uint32_t file);

  Diagnostics& diagnostics_;
  std::vector<Token> tokens_;  ///< the last one is `end`
  size_t position_ = 0;
  bool failed_ = false;
};

/// `f32`, `f32x8`, ...: lanes 1 to 64; nothing for anything else.
std::optional<Type> parse_type(std::string_view text);

}  // namespace fusegrad::ir
