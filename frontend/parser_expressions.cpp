// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The parser's expressions: operators by precedence climbing, so that the stack grows with what is
// written in brackets and not with the number of precedence levels.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "frontend/parser_state.h"

namespace fusegrad::frontend {
namespace {

// Levels of the grammar: an operand of level n may hold, without parentheses, operators of level n
// and above.
constexpr int level_expression = 0;  // if then else
constexpr int level_not = 3;
constexpr int level_comparison = 4;
constexpr int level_add = 5;
constexpr int level_multiply = 6;
constexpr int level_unary = 7;

struct InfixOperator {
  TokenKind token;
  ast::BinaryOperator op;
  int level;
};
// `^` is not among them: it binds to the right, and tighter than a sign on its left.
constexpr InfixOperator infix_operators[] = {
    {TokenKind::word_or, ast::BinaryOperator::logical_or, 1},
    {TokenKind::word_and, ast::BinaryOperator::logical_and, 2},
    {TokenKind::less, ast::BinaryOperator::less, level_comparison},
    {TokenKind::less_equal, ast::BinaryOperator::less_equal, level_comparison},
    {TokenKind::greater, ast::BinaryOperator::greater, level_comparison},
    {TokenKind::greater_equal, ast::BinaryOperator::greater_equal, level_comparison},
    {TokenKind::equal_equal, ast::BinaryOperator::equal, level_comparison},
    {TokenKind::not_equal, ast::BinaryOperator::not_equal, level_comparison},
    {TokenKind::plus, ast::BinaryOperator::add, level_add},
    {TokenKind::minus, ast::BinaryOperator::subtract, level_add},
    {TokenKind::star, ast::BinaryOperator::multiply, level_multiply},
    {TokenKind::slash, ast::BinaryOperator::divide, level_multiply},
    {TokenKind::slash_slash, ast::BinaryOperator::floor_divide, level_multiply},
    {TokenKind::percent, ast::BinaryOperator::modulo, level_multiply},
};

const InfixOperator* infix_operator(TokenKind kind) {
  for (const InfixOperator& candidate : infix_operators) {
    if (candidate.token == kind) return &candidate;
  }
  return nullptr;
}

// Sets a variable for as long as it lives.
class SetWhile {
 public:
  SetWhile(bool& place, bool value) : place_(place), before_(std::exchange(place, value)) {}
  ~SetWhile() { place_ = before_; }
  SetWhile(const SetWhile&) = delete;
  SetWhile& operator=(const SetWhile&) = delete;

 private:
  bool& place_;
  bool before_;
};

bool mentions(const ast::Expression& expression, const std::string& name) {
  if (expression.kind == ast::ExpressionKind::name && expression.name.text == name) return true;
  return std::any_of(expression.operands.begin(), expression.operands.end(),
                     [&](const ast::Expression& operand) { return mentions(operand, name); });
}

bool is_less(ast::BinaryOperator op) {
  return op == ast::BinaryOperator::less || op == ast::BinaryOperator::less_equal;
}

}  // namespace

bool Parser::parse_expression(ast::Expression& out) { return parse_level(level_expression, out); }

bool Parser::parse_level(int level, ast::Expression& out) {
  if (parse_prefix(level, out) && parse_operators(level, out)) return true;
  out = {};  // of kind `invalid`: nobody meets half an expression
  return false;
}

// `out` holds the left operand; takes operators of at least `level` behind it.
bool Parser::parse_operators(int level, ast::Expression& out) {
  bool is_comparison = false;
  bool is_chain = false;
  while (const InfixOperator* infix = infix_operator(current().kind)) {
    if (infix->level < level) return true;
    if (in_entries_ && begins_entry(at_)) return true;  // a key named `and` or `or`
    if (infix->level == level_comparison && is_comparison) {
      if (!skip_chained_comparison(out, is_chain)) return false;
      is_chain = true;
      continue;
    }
    is_comparison = infix->level == level_comparison;
    take_as_left(out, infix->op);
    if (!parse_level(infix->level + 1, out.operands[1]) || !finish_binary(out)) return false;
  }
  return true;
}

bool Parser::parse_prefix(int level, ast::Expression& out) {
  TokenKind kind = current().kind;
  if (kind == TokenKind::word_if) {
    if (level > level_expression) {
      unexpected_with_label("an `if` inside an expression stands in parentheses");
      return false;
    }
    return parse_conditional(out);
  }
  if (kind != TokenKind::word_not && kind != TokenKind::minus) return parse_power(out);

  if (kind == TokenKind::word_not && level > level_not) {
    unexpected_with_label("a `not` inside an expression stands in parentheses");
    return false;
  }
  Deeper deeper(*this, "this expression is nested");
  if (!deeper.ok()) return false;
  size_t begin = at_;
  out.kind =
      kind == TokenKind::minus ? ast::ExpressionKind::negate : ast::ExpressionKind::logical_not;
  out.operator_span = span_of(current());
  advance();
  return parse_level(kind == TokenKind::minus ? level_unary : level_not,
                     out.operands.emplace_back()) &&
         finish(out, begin);
}

bool Parser::parse_conditional(ast::Expression& out) {
  Deeper deeper(*this, "this expression is nested");
  if (!deeper.ok()) return false;
  size_t begin = at_;
  advance();
  out.kind = ast::ExpressionKind::conditional;
  out.operands.resize(3);
  if (!parse_expression(out.operands[0]) || !expect(TokenKind::word_then, "`then`") ||
      !parse_expression(out.operands[1]) ||
      !expect(TokenKind::word_else, "`else`: an `if` always has two values") ||
      !parse_expression(out.operands[2]) || !finish(out, begin)) {
    return false;
  }
  suggest_read_with_default(out);
  return true;
}

bool Parser::parse_power(ast::Expression& out) {
  if (!parse_postfix(out)) return false;
  if (!at(TokenKind::caret)) return true;
  Deeper deeper(*this, "this expression is nested");
  if (!deeper.ok()) return false;
  take_as_left(out, ast::BinaryOperator::power);
  return parse_level(level_unary, out.operands[1]) && finish_binary(out);
}

// `out` becomes the left operand of the operator at the cursor, which is consumed.
void Parser::take_as_left(ast::Expression& out, ast::BinaryOperator op) {
  ast::Expression left = std::exchange(out, {});
  out.kind = ast::ExpressionKind::binary;
  out.binary = op;
  out.operator_span = span_of(current());
  out.operands.reserve(2);
  out.operands.push_back(std::move(left));
  out.operands.emplace_back();
  advance();
}

bool Parser::finish_binary(ast::Expression& out) {
  out.span = join(out.operands[0].span, out.operands[1].span);
  return set_height(out);
}

bool Parser::finish(ast::Expression& out, size_t begin) {
  out.span = span_since(begin);
  return set_height(out);
}

bool Parser::set_height(ast::Expression& out) {
  size_t height = 0;
  auto consider = [&](const ast::Expression& child) {
    height = std::max<size_t>(height, child.height);
  };
  for (const ast::Expression& operand : out.operands) consider(operand);
  for (const ast::Argument& argument : out.arguments) consider(argument.value);
  for (const ast::Initialiser& initialiser : out.initialisers) consider(initialiser.value);
  for (const ast::Binder& binder : out.binders) {
    if (!binder.range) continue;
    consider(binder.range->begin);
    consider(binder.range->end);
  }
  if (height >= max_expression_height) {
    Span place = out.operator_span.valid() ? out.operator_span : span_of(current());
    report("E0009", place, "this expression is too long",
           fmt::format("more than {} operations depend on one another here", max_expression_height))
        .helps.push_back("split it into statements with names of their own");
    return false;
  }
  out.height = static_cast<uint16_t>(height + 1);
  return true;
}

bool Parser::parse_postfix(ast::Expression& out) {
  size_t begin = at_;
  if (!parse_primary(out)) return false;
  while (at(TokenKind::left_bracket)) {
    if (!parse_read(out, begin)) return false;
  }
  return true;
}

// `out` holds the base, which begins at the token `begin`.
bool Parser::parse_read(ast::Expression& out, size_t begin) {
  Deeper deeper(*this, "this expression is nested");
  if (!deeper.ok()) return false;
  SetWhile allow(suffixes_allowed_, true);
  size_t opening = at_;
  advance();
  ast::Expression base = std::exchange(out, {});
  out.kind = ast::ExpressionKind::read;
  out.operands.push_back(std::move(base));
  Span first_ellipsis;
  while (!at(TokenKind::right_bracket)) {
    if (accept(TokenKind::word_else)) {
      out.has_default = true;
      if (!parse_expression(out.operands.emplace_back())) return false;
      break;
    }
    bool is_first = out.operands.size() == 1;
    if (!is_first && !accept(TokenKind::comma)) break;
    ast::Expression& index = out.operands.emplace_back();
    if (at(TokenKind::ellipsis)) {
      index.kind = ast::ExpressionKind::ellipsis;
      index.span = span_of(current());
      advance();
      if (first_ellipsis.valid()) report_repeated_ellipsis(first_ellipsis, index.span);
      first_ellipsis = index.span;
    } else if (!parse_expression(index)) {
      return false;
    }
  }
  return expect_closing(opening, out.has_default ? "" : "`,`, `else`") && finish(out, begin);
}

bool Parser::parse_primary(ast::Expression& out) {
  if (at(TokenKind::left_paren)) return parse_parenthesised(out);
  if (at(TokenKind::left_bracket)) return parse_list(out);
  const Token& token = current();
  if (at(TokenKind::name) || at(TokenKind::dimension)) {
    // `a =` at the end of a line, and `b = c` on the next, which is no value of `a`.
    bool is_next = token.first_on_line && !token.in_group && begins_next(at_);
    return is_next ? unexpected("an expression") : parse_named(out);
  }

  out.span = span_of(token);
  if (at(TokenKind::number)) {
    out.kind = ast::ExpressionKind::number;
    out.text = text_of(token);
    out.number = stream_.numbers[token.value];
  } else if (at(TokenKind::string)) {
    out.kind = ast::ExpressionKind::string;
    out.text = stream_.strings[token.value];
  } else if (at(TokenKind::word_true) || at(TokenKind::word_false)) {
    out.kind = ast::ExpressionKind::boolean;
    out.boolean = at(TokenKind::word_true);
  } else if (at(TokenKind::word_inf)) {
    out.kind = ast::ExpressionKind::infinity;
  } else if (at(TokenKind::word_training)) {
    out.kind = ast::ExpressionKind::training;
  } else if (in_entries_ && at(TokenKind::word_loss)) {
    // `target = loss < 0.1`: what is measured, by the word that defines it.
    out.kind = ast::ExpressionKind::name;
    out.name.text = "loss";
    out.name.span = out.span;
  } else {
    return unexpected("an expression");
  }
  advance();
  return true;
}

bool Parser::parse_parenthesised(ast::Expression& out) {
  Deeper deeper(*this, "this expression is nested");
  if (!deeper.ok()) return false;
  SetWhile allow(suffixes_allowed_, true);
  size_t opening = at_;
  advance();
  if (!parse_expression(out) || !expect_closing(opening)) return false;
  out.span = span_since(opening);
  return true;
}

bool Parser::parse_list(ast::Expression& out) {
  Deeper deeper(*this, "this expression is nested");
  if (!deeper.ok()) return false;
  SetWhile allow(suffixes_allowed_, true);
  size_t opening = at_;
  advance();
  out.kind = ast::ExpressionKind::list;
  if (!accept(TokenKind::right_bracket)) {
    do {
      if (!parse_expression(out.operands.emplace_back())) return false;
    } while (accept(TokenKind::comma));
    if (!expect_closing(opening, "`,`")) return false;
  }
  return finish(out, opening);
}

bool Parser::parse_named(ast::Expression& out) {
  if (ahead(1).kind == TokenKind::left_paren) {
    return is_reduction_ahead() ? parse_reduction(out) : parse_call(out);
  }
  const Token& token = current();
  out.kind = token.kind == TokenKind::dimension ? ast::ExpressionKind::dimension
                                                : ast::ExpressionKind::name;
  out.span = span_of(token);
  out.name = {std::string(text_of(token)), out.span};
  advance();
  return true;
}

// ---------------------------------------------------------------------------------------------------
// calls

bool Parser::parse_call(ast::Expression& out) {
  size_t begin = at_;
  out.kind = ast::ExpressionKind::call;
  out.name = {std::string(text_of(current())), span_of(current())};
  advance();
  if (!parse_arguments(out)) return false;
  size_t closing = at_ - 1;
  if (!parse_suffixes(out) || !finish(out, begin)) return false;

  // `sum(i) x[i] * w[i]`: what stands in the parentheses are indices, and a body follows.
  bool only_names =
      !out.arguments.empty() &&
      std::all_of(out.arguments.begin(), out.arguments.end(), [](const ast::Argument& argument) {
        return argument.name.text.empty() && argument.value.kind == ast::ExpressionKind::name;
      });
  if (only_names && closing == at_ - 1 && reduction_operator(stream_.tokens[begin]) &&
      at_operand_on_this_line()) {
    return parse_body_after_parenthesis(out, begin, closing);
  }
  return true;
}

bool Parser::parse_arguments(ast::Expression& out) {
  Deeper deeper(*this, "this expression is nested");
  if (!deeper.ok()) return false;
  SetWhile allow(suffixes_allowed_, true);
  size_t opening = at_;
  advance();
  if (accept(TokenKind::right_paren)) return true;
  Uniqueness uniqueness(*this);
  do {
    size_t begin = at_;
    ast::Argument& argument = out.arguments.emplace_back();
    if (ahead(1).kind == TokenKind::assign) {
      if (!expect_name(argument.name, NameCase::either, "the name of an argument")) return false;
      uniqueness.add(argument.name, "argument");
      advance();
    }
    if (!parse_expression(argument.value)) return false;
    argument.span = span_since(begin);
  } while (accept(TokenKind::comma));

  bool is_reduction = reduction_operator(stream_.tokens[opening - 1]).has_value();
  if (is_reduction && at_operand_on_this_line()) {
    report("E0002", span_of(current()), "expected `:` after the reduction indices",
           "the body begins here, after a `:`");
    return false;
  }
  return expect_closing(opening, "`,`");
}

bool Parser::parse_suffixes(ast::Expression& out) {
  Uniqueness uniqueness(*this);
  while (suffixes_allowed_) {
    bool is_key = in_entries_ && begins_entry(at_);
    bool is_initialiser =
        at_word("init") && ahead(2).kind == TokenKind::assign &&
        (ahead(1).kind == TokenKind::name || ahead(1).kind == TokenKind::dimension);
    if (at(TokenKind::word_as) && !is_key) {
      Span word = span_of(current());
      advance();
      ast::Identifier name;
      if (!expect_name(name, NameCase::lower, "a name for this use of the layer")) return false;
      if (!out.instance.text.empty()) {
        report("E0017", join(word, name.span), "`as` is given twice", "given again here")
            .others.push_back({out.instance.span, "first given here"});
      }
      out.instance = std::move(name);
    } else if (is_initialiser) {
      size_t begin = at_;
      advance();
      ast::Initialiser& initialiser = out.initialisers.emplace_back();
      if (!expect_name(initialiser.parameter, NameCase::lower, "the name of a parameter"))
        return false;
      uniqueness.add(initialiser.parameter, "the initialiser of");
      advance();
      SetWhile belong_to_this_call(suffixes_allowed_, false);
      if (!parse_expression(initialiser.value)) return false;
      initialiser.span = span_since(begin);
    } else {
      return true;
    }
  }
  return true;
}

// ----------------------------------------------------------------------------------------------
// reductions

std::optional<ast::ReductionOperator> Parser::reduction_operator(const Token& token) const {
  if (token.kind != TokenKind::name) return std::nullopt;
  using enum ast::ReductionOperator;
  for (ast::ReductionOperator op : {sum, mean, max, min, argmax, argmin, any, all}) {
    if (spelling(op) == text_of(token)) return op;
  }
  return std::nullopt;
}

bool Parser::is_reduction_ahead() const {
  if (!reduction_operator(current())) return false;
  bool has_binder = ahead(2).kind == TokenKind::ellipsis ||
                    (ahead(2).kind == TokenKind::name && (ahead(3).kind == TokenKind::word_in ||
                                                          ahead(3).kind == TokenKind::word_where));
  return ahead(1).has_colon || has_binder;
}

bool Parser::parse_reduction(ast::Expression& out) {
  Deeper deeper(*this, "this expression is nested");
  if (!deeper.ok()) return false;
  SetWhile allow(suffixes_allowed_, true);
  size_t begin = at_;
  out.kind = ast::ExpressionKind::reduction;
  out.reduction = *reduction_operator(current());
  out.name = {std::string(text_of(current())), span_of(current())};
  advance();
  size_t opening = at_;
  advance();

  Span first_ellipsis;
  do {
    ast::Binder& binder = out.binders.emplace_back();
    if (!parse_binder(binder)) return false;
    if (binder.is_ellipsis && first_ellipsis.valid())
      report_repeated_ellipsis(first_ellipsis, binder.span);
    if (binder.is_ellipsis) first_ellipsis = binder.span;
  } while (accept(TokenKind::comma));

  out.operands.resize(1);
  if (accept(TokenKind::word_where)) {
    out.has_condition = true;
    out.operands.resize(2);
    if (!parse_expression(out.operands[1])) return false;
  }
  if (at(TokenKind::right_paren)) {
    size_t closing = at_;
    advance();
    return parse_body_after_parenthesis(out, begin, closing);
  }
  std::string_view expected = out.has_condition ? "`:` and the body of the reduction"
                              : out.binders.back().is_ellipsis || out.binders.back().range
                                  ? "`,`, `where` or `:`"
                                  : "`,`, `in`, `where` or `:`";
  return expect(TokenKind::colon, expected) && parse_expression(out.operands[0]) &&
         expect_closing(opening) && finish(out, begin);
}

// After `sum(i)`, whose `)` is the token `closing`: reports E0002, and goes on as if the product
// that follows had been written as the body. `out` is the call or the reduction so far.
bool Parser::parse_body_after_parenthesis(ast::Expression& out, size_t begin, size_t closing) {
  bool has_body = at_operand_on_this_line();
  Span place = span_of(stream_.tokens[closing]);
  if (has_body) place.end = current().begin;
  report("E0002", place, "expected `:` after the reduction indices",
         has_body ? "the body belongs inside the parentheses" : "the body is missing")
      .notes.push_back(
          "the extent of a reduction is always written out; nothing is summed by precedence");
  size_t diagnostic = found_.size() - 1;
  if (!has_body || gave_up_) return false;

  ast::Expression body;
  if (!parse_level(level_multiply, body)) return false;
  Span head{file_, stream_.tokens[begin].begin, stream_.tokens[closing].begin};
  size_t rest = at_;
  auto ends_here = [&](const Token& token) {
    return token.first_on_line || token.kind == TokenKind::end_of_file ||
           token.kind == TokenKind::right_brace ||
           (token.value < begin &&
            (token.kind == TokenKind::right_paren || token.kind == TokenKind::right_bracket));
  };
  while (!ends_here(stream_.tokens[rest]) && !begins_next(rest)) ++rest;
  Span tail{file_, body.span.end, stream_.tokens[rest - 1].end};
  found_[diagnostic].helps.push_back(
      fmt::format("write `{}: {}){}`", quote(head), quote(body.span), quote(tail)));

  if (out.kind == ast::ExpressionKind::call) {
    out.kind = ast::ExpressionKind::reduction;
    out.reduction = *reduction_operator(stream_.tokens[begin]);
    for (ast::Argument& argument : out.arguments) {
      out.binders.push_back({false, argument.value.name, std::nullopt, argument.span});
    }
    out.arguments.clear();
    out.operands.resize(1);
  }
  out.operands[0] = std::move(body);
  return finish(out, begin);
}

bool Parser::parse_binder(ast::Binder& out) {
  size_t begin = at_;
  if (accept(TokenKind::ellipsis)) {
    out.is_ellipsis = true;
  } else {
    if (!expect_name(out.name, NameCase::lower, "the name of an index")) return false;
    if (accept(TokenKind::word_in) && !parse_range(out.range.emplace())) return false;
  }
  out.span = span_since(begin);
  return true;
}

bool Parser::parse_range(ast::Range& out) {
  size_t begin = at_;
  if (!parse_level(level_add, out.begin)) return false;
  if (!at(TokenKind::dot_dot)) {
    Diagnostic& diagnostic = report_unexpected("`..`");
    diagnostic.notes.push_back("a range is written `0..n` and leaves out its end");
    return false;
  }
  advance();
  if (!parse_level(level_add, out.end)) return false;
  out.span = span_since(begin);
  return true;
}

bool Parser::at_operand_on_this_line() const {
  using enum TokenKind;
  constexpr std::array starts = {name,     dimension, number,     left_paren, word_if,
                                 word_not, word_true, word_false, word_inf,   word_training};
  return std::find(starts.begin(), starts.end(), current().kind) != starts.end() &&
         !current().first_on_line && !begins_next(at_);
}

// ------------------------------------------------------------------------------------- errors with
// good advice

void Parser::report_repeated_ellipsis(Span first, Span second) {
  report("E0014", second, "`...` stands twice in one list", "again here")
      .others.push_back({first, "first here"});
}

// At the second comparison of `0 <= i + k < 28`: reports it (once a chain) and skips it. `out` is
// the first.
bool Parser::skip_chained_comparison(const ast::Expression& out, bool is_reported) {
  std::string_view sign = text_of(current());
  size_t diagnostic = found_.size();
  if (!is_reported) {
    report("E0003", span_of(current()), "comparisons do not chain", "a second comparison")
        .others.push_back({out.span, "this is already a `bool`"});
  }
  bool less = is_less(out.binary) && is_less(infix_operator(current().kind)->op);
  advance();
  ast::Expression last;
  if (!parse_level(level_add, last)) return false;
  if (is_reported || gave_up_) return true;
  const ast::Expression& middle = out.operands[1];
  found_[diagnostic].helps.push_back(fmt::format("write `{} and {} {} {}`", quote(out.span),
                                                 quote(middle.span), sign, quote(last.span)));
  if (less) chain_ = {diagnostic, out.span, middle};
  return true;
}

// `if 0 <= i + k < 28 then x[b, i] else 0` is a read with a default in disguise.
void Parser::suggest_read_with_default(const ast::Expression& conditional) {
  if (!chain_) return;
  Chain chain = std::move(*chain_);
  chain_.reset();
  Span condition = conditional.operands[0].span;
  const ast::Expression& value = conditional.operands[1];
  bool is_in_condition = chain.span.begin >= condition.begin && chain.span.end <= condition.end;
  if (!is_in_condition || value.kind != ast::ExpressionKind::read || value.has_default || gave_up_)
    return;

  std::vector<std::string> indices;
  size_t guarded = 0;
  for (const ast::Expression& index : value.indices()) {
    bool is_guarded =
        sources_.text(index.span) == sources_.text(chain.middle.span) ||
        (index.kind == ast::ExpressionKind::name && mentions(chain.middle, index.name.text));
    guarded += is_guarded ? 1 : 0;
    indices.push_back(quote(is_guarded ? chain.middle.span : index.span));
  }
  if (guarded != 1) return;
  found_[chain.diagnostic].helps.back() +=
      fmt::format(", or read with a default: `{}[{} else {}]`", quote(value.base().span),
                  fmt::join(indices, ", "), quote(conditional.operands[2].span));
}

}  // namespace fusegrad::frontend
