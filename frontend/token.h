// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The tokens of the language.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "frontend/ast.h"
#include "ir/support/source.h"

namespace fusegrad::frontend {

// X(enumerator, spelling): every word of the language, and every sign. The words up to `return`
// stand at the beginning of something and never inside an expression.
// clang-format off
#define FUSEGRAD_KEYWORDS(X) \
  X(word_import, "import") X(word_const, "const") X(word_fn, "fn") X(word_deriv, "deriv") X(word_layer, "layer") \
  X(word_optimizer, "optimizer") X(word_gradient, "gradient") X(word_model, "model") X(word_data, "data") \
  X(word_train, "train") X(word_param, "param") X(word_state, "state") X(word_input, "input") \
  X(word_output, "output") X(word_loss, "loss") X(word_metric, "metric") X(word_require, "require") \
  X(word_when, "when") X(word_repeat, "repeat") X(word_return, "return") X(word_if, "if") X(word_then, "then") \
  X(word_else, "else") X(word_and, "and") X(word_or, "or") X(word_not, "not") X(word_where, "where") \
  X(word_in, "in") X(word_as, "as") X(word_for, "for") X(word_true, "true") X(word_false, "false") \
  X(word_inf, "inf") X(word_training, "training") X(word_dim, "dim")
// Longer signs before their prefixes: the lexer takes the first that fits. `;` is no sign of the language, but
// habit writes it, and a token of its own lets the parser say what to do about it.
#define FUSEGRAD_SIGNS(X) \
  X(ellipsis, "...") X(dot_dot, "..") X(left_arrow, "<-") X(right_arrow, "->") X(less_equal, "<=") \
  X(greater_equal, ">=") X(equal_equal, "==") X(not_equal, "!=") X(slash_slash, "//") X(minus, "-") X(plus, "+") \
  X(star, "*") X(slash, "/") X(percent, "%") X(caret, "^") X(less, "<") X(greater, ">") X(assign, "=") \
  X(colon, ":") X(comma, ",") X(at, "@") X(exclamation, "!") X(semicolon, ";") X(left_paren, "(") \
  X(right_paren, ")") X(left_bracket, "[") X(right_bracket, "]") X(left_brace, "{") X(right_brace, "}")
// clang-format on

enum class TokenKind : uint8_t {
  end_of_file,
  name,       ///< starts with a lower-case letter
  dimension,  ///< starts with an upper-case letter
  number,
  string,
#define FUSEGRAD_TOKEN(enumerator, spelling) enumerator,
  FUSEGRAD_KEYWORDS(FUSEGRAD_TOKEN) FUSEGRAD_SIGNS(FUSEGRAD_TOKEN)
#undef FUSEGRAD_TOKEN
};

/// The text of a keyword or sign; of other kinds a description such as "a name".
std::string_view spelling(TokenKind kind);
bool is_keyword(TokenKind kind);

struct Token {
  TokenKind kind = TokenKind::end_of_file;
  bool first_on_line = false;
  bool in_group = false;  ///< between `(` and its `)`, or `[` and its `]`; the brackets themselves
                          ///< count as outside
  bool has_colon =
      false;  ///< left_paren: a `:` stands between it and its `)`, not inside further brackets
  uint32_t begin = 0;  ///< bytes of the file
  uint32_t end = 0;
  /// number, string: its place in TokenStream::numbers or strings. `(`, `)`, `[`, `]`: the place of
  /// its partner in TokenStream::tokens, or its own if it has none.
  uint32_t value = 0;
};

/// All tokens of a file; the last one is end_of_file.
struct TokenStream {
  std::vector<Token> tokens;
  std::vector<ast::Number> numbers;
  std::vector<std::string> strings;  ///< escapes resolved
};

}  // namespace fusegrad::frontend
