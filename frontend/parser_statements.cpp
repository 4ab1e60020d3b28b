// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The parser's statements: everything between `{` and `}` of a layer, a model, an optimizer or a
// fn.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "frontend/parser_state.h"
#include "frontend/similar.h"

namespace fusegrad::frontend {
namespace {

constexpr std::array all_elements = {
    ast::ElementName::real, ast::ElementName::integer, ast::ElementName::any, ast::ElementName::f16,
    ast::ElementName::bf16, ast::ElementName::f32,     ast::ElementName::f64, ast::ElementName::u8,
    ast::ElementName::i32,  ast::ElementName::boolean};

// What other languages call an element type of ours.
std::string_view translate_element(std::string_view word) {
  struct Translation {
    std::string_view foreign;
    std::string_view ours;
  };
  constexpr Translation translations[] = {
      {"float", "real"},  {"float16", "f16"}, {"half", "f16"},    {"bfloat16", "bf16"},
      {"float32", "f32"}, {"single", "f32"},  {"float64", "f64"}, {"double", "f64"},
      {"uint8", "u8"},    {"byte", "u8"},     {"int32", "i32"},   {"boolean", "bool"}};
  std::string lower_case(word);
  for (char& c : lower_case) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  for (const Translation& translation : translations) {
    if (translation.foreign == lower_case) return translation.ours;
  }
  std::array<std::string_view, all_elements.size()> names;
  std::transform(all_elements.begin(), all_elements.end(), names.begin(),
                 [](ast::ElementName element) { return spelling(element); });
  return most_similar(word, names);
}

std::string with_first_capital(std::string_view name) {
  std::string out(name);
  if (!out.empty() && out[0] >= 'a' && out[0] <= 'z')
    out[0] = static_cast<char>(out[0] - 'a' + 'A');
  return out;
}

// Lower-case names that stand for a size themselves; what a call such as `size(x)` is given does
// not.
void collect_names(const ast::Expression& expression, std::vector<const ast::Identifier*>& out) {
  if (expression.kind == ast::ExpressionKind::name) out.push_back(&expression.name);
  for (const ast::Expression& operand : expression.operands) collect_names(operand, out);
  bool of_sizes = expression.name.text == "max" || expression.name.text == "min";
  if (expression.kind == ast::ExpressionKind::call && of_sizes) {
    for (const ast::Argument& argument : expression.arguments) collect_names(argument.value, out);
  }
}

}  // namespace

bool Parser::parse_block(BlockKind kind, std::vector<ast::Statement>& out,
                         ast::Expression* result) {
  size_t opening = at_;
  if (!accept(TokenKind::left_brace)) {
    unexpected("`{`");
    bool found = recover_to_brace();
    if (!found && (begins_item(at_) || !begins_statement(at_))) return false;
    opening = found ? at_ : at_ - 1;
    accept(TokenKind::left_brace);
  }
  Deeper deeper(*this, "these blocks are nested");
  if (!deeper.ok()) {
    if (!gave_up_) at_ = opening;
    skip_braces();
    return false;
  }
  bool has_result = false;
  while (!at_end() && !at(TokenKind::right_brace)) {
    if (begins_item(at_) && ahead(1).kind != TokenKind::assign) {
      report_missing_brace(opening);
      return true;
    }
    size_t begin = at_;
    if (result != nullptr && at(TokenKind::word_return)) {
      if (has_result) unexpected_with_label("a `fn` returns once, at its end");
      has_result = true;
      advance();
      if (parse_expression(*result)) {
        end_of_statement();
      } else {
        recover_in_block(begin);
      }
      continue;
    }
    if (has_result) {
      unexpected_with_label("expected `}`: `return` ends a `fn`");
      recover_in_block(begin);
      continue;
    }
    ast::Statement& statement = out.emplace_back();
    bool parsed = parse_statement(kind, statement);
    statement.span = span_since(begin);
    if (parsed) {
      end_of_statement();
    } else {
      if (statement.names.empty()) out.pop_back();
      recover_in_block(begin);
    }
  }
  if (result != nullptr && !has_result)
    unexpected_with_label("expected `return` and the value of the `fn`");
  expect_closing(opening);
  return true;
}

// A statement whose meaning is lost in this block is reported, but parsed: the rest of it may be
// fine.
void Parser::check_place(BlockKind kind, const Token& word) {
  auto misplaced = [&](std::string label, std::string help) {
    Diagnostic& diagnostic =
        report("E0013", span_of(word), fmt::format("`{}` has no meaning here", text_of(word)),
               std::move(label));
    if (!help.empty()) diagnostic.helps.push_back(std::move(help));
  };
  switch (kind) {
    case BlockKind::model:
      return;
    case BlockKind::layer: {
      bool for_models = word.kind == TokenKind::word_input || word.kind == TokenKind::word_output ||
                        word.kind == TokenKind::word_loss || word.kind == TokenKind::word_metric;
      if (!for_models) return;
      bool is_interface = word.kind == TokenKind::word_input || word.kind == TokenKind::word_output;
      return misplaced("this belongs in a `model`",
                       is_interface
                           ? "a layer names them in its head: `layer f(x: real[N]) -> y: real[N]`"
                           : "");
    }
    case BlockKind::optimizer:
      if (word.kind == TokenKind::word_state) return;
      return misplaced("an optimizer holds `state v = 0`, `v1 = ...` and `p <- ...`", "");
    case BlockKind::function:
      return misplaced("a `fn` holds `name = ...` and ends with `return ...`", "");
  }
}

bool Parser::parse_statement(BlockKind kind, ast::Statement& out) {
  const Token word = current();
  if (is_statement_word(word.kind)) {
    check_place(kind, word);
    out.keyword_span = span_of(word);
    return parse_statement_body(kind, out);
  }
  if (at(TokenKind::name) || at(TokenKind::dimension)) return parse_definition(kind, out);
  if (at(TokenKind::word_return)) {
    unexpected_with_label("only a `fn` has a `return`")
        .helps.push_back("a layer's outputs are the tensors that its head names: `y = ...`");
    return false;
  }
  if (at(TokenKind::semicolon)) {
    unexpected_with_label("a statement ends where the next one begins");
    advance();
    return false;  // nothing is lost, but there is no statement either
  }
  return unexpected("a statement");
}

bool Parser::parse_statement_body(BlockKind kind, ast::Statement& out) {
  if (at(TokenKind::word_require)) return parse_require(out);
  if (at(TokenKind::word_when)) return parse_when(kind, out);
  if (at(TokenKind::word_repeat)) return parse_repeat(kind, out);
  if (accept(TokenKind::word_const)) {
    out.kind = ast::StatementKind::constant;
    return expect_name(out.names.emplace_back(), NameCase::either, "a name") && parse_value(out);
  }
  if (accept(TokenKind::word_loss)) {
    out.kind = ast::StatementKind::loss;
    return parse_value(out);
  }
  if (accept(TokenKind::word_metric)) {
    out.kind = ast::StatementKind::metric;
    return expect_name(out.names.emplace_back(), NameCase::lower, "the name of a metric") &&
           parse_value(out);
  }
  if (accept(TokenKind::word_output)) {
    out.kind = ast::StatementKind::output;
    return expect_name(out.names.emplace_back(), NameCase::lower, "the name of a tensor");
  }
  return parse_declaration(kind, out);
}

// The names of a statement that failed before it had any are dropped by the block.
bool Parser::parse_declaration(BlockKind kind, ast::Statement& out) {
  size_t begin = at_;
  TokenKind word = current().kind;
  out.kind = word == TokenKind::word_param   ? ast::StatementKind::parameter
             : word == TokenKind::word_state ? ast::StatementKind::state
                                             : ast::StatementKind::input;
  advance();
  std::string_view what = word == TokenKind::word_param   ? "the name of a parameter"
                          : word == TokenKind::word_state ? "the name of a state"
                                                          : "the name of an input";
  if (!expect_name(out.names.emplace_back(), NameCase::lower, what)) return false;

  bool is_scalar_state = kind == BlockKind::optimizer && word == TokenKind::word_state;
  if (is_scalar_state) {
    if (at(TokenKind::colon)) {
      unexpected_with_label("the state of an optimizer has the shape of its parameter, and no type")
          .helps.push_back(fmt::format("write `state {} = 0`", quote(out.names[0].span)));
      return false;
    }
    return parse_value(out);
  }
  if (!expect(TokenKind::colon, "`:` and a type") || !parse_type(out.type.emplace(), begin))
    return false;
  if (word == TokenKind::word_input) {
    return !accept(TokenKind::word_in) || parse_range(out.range.emplace());
  }
  out.operator_span = span_of(current());
  if (!expect(TokenKind::assign, "`=` and the initial value") || !parse_expression(out.value))
    return false;
  if (word == TokenKind::word_state && at(TokenKind::at)) {
    unexpected_with_label("tags are for parameters: optimizers look at them");
    return false;
  }
  Uniqueness tags(*this);
  while (accept(TokenKind::at)) {
    if (!expect_name(out.tags.emplace_back(), NameCase::lower, "the name of a tag")) return false;
    tags.add(out.tags.back(), "tag");
  }
  return true;
}

bool Parser::parse_require(ast::Statement& out) {
  out.kind = ast::StatementKind::require;
  advance();
  if (!parse_expression(out.value)) return false;
  if (!accept(TokenKind::comma)) return true;
  if (!at(TokenKind::string)) return unexpected("the message, as a string");
  return parse_primary(out.message.emplace());
}

bool Parser::parse_when(BlockKind kind, ast::Statement& out) {
  out.kind = ast::StatementKind::when;
  advance();
  if (!parse_expression(out.value) && !recover_to_brace()) return false;
  if (!parse_block(kind, out.body)) return false;
  if (!accept(TokenKind::word_else)) return true;
  out.has_otherwise = true;
  if (at(TokenKind::word_when)) {
    unexpected_with_label("expected `{`").helps.push_back("write `else { when ... { ... } }`");
    return false;
  }
  return parse_block(kind, out.otherwise);
}

bool Parser::parse_repeat(BlockKind kind, ast::Statement& out) {
  out.kind = ast::StatementKind::repeat;
  advance();
  if (!parse_expression(out.value) && !recover_to_brace()) return false;
  return parse_block(kind, out.body);
}

bool Parser::parse_value(ast::Statement& out) {
  out.operator_span = span_of(current());
  return expect(TokenKind::assign) && parse_expression(out.value);
}

bool Parser::parse_definition(BlockKind kind, ast::Statement& out) {
  size_t begin = at_;
  out.kind = ast::StatementKind::bind;
  if (!expect_name(out.names.emplace_back(), NameCase::lower, "the name of a tensor")) return false;
  bool scalar_rule = kind == BlockKind::function || kind == BlockKind::optimizer;

  if (at(TokenKind::comma) && !scalar_rule) {
    Uniqueness uniqueness(*this);
    uniqueness.add(out.names[0], "name");
    while (accept(TokenKind::comma)) {
      if (!expect_name(out.names.emplace_back(), NameCase::lower, "the name of a tensor"))
        return false;
      uniqueness.add(out.names.back(), "name");
    }
  } else if (at(TokenKind::left_bracket)) {
    if (scalar_rule) {
      unexpected_with_label(kind == BlockKind::function
                                ? "a `fn` computes one number from numbers"
                                : "an optimizer is one rule for each element");
      return false;
    }
    out.kind = ast::StatementKind::define;
    out.has_brackets = true;
    if (!parse_left_indices(out.indices)) return false;
  }
  out.left_span = span_since(begin);
  out.operator_span = span_of(current());

  bool may_update = out.names.size() == 1 && kind != BlockKind::function;
  if (at(TokenKind::left_arrow) && may_update) {
    advance();
    out.kind = ast::StatementKind::update;
    return parse_expression(out.value);
  }
  if (accept(TokenKind::assign)) return parse_expression(out.value);

  std::string name = quote(out.names[0].span);
  if (at(TokenKind::left_paren)) {
    unexpected_with_label("a statement gives its value a name")
        .helps.push_back(fmt::format("write `y = {}(...)`", name));
    return false;
  }
  if (at(TokenKind::colon)) {
    unexpected_with_label("a declaration begins with `param`, `state` or `input`");
    return false;
  }
  bool is_operator =
      at(TokenKind::plus) || at(TokenKind::minus) || at(TokenKind::star) || at(TokenKind::slash);
  if (is_operator && ahead(1).kind == TokenKind::assign) {
    std::string sign(text_of(current()));
    unexpected_with_label("expected `=` or `<-`")
        .helps.push_back(fmt::format(
            "write `{0} = {0} {1} ...`, or `{0} <- {0} {1} ...` for a state", name, sign));
    return false;
  }
  return unexpected(may_update ? "`=` or `<-`" : "`=`");
}

bool Parser::parse_left_indices(std::vector<ast::Binder>& out) {
  size_t opening = at_;
  advance();
  if (accept(TokenKind::right_bracket)) return true;
  Span first_ellipsis;
  do {
    if (!at(TokenKind::name) && !at(TokenKind::dimension) && !at(TokenKind::ellipsis)) {
      unexpected_with_label("expected the name of an index, or `...`")
          .notes.push_back(
              "a definition gives every element once: its left side lists distinct index names");
      return false;
    }
    ast::Binder& binder = out.emplace_back();
    if (!parse_binder(binder)) return false;
    if (binder.is_ellipsis && first_ellipsis.valid())
      report_repeated_ellipsis(first_ellipsis, binder.span);
    if (binder.is_ellipsis) first_ellipsis = binder.span;
  } while (accept(TokenKind::comma));
  return expect_closing(opening, "`,`");
}

bool Parser::parse_type(ast::Type& out, size_t declaration_begin) {
  size_t begin = at_;
  if (!at(TokenKind::name) && !at(TokenKind::dimension))
    return unexpected("a type such as `real[B, N]`");
  std::string_view word = text_of(current());
  auto element = std::find_if(all_elements.begin(), all_elements.end(),
                              [&](ast::ElementName name) { return spelling(name) == word; });
  out.element_span = span_of(current());
  if (element != all_elements.end()) {
    out.element = *element;
  } else {
    Diagnostic& diagnostic =
        report("E0015", out.element_span,
               fmt::format("there is no element type `{}`", quote(out.element_span)),
               "not an element type");
    diagnostic.notes.push_back(
        "element types are `real`, `int`, `any`, `f16`, `bf16`, `f32`, `f64`, `u8`, `i32` and "
        "`bool`");
    std::string_view meant = translate_element(word);
    if (!meant.empty()) diagnostic.helps.push_back(fmt::format("did you mean `{}`?", meant));
  }
  advance();

  size_t opening = at_;
  if (!accept(TokenKind::left_bracket)) {
    std::string_view known = element == all_elements.end() ? "real" : spelling(*element);
    report_unexpected("`[` and the sizes")
        .helps.push_back(fmt::format("a single number is `{}[]`", known));
    return false;
  }
  Span first_ellipsis;
  if (!accept(TokenKind::right_bracket)) {
    do {
      ast::Expression& size = out.sizes.emplace_back();
      if (at(TokenKind::ellipsis)) {
        size.kind = ast::ExpressionKind::ellipsis;
        size.span = span_of(current());
        advance();
        if (first_ellipsis.valid()) report_repeated_ellipsis(first_ellipsis, size.span);
        first_ellipsis = size.span;
      } else if (!parse_expression(size)) {
        return false;
      }
    } while (accept(TokenKind::comma));
    if (!expect_closing(opening, "`,`")) return false;
  }
  out.span = span_since(begin);
  check_size_names(out, declaration_begin);
  return true;
}

void Parser::check_size_names(const ast::Type& type, size_t declaration_begin) {
  std::vector<const ast::Identifier*> names;
  for (const ast::Expression& size : type.sizes) collect_names(size, names);
  if (names.empty() || gave_up_) return;
  std::sort(names.begin(), names.end(),
            [](const auto* a, const auto* b) { return a->span.begin < b->span.begin; });

  std::vector<std::string> quoted;
  std::vector<std::string> capitals;
  for (const ast::Identifier* name : names) {
    std::string text = fmt::format("`{}`", quote(name->span));
    if (std::find(quoted.begin(), quoted.end(), text) != quoted.end()) continue;
    quoted.push_back(text);
    capitals.push_back(fmt::format("`{}`", with_first_capital(quote(name->span))));
  }
  auto enumerate = [](const std::vector<std::string>& words) {
    if (words.size() == 1) return words[0];
    auto all_but_last = std::span(words).first(words.size() - 1);
    return fmt::format("{} and {}", fmt::join(all_but_last, ", "), words.back());
  };

  // The declaration up to its type, as it should have been.
  Span declaration = span_since(declaration_begin);
  std::string corrected = quote(declaration);
  if (corrected.size() == declaration.end - declaration.begin) {
    for (const ast::Identifier* name : names) {
      size_t place = name->span.begin - declaration.begin;
      corrected[place] = with_first_capital(corrected.substr(place, 1))[0];
    }
  }
  TokenKind word = stream_.tokens[declaration_begin].kind;
  bool has_signature = word == TokenKind::word_param || word == TokenKind::word_state;

  Span place = join(names.front()->span, names.back()->span);
  Diagnostic& diagnostic =
      report("E0005", place, "a dimension name starts with a capital letter",
             fmt::format("{} {}", enumerate(quoted),
                         quoted.size() == 1 ? "is an index name" : "are index names"));
  diagnostic.notes.push_back(
      "`[...]` after a type lists sizes; `[...]` after a tensor lists indices");
  diagnostic.helps.push_back(has_signature
                                 ? fmt::format("write `{}`, with {} taken from the layer signature",
                                               corrected, enumerate(capitals))
                                 : fmt::format("write `{}`", corrected));
}

}  // namespace fusegrad::frontend
