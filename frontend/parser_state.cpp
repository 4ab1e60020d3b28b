// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What every rule of the parser uses: the cursor, error reports, and the ways to go on after an
// error.
#include "frontend/parser_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace fusegrad::frontend {

const Token& Parser::ahead(size_t count) const {
  return stream_.tokens[std::min(at_ + count, stream_.tokens.size() - 1)];
}

bool Parser::at_word(std::string_view word) const {
  return at(TokenKind::name) && text_of(current()) == word;
}

bool Parser::accept(TokenKind kind) {
  if (!at(kind)) return false;
  advance();
  return true;
}

void Parser::advance() {
  if (!at_end()) ++at_;
}

Span Parser::span_since(size_t first_token) const {
  const Token& first = stream_.tokens[first_token];
  if (at_ <= first_token || gave_up_) return span_of(first);
  return {file_, first.begin, stream_.tokens[at_ - 1].end};
}

Span Parser::span_after_previous() const {
  uint32_t offset = at_ == 0 ? current().begin : stream_.tokens[at_ - 1].end;
  return {file_, offset, offset};
}

std::string Parser::quote(Span span) const {
  constexpr size_t longest = 100;
  std::string_view whole = sources_.text(span);
  if (whole.size() > longest || whole.find('\n') != std::string_view::npos) return "...";
  return std::string(whole);
}

// -------------------------------------------------------------------------------------------------
// errors

Diagnostic& Parser::report(std::string_view code, Span span, std::string message,
                           std::string label) {
  if (gave_up_) return surplus_ = {};
  Diagnostic diagnostic;
  diagnostic.code = code;
  diagnostic.message = std::move(message);
  diagnostic.primary = {span, std::move(label)};
  if (found_.size() == max_syntax_errors) {
    diagnostic.code = "E0018";
    diagnostic.message = "too many errors";
    diagnostic.primary.text = "the file is read up to here";
    gave_up_ = true;
    at_ = stream_.tokens.size() - 1;
  }
  found_.push_back(std::move(diagnostic));
  return gave_up_ ? (surplus_ = {}) : found_.back();
}

Diagnostic& Parser::unexpected_with_label(std::string label) {
  const Token& token = current();
  std::string found = at_end()                       ? std::string("end of the file")
                      : token.end - token.begin > 40 ? fmt::format("{}", spelling(token.kind))
                                                     : fmt::format("`{}`", text_of(token));
  Diagnostic& diagnostic =
      report("E0001", span_of(token), fmt::format("unexpected {}", found), std::move(label));
  if (token.kind == TokenKind::semicolon) diagnostic.helps.push_back("delete the `;`");
  if (token.kind == TokenKind::exclamation) diagnostic.helps.push_back("negation is written `not`");
  if (token.kind == TokenKind::star && at_ > 0 && stream_.tokens[at_ - 1].kind == TokenKind::star) {
    diagnostic.helps.push_back("powers are written `a ^ b`");
  }
  return diagnostic;
}

Diagnostic& Parser::report_unexpected(std::string_view expected) {
  // What is missing belongs to the line before, not to the innocent statement that follows.
  bool line_ended = at_ > 0 && !at_end() && current().first_on_line && at_line_that_begins_next();
  if (line_ended) {
    return report("E0001", span_after_previous(), "unexpected end of the line",
                  fmt::format("expected {}", expected));
  }
  const Token token = current();
  bool wants_name = expected.find("name") != std::string_view::npos ||
                    expected == "an expression" || expected == "a statement";
  bool never_in_expressions =
      token.kind >= TokenKind::word_import && token.kind <= TokenKind::word_return;
  bool wants_condition_end = expected.starts_with("`{`") || expected.starts_with("`then`");
  Diagnostic& diagnostic = unexpected_with_label(fmt::format("expected {}", expected));
  if (never_in_expressions && wants_name) {
    diagnostic.notes.push_back(
        fmt::format("`{}` is a word of the language and cannot be a name", text_of(token)));
  }
  if (token.kind == TokenKind::assign && wants_condition_end)
    diagnostic.helps.push_back("to compare, write `==`");
  return diagnostic;
}

bool Parser::unexpected(std::string_view expected) {
  report_unexpected(expected);
  return false;
}

bool Parser::expect(TokenKind kind, std::string_view expected) {
  if (accept(kind)) return true;
  return expected.empty() ? unexpected(fmt::format("`{}`", spelling(kind))) : unexpected(expected);
}

bool Parser::expect_closing(size_t opening, std::string_view other_possibilities) {
  const Token& open = stream_.tokens[opening];
  TokenKind kind = open.kind == TokenKind::left_paren     ? TokenKind::right_paren
                   : open.kind == TokenKind::left_bracket ? TokenKind::right_bracket
                                                          : TokenKind::right_brace;
  if (accept(kind)) return true;
  bool has_partner = kind != TokenKind::right_brace && open.value != opening;
  if (has_partner) {
    return unexpected(other_possibilities.empty()
                          ? fmt::format("`{}`", spelling(kind))
                          : fmt::format("{} or `{}`", other_possibilities, spelling(kind)));
  }
  Span place = at_line_that_begins_next() ? span_after_previous() : span_of(current());
  Diagnostic& diagnostic = report("E0016", place, fmt::format("a `{}` is missing", spelling(kind)),
                                  fmt::format("expected it before this"));
  if (place.begin == place.end) diagnostic.primary.text = "expected it here at the latest";
  diagnostic.others.push_back(
      {span_of(open), fmt::format("this `{}` is not closed", spelling(open.kind))});
  return false;
}

bool Parser::report_missing_brace(size_t opening) {
  Diagnostic& diagnostic =
      report("E0016", span_of(current()), "a `}` is missing",
             fmt::format("`{}` cannot begin inside a block", text_of(current())));
  diagnostic.others.push_back({span_of(stream_.tokens[opening]), "this block is still open"});
  return false;
}

bool Parser::expect_name(ast::Identifier& out, NameCase wanted, std::string_view what) {
  if (!at(TokenKind::name) && !at(TokenKind::dimension)) return unexpected(what);
  out = {std::string(text_of(current())), span_of(current())};
  advance();
  if (wanted == NameCase::lower && out.is_dimension()) {
    std::string suggestion = out.text;
    suggestion[0] = static_cast<char>(suggestion[0] - 'A' + 'a');
    report("E0012", out.span, fmt::format("`{}` starts with a capital letter", quote(out.span)),
           fmt::format("this is {}", what))
        .notes.push_back("capital letters are for sizes; all other names start with a small one");
  }
  if (wanted == NameCase::upper && !out.is_dimension()) {
    report("E0012", out.span, fmt::format("`{}` starts with a small letter", quote(out.span)),
           fmt::format("this is {}", what))
        .notes.push_back("the names of sizes start with a capital letter");
  }
  return true;
}

void Parser::Uniqueness::add(const ast::Identifier& name, std::string_view what) {
  if (name.text.empty()) return;
  auto [place, is_new] = seen_.emplace(parser_.sources_.text(name.span), name.span);
  if (is_new) return;
  Span first = place->second;
  parser_
      .report("E0017", name.span,
              fmt::format("{} `{}` is given twice", what, parser_.quote(name.span)),
              "given again here")
      .others.push_back({first, "first given here"});
}

Parser::Deeper::Deeper(Parser& parser, std::string_view what)
    : parser_(parser), ok_(++parser.nesting_ <= max_nesting) {
  if (ok_) return;
  parser_
      .report("E0009", parser_.span_of(parser_.current()), fmt::format("{} too deep", what),
              fmt::format("more than {} levels", max_nesting))
      .helps.push_back("split it into parts with names of their own");
}

// -----------------------------------------------------------------------------------------------
// recovery

bool Parser::begins_entry(size_t token) const {
  const std::vector<Token>& tokens = stream_.tokens;
  TokenKind kind = tokens[token].kind;
  bool is_word = kind == TokenKind::name || kind == TokenKind::dimension || is_keyword(kind);
  return is_word && tokens[token + 1].kind == TokenKind::assign;  // the last token is end_of_file
}

bool Parser::begins_item(size_t token) const {
  const std::vector<Token>& tokens = stream_.tokens;
  TokenKind kind = tokens[token].kind;
  bool always = kind == TokenKind::word_import || kind == TokenKind::word_fn ||
                kind == TokenKind::word_layer || kind == TokenKind::word_optimizer ||
                kind == TokenKind::word_gradient || kind == TokenKind::word_model;
  if (always) return true;
  if (kind == TokenKind::word_train && tokens[token + 1].kind == TokenKind::left_brace) return true;
  return (kind == TokenKind::word_data || kind == TokenKind::word_train) &&
         tokens[token + 1].kind == TokenKind::name &&
         tokens[token + 2].kind == TokenKind::left_brace;
}

bool Parser::begins_statement(size_t token) const {
  const std::vector<Token>& tokens = stream_.tokens;
  TokenKind kind = tokens[token].kind;
  if (is_statement_word(kind) || kind == TokenKind::word_return) return true;
  if (kind != TokenKind::name && kind != TokenKind::dimension) return false;
  size_t next = token + 1;
  if (tokens[next].kind == TokenKind::left_bracket) {
    if (tokens[next].value == next) return false;
    next = tokens[next].value + 1;
  } else {
    constexpr size_t most_names = 64;  // of one statement; keeps the look ahead bounded
    for (size_t count = 1; tokens[next].kind == TokenKind::comma && count < most_names; ++count) {
      if (tokens[next + 1].kind != TokenKind::name) return false;
      next += 2;
    }
  }
  return tokens[next].kind == TokenKind::assign || tokens[next].kind == TokenKind::left_arrow;
}

bool Parser::begins_next(size_t token) const {
  return in_entries_ ? begins_entry(token) : begins_statement(token) || begins_item(token);
}

bool Parser::at_line_that_begins_next() const {
  if (at_end() || at(TokenKind::right_brace)) return true;
  return current().first_on_line && !current().in_group && begins_next(at_);
}

void Parser::skip_braces() {
  size_t depth = 0;
  while (!at_end()) {
    if (at(TokenKind::left_brace)) ++depth;
    bool closes_last = at(TokenKind::right_brace) && --depth == 0;
    advance();
    if (closes_last) return;
  }
}

void Parser::recover_in_block(size_t statement_begin) {
  if (at_ == statement_begin && !at(TokenKind::right_brace) && !at(TokenKind::left_brace))
    advance();
  while (!at_line_that_begins_next()) {
    if (at(TokenKind::left_brace)) {
      skip_braces();
    } else {
      advance();
    }
  }
}

void Parser::recover_in_file(size_t item_begin) {
  if (at_ == item_begin && !at(TokenKind::left_brace)) advance();
  while (!at_end()) {
    bool begins = begins_item(at_) || at(TokenKind::word_const);
    if (current().first_on_line && !current().in_group && begins) return;
    if (at(TokenKind::left_brace)) {
      skip_braces();
    } else {
      advance();
    }
  }
}

bool Parser::recover_to_brace() {
  while (!at(TokenKind::left_brace)) {
    if (at_line_that_begins_next()) return false;
    advance();
  }
  return true;
}

void Parser::end_of_statement() {
  if (at_end() || at(TokenKind::right_brace) || begins_next(at_)) return;
  // The next statement reports what is wrong with a line of its own.
  if (current().first_on_line && !in_entries_ &&
      (at(TokenKind::name) || is_keyword(current().kind)))
    return;
  size_t begin = at_;
  TokenKind kind = current().kind;
  Diagnostic& diagnostic =
      unexpected_with_label(in_entries_ ? "expected the next `key = value`, or `}`"
                                        : "a statement ends where the next one begins");
  if (kind == TokenKind::assign) {
    diagnostic.primary.text = "there is one `=` in a statement";
    diagnostic.helps.push_back("to compare, write `==`");
  } else if (kind == TokenKind::right_paren || kind == TokenKind::right_bracket) {
    diagnostic.primary.text = "it closes nothing";
  }
  advance();
  if (kind != TokenKind::semicolon) recover_in_block(begin);
}

}  // namespace fusegrad::frontend
