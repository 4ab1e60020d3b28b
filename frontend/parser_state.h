// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The parser's own header: its cursor, its error reports, and one function for each rule of the
// grammar. parser.cpp has the items, parser_statements.cpp the statements, parser_expressions.cpp
// the expressions and parser_state.cpp the rest.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "frontend/ast.h"
#include "frontend/parser.h"
#include "frontend/token.h"
#include "ir/support/diagnostics.h"

namespace fusegrad::frontend {

/// Functions that return bool follow one rule: false means that an error was reported, that the
/// result is not usable and that the cursor stands where the trouble is. Callers pass it up without
/// a word of their own to whoever can recover: the block that holds the statement, or the file. So
/// one mistake makes one message.
class Parser {
 public:
  Parser(const SourceManager& sources, uint32_t file, TokenStream stream)
      : sources_(sources), text_(sources.text(file)), file_(file), stream_(std::move(stream)) {}

  ast::File parse_file();
  std::vector<Diagnostic> take_diagnostics() { return std::move(found_); }

 private:
  enum class BlockKind { layer, model, optimizer, function };
  enum class NameCase { lower, upper, either };

  // ------------------------------------------------------------------------------------- cursor
  // (parser_state.cpp)
  const Token& current() const { return stream_.tokens[at_]; }
  const Token& ahead(size_t count) const;
  bool at(TokenKind kind) const { return current().kind == kind; }
  bool at_end() const { return at(TokenKind::end_of_file); }
  bool at_word(std::string_view word) const;
  bool accept(TokenKind kind);
  void advance();
  Span span_of(const Token& token) const { return {file_, token.begin, token.end}; }
  /// From the token with that number to the last one consumed.
  Span span_since(size_t first_token) const;
  /// The empty place behind the last consumed token.
  Span span_after_previous() const;
  std::string_view text_of(const Token& token) const {
    return text_.substr(token.begin, token.end - token.begin);
  }
  /// Source text for a message: on one line and not too long.
  std::string quote(Span span) const;

  // ------------------------------------------------------------------------------------- errors
  // (parser_state.cpp)
  /// Adds a message; the reference is valid until the next one.
  Diagnostic& report(std::string_view code, Span span, std::string message, std::string label);
  /// E0001 at the current token, or at the end of the line before if the token begins a statement
  /// of its own; `expected` completes "expected ...".
  Diagnostic& report_unexpected(std::string_view expected);
  /// The same; always false.
  bool unexpected(std::string_view expected);
  /// E0001 at the current token with a label of its own.
  Diagnostic& unexpected_with_label(std::string label);
  bool expect(TokenKind kind, std::string_view expected = "");
  /// The bracket that closes the one with that number; E0016 if it is missing.
  bool expect_closing(size_t opening, std::string_view other_possibilities = "");
  bool expect_name(ast::Identifier& out, NameCase wanted, std::string_view what);
  /// E0017 for every name that was there before; empty names do not count.
  class Uniqueness {
   public:
    explicit Uniqueness(Parser& parser) : parser_(parser) {}
    void add(const ast::Identifier& name, std::string_view what);

   private:
    Parser& parser_;
    std::map<std::string_view, Span> seen_;  // the texts are those of the file
  };
  /// Counts a level of nesting while it lives; `ok()` is false, after a report, where there are too
  /// many.
  class Deeper {
   public:
    Deeper(Parser& parser, std::string_view what);
    ~Deeper() { --parser_.nesting_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;
    bool ok() const { return ok_; }

   private:
    Parser& parser_;
    bool ok_;
  };

  // ---------------------------------------------------------------------------------- recovery
  // (parser_state.cpp)
  /// The words before a statement, except `return`.
  static bool is_statement_word(TokenKind kind) {
    return kind == TokenKind::word_const ||
           (kind >= TokenKind::word_param && kind <= TokenKind::word_repeat);
  }
  bool begins_statement(size_t token) const;
  bool begins_item(size_t token) const;
  bool begins_entry(size_t token) const;
  /// Whether a token begins what a block (or a list of keys) holds next.
  bool begins_next(size_t token) const;
  /// At the first token of a line that begins a statement, or at the end of a block or of the file.
  bool at_line_that_begins_next() const;
  void skip_braces();
  /// To the next line that begins a statement, or to the `}`; makes progress past
  /// `statement_begin`.
  void recover_in_block(size_t statement_begin);
  void recover_in_file(size_t item_begin);
  /// To a `{` on the way to the next statement or item; true if there is one.
  bool recover_to_brace();
  /// After a statement: a `;`, or anything that does not begin the next one, is an error here.
  void end_of_statement();

  // -------------------------------------------------------------------------------------------
  // items (parser.cpp)
  bool parse_item(ast::File& out);
  bool parse_import(ast::Import& out);
  bool parse_constant(ast::Constant& out);
  bool parse_function(ast::Function& out);
  bool parse_layer(ast::Layer& out);
  bool parse_layer_header(ast::Layer& out);
  bool parse_layer_parameter(ast::LayerParameter& out);
  bool parse_layer_output(ast::LayerOutput& out);
  bool parse_optimizer(ast::Optimizer& out);
  bool parse_optimizer_header(ast::Optimizer& out);
  bool parse_value_parameters(std::vector<ast::ValueParameter>& out);
  bool parse_model(ast::Model& out);
  bool parse_data(ast::Data& out);
  bool parse_train(ast::Train& out);
  bool parse_split(ast::Split& out);
  bool parse_key(ast::Identifier& out, std::string_view what);
  bool report_missing_brace(size_t opening);
  bool parse_entries(std::vector<ast::Entry>& out);
  std::string documentation_above(const Token& token) const;

  // ------------------------------------------------------------------------- statements
  // (parser_statements.cpp)
  bool parse_block(BlockKind kind, std::vector<ast::Statement>& out,
                   ast::Expression* result = nullptr);
  bool parse_statement(BlockKind kind, ast::Statement& out);
  bool parse_statement_body(BlockKind kind, ast::Statement& out);
  bool parse_declaration(BlockKind kind, ast::Statement& out);
  bool parse_require(ast::Statement& out);
  bool parse_when(BlockKind kind, ast::Statement& out);
  bool parse_repeat(BlockKind kind, ast::Statement& out);
  bool parse_definition(BlockKind kind, ast::Statement& out);
  bool parse_left_indices(std::vector<ast::Binder>& out);
  bool parse_value(ast::Statement& out);
  void check_place(BlockKind kind, const Token& word);
  bool parse_type(ast::Type& out, size_t declaration_begin);
  void check_size_names(const ast::Type& type, size_t declaration_begin);

  // ----------------------------------------------------------------------- expressions
  // (parser_expressions.cpp)
  bool parse_expression(ast::Expression& out);
  bool parse_level(int level, ast::Expression& out);
  bool parse_operators(int level, ast::Expression& out);
  bool parse_prefix(int level, ast::Expression& out);
  bool parse_conditional(ast::Expression& out);
  bool parse_power(ast::Expression& out);
  bool parse_postfix(ast::Expression& out);
  bool parse_read(ast::Expression& out, size_t begin);
  bool parse_primary(ast::Expression& out);
  bool parse_parenthesised(ast::Expression& out);
  bool parse_list(ast::Expression& out);
  bool parse_named(ast::Expression& out);
  bool parse_call(ast::Expression& out);
  bool parse_arguments(ast::Expression& out);
  bool parse_suffixes(ast::Expression& out);
  bool parse_reduction(ast::Expression& out);
  bool parse_binder(ast::Binder& out);
  bool parse_range(ast::Range& out);
  /// Sets span and height; false, after E0009, if the tree has become too high.
  bool finish(ast::Expression& out, size_t begin);
  bool finish_binary(ast::Expression& out);
  bool set_height(ast::Expression& out);
  void take_as_left(ast::Expression& out, ast::BinaryOperator op);

  std::optional<ast::ReductionOperator> reduction_operator(const Token& token) const;
  bool is_reduction_ahead() const;
  bool at_operand_on_this_line() const;
  bool parse_body_after_parenthesis(ast::Expression& out, size_t begin, size_t closing);
  bool skip_chained_comparison(const ast::Expression& out, bool is_reported);
  void suggest_read_with_default(const ast::Expression& conditional);
  void report_repeated_ellipsis(Span first, Span second);

  const SourceManager& sources_;
  std::string_view text_;
  uint32_t file_;
  TokenStream stream_;
  size_t at_ = 0;
  std::vector<Diagnostic> found_;
  Diagnostic surplus_;  // takes what is reported after the limit
  bool gave_up_ = false;
  size_t nesting_ = 0;
  bool in_entries_ = false;       // in a `data` or `train` block: any word before `=` is a key
  bool suffixes_allowed_ = true;  // `as` and `init` after a call
  /// The last chained comparison whose message may still get a better help: its number in found_,
  /// and the middle operand (`i + k` in `0 <= i + k < 28`).
  struct Chain {
    size_t diagnostic = 0;
    Span span;
    ast::Expression middle;
  };
  std::optional<Chain> chain_;
};

}  // namespace fusegrad::frontend
