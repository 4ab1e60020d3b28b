// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Printing and parsing of scalar expressions. Both sides know the same precedences, so that the
// printed text has exactly the parentheses that the parser needs.
#include "ir/expr_text.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "ir/expr_types.h"
#include "ir/support/check.h"

namespace fusegrad::ir {
namespace {

/// How tightly a piece of text holds together; a weaker piece needs parentheses.
enum Strength : int {
  strength_select,
  strength_or,
  strength_and,
  strength_not,
  strength_compare,
  strength_add,
  strength_multiply,
  strength_minus,
  strength_power,
  strength_primary,
};

enum class Form : uint8_t { leaf, prefix, infix, function, special };

Form form_of(Op op) {
  switch (op) {
#define FG_SCALAR_OP(enumerator, spelling, operands, form) \
  case Op::enumerator:                                     \
    return Form::form;
#include "ir/scalar_ops.def"
#undef FG_SCALAR_OP
  }
  return Form::leaf;
}

/// Strength of an infix operator; only called for those.
Strength infix_strength(Op op) {
  if (is_comparison(op)) return strength_compare;
  if (op == Op::logical_or) return strength_or;
  if (op == Op::logical_and) return strength_and;
  if (op == Op::add || op == Op::subtract) return strength_add;
  if (op == Op::power) return strength_power;
  return strength_multiply;
}

std::string real_text(double value) {
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";  // `n` of inf and nan
  return text;
}

class ExpressionPrinter {
 public:
  explicit ExpressionPrinter(const ExprTextOptions& options) : options_(options) {}

  void print(const Expr& e, Strength needed) {
    const bool parentheses = strength(e) < needed;
    if (parentheses) text_ += '(';
    print_bare(e);
    if (parentheses) text_ += ')';
  }

  std::string take() { return std::move(text_); }

 private:
  static bool has_minus_sign(const Expr& e) {
    return e.op == Op::constant && (is_real(e.type.scalar) ? std::signbit(e.real) : e.integer < 0);
  }

  static Strength strength(const Expr& e) {
    switch (form_of(e.op)) {
      case Form::prefix:
        return e.op == Op::negate ? strength_minus : strength_not;
      case Form::infix:
        return infix_strength(e.op);
      case Form::special:
        return e.op == Op::select ? strength_select : strength_primary;
      case Form::leaf:
        return has_minus_sign(e) ? strength_minus : strength_primary;
      case Form::function:
        return strength_primary;
    }
    return strength_primary;
  }

  void print_bare(const Expr& e) {
    switch (form_of(e.op)) {
      case Form::leaf:
        if (e.op == Op::constant) {
          print_constant(e);
        } else {
          text_ += e.name;
        }
        return;
      case Form::prefix:
        print_prefix(e);
        return;
      case Form::infix:
        print_infix(e);
        return;
      case Form::function:
        text_ += spelling(e.op);
        print_list("(", e.operands, ")");
        return;
      case Form::special:
        print_special(e);
        return;
    }
  }

  void print_constant(const Expr& e) {
    Type unmarked = {ScalarType::i64};
    if (is_real(e.type.scalar)) {
      text_ += real_text(e.real);
      unmarked = {options_.real};
    } else if (e.type == Type{ScalarType::boolean}) {
      text_ += e.integer != 0 ? "true" : "false";
      return;
    } else {
      text_ += fmt::format("{}", e.integer);
    }
    if (!(e.type == unmarked)) text_ += fmt::format(":{}", spelling(e.type));
  }

  void print_prefix(const Expr& e) {
    const Expr& operand = *e.operands[0];
    if (e.op == Op::logical_not) {
      text_ += "not ";
      print(operand, strength_not);
      return;
    }
    text_ += '-';
    // `-1.0` is a constant, and `--x` is hard to read.
    const bool ambiguous = operand.op == Op::constant || operand.op == Op::negate;
    print(operand, ambiguous ? strength_primary : strength_minus, ambiguous);
  }

  void print(const Expr& e, Strength needed, bool always_parentheses) {
    if (!always_parentheses) return print(e, needed);
    text_ += '(';
    print(e, strength_select);
    text_ += ')';
  }

  void print_infix(const Expr& e) {
    const Strength own = infix_strength(e.op);
    Strength left = own;
    Strength right = static_cast<Strength>(own + 1);
    if (own == strength_compare) left = right;  // comparisons do not chain
    if (own == strength_power) {
      left = strength_primary;
      right = strength_minus;
    }
    print(*e.operands[0], left);
    text_ += ' ';
    text_ += spelling(e.op);
    text_ += ' ';
    print(*e.operands[1], right);
  }

  void print_list(std::string_view open, const std::vector<ExprRef>& items,
                  std::string_view close) {
    text_ += open;
    for (size_t i = 0; i < items.size(); ++i) {
      if (i != 0) text_ += ", ";
      print(*items[i], strength_select);
    }
    text_ += close;
  }

  std::string lanes_text(int lanes) { return lanes == 1 ? "" : fmt::format("{}", lanes); }

  void print_special(const Expr& e) {
    if (e.op == Op::read) return print_read(e);
    if (e.op == Op::select) {
      text_ += "if ";
      print(*e.operands[0], strength_select);
      text_ += " then ";
      print(*e.operands[1], strength_select);
      text_ += " else ";
      print(*e.operands[2], strength_select);
      return;
    }
    if (e.op == Op::convert) {
      text_ += spelling(e.type.scalar);
    } else if (e.op == Op::rand || e.op == Op::normal) {
      text_ += fmt::format("{}.{}", spelling(e.op), e.integer);
      if (e.type.scalar != options_.real) text_ += fmt::format(".{}", spelling(e.type.scalar));
    } else if (e.op == Op::splat || e.op == Op::iota) {
      text_ += spelling(e.op);
      text_ += lanes_text(e.type.lanes);
    } else {
      FG_CHECK(e.op == Op::bit_cast, "no text for `{}`", spelling(e.op));
      text_ += "bits.";
      text_ += spelling(e.type);
    }
    print_list("(", e.operands, ")");
  }

  void print_read(const Expr& e) {
    if (options_.level == ExprLevel::loop) {
      text_ += fmt::format("load{} {}", lanes_text(e.type.lanes), e.name);
      print_list("[", e.operands, "]");
      return;
    }
    text_ += e.name;
    if (e.operands.empty()) return;
    text_ += '[';
    for (size_t i = 0; i < e.index_count(); ++i) {
      if (i != 0) text_ += ", ";
      print(*e.operands[i], strength_select);
    }
    if (e.has_else) {
      text_ += " else ";
      print(*e.else_value(), strength_select);
    }
    text_ += ']';
  }

  ExprTextOptions options_;
  std::string text_;
};

/// The infix operator that the token is, if any.
std::optional<Op> infix_operator(const Token& token) {
  if (token.kind != TokenKind::sign && token.kind != TokenKind::name) return std::nullopt;
#define FG_SCALAR_OP(enumerator, spelling_of_it, operands, form_of_it) \
  if (Form::form_of_it == Form::infix && token.text == spelling_of_it) return Op::enumerator;
#include "ir/scalar_ops.def"
#undef FG_SCALAR_OP
  return std::nullopt;
}

/// The operator of form `function` with that name, if any.
std::optional<Op> function_operator(std::string_view name) {
#define FG_SCALAR_OP(enumerator, spelling_of_it, operands, form_of_it) \
  if (Form::form_of_it == Form::function && name == spelling_of_it) return Op::enumerator;
#include "ir/scalar_ops.def"
#undef FG_SCALAR_OP
  return std::nullopt;
}

/// The number behind `prefix` in `word` ("load8", "load" -> 8): nothing if the word is another one;
/// without digits 1. At most 64.
std::optional<int> lanes_behind(std::string_view word, std::string_view prefix) {
  if (!word.starts_with(prefix)) return std::nullopt;
  word.remove_prefix(prefix.size());
  if (word.empty()) return 1;
  int lanes = 0;
  auto [stop, status] = std::from_chars(word.data(), word.data() + word.size(), lanes);
  if (status != std::errc() || stop != word.data() + word.size() || lanes < 2 || lanes > 64) {
    return std::nullopt;
  }
  return lanes;
}

/// Operator precedence with an explicit stack instead of recursion: text may nest as deep as it
/// likes without exhausting the machine's stack.
class ExpressionParser {
 public:
  ExpressionParser(TextReader& reader, const NameResolver& resolve, const ExprTextOptions& options)
      : reader_(reader), resolve_(resolve), options_(options) {}

  ExprRef parse() {
    while (!reader_.failed()) {
      ExprRef value = begin_operand();  // null when something was opened instead
      while (value != nullptr && !push_infix_operator(value)) {
        if (reader_.failed()) return nullptr;
        if (open_.empty()) return value;
        value = continue_open(std::move(value));  // null when it wants another operand
      }
    }
    return nullptr;
  }

 private:
  /// Something whose operand is being read: an operator (which ends where the text holds together
  /// less tightly than it) or a bracketed form (which ends at its own words and signs).
  struct Open {
    enum class Kind : uint8_t { operation, group, call, read, select };
    Kind kind = Kind::group;
    Expr node;  ///< with the operands read so far
    Span span;
    Strength operand = strength_select;  ///< the weakest that the next operand may be
    int rank = 0;                        ///< of a tensor that is read
    bool is_operation() const { return kind == Kind::operation; }
  };

  /// Opens something. Every level of a printed expression has at most one operator and one pair of
  /// parentheses.
  void open(Open::Kind kind, Expr node, Span span, Strength operand = strength_select,
            int rank = 0) {
    if (open_.size() > 2 * static_cast<size_t>(maximum_expression_depth)) return report_depth(span);
    open_.push_back({kind, std::move(node), span, operand, rank});
  }

  void report_depth(Span span) {
    reader_.error(span, fmt::format("this expression is nested more than {} levels deep",
                                    maximum_expression_depth));
  }

  /// Checks types and depth, then makes the node.
  ExprRef build(Expr node, Span span) {
    for (const ExprRef& operand : node.operands) {
      if (operand->depth() >= maximum_expression_depth) {
        report_depth(span);
        return nullptr;
      }
    }
    if (!node.operands.empty()) {
      const Type operand = node.operands[0]->type;
      if (type_follows_operands(node.op)) node.type = result_type(node);
      if (node.op == Op::splat) node.type.scalar = operand.scalar;
      if (node.op == Op::convert || node.op == Op::rand || node.op == Op::normal) {
        node.type.lanes = operand.lanes;
      }
    }
    std::string mistake = type_mistake(node);
    if (!mistake.empty()) {
      reader_.error(span, std::move(mistake));
      return nullptr;
    }
    return make_node(std::move(node));
  }

  /// Closes the last thing that was opened.
  ExprRef close() {
    Open last = std::move(open_.back());
    open_.pop_back();
    return build(std::move(last.node), last.span);
  }

  /// Reads the start of an operand. Returns the operand if that was all of it.
  ExprRef begin_operand() {
    const Strength weakest = open_.empty() ? strength_select : open_.back().operand;
    const Token token = reader_.peek();
    if (reader_.at("if") && weakest == strength_select) {
      open(Open::Kind::select, operation(Op::select), reader_.take().span);
      return nullptr;
    }
    if (reader_.at("not") && weakest <= strength_not) {
      open(Open::Kind::operation, operation(Op::logical_not), reader_.take().span, strength_not);
      return nullptr;
    }
    if (reader_.at("-")) {
      reader_.take();
      // `-1.0` is a constant, `-1.0 ^ x` a negated power.
      if (reader_.peek().kind == TokenKind::number && !reader_.at("^", 1)) {
        return parse_number(true);
      }
      open(Open::Kind::operation, operation(Op::negate), token.span, strength_minus);
      return nullptr;
    }
    if (reader_.at("(")) {
      open(Open::Kind::group, {}, reader_.take().span);
      return nullptr;
    }
    if (token.kind == TokenKind::number) return parse_number(false);
    if (token.kind == TokenKind::name) return parse_word();
    reader_.error_expected("an expression");
    return nullptr;
  }

  static Expr operation(Op op) {
    Expr node;
    node.op = op;
    return node;
  }

  /// `value` is complete. If an infix operator follows, gives `value` to the operators that hold it
  /// more tightly and makes the result the left operand of the new one.
  bool push_infix_operator(ExprRef& value) {
    const Token token = reader_.peek();
    const std::optional<Op> op = infix_operator(token);
    if (!op) return false;
    const Strength strength = infix_strength(*op);
    while (!open_.empty() && open_.back().is_operation() && open_.back().operand > strength) {
      if (is_comparison(*op) && is_comparison(open_.back().node.op)) {
        reader_.error(token.span, "comparisons do not chain");
        return false;
      }
      open_.back().node.operands.push_back(std::move(value));
      value = close();
      if (value == nullptr) return false;
    }
    reader_.take();
    Expr node = operation(*op);
    node.operands.push_back(std::move(value));
    value = nullptr;
    // The right operand holds more tightly than the operator, except that of `^`: a ^ b ^ c.
    const Strength right =
        strength == strength_power ? strength_minus : static_cast<Strength>(strength + 1);
    open(Open::Kind::operation, std::move(node), token.span, right);
    return true;
  }

  /// No infix operator follows `value`: it ends what was opened last, or one part of it. Returns
  /// what is complete then.
  ExprRef continue_open(ExprRef value) {
    Open& last = open_.back();
    switch (last.kind) {
      case Open::Kind::operation:
        last.node.operands.push_back(std::move(value));
        return close();
      case Open::Kind::group:
        if (!reader_.expect(")")) return nullptr;
        open_.pop_back();
        return value;
      case Open::Kind::call:
        last.node.operands.push_back(std::move(value));
        if (reader_.accept(",") || !reader_.expect(")")) return nullptr;
        return close();
      case Open::Kind::read:
        last.node.operands.push_back(std::move(value));
        if (!last.node.has_else) {
          if (reader_.accept(",")) return nullptr;
          if (reader_.accept("else")) {
            last.node.has_else = true;
            return nullptr;
          }
        }
        if (!reader_.expect("]")) return nullptr;
        return close_read();
      case Open::Kind::select:
        last.node.operands.push_back(std::move(value));
        if (last.node.operands.size() == 3) return close();
        reader_.expect(last.node.operands.size() == 1 ? "then" : "else");
        return nullptr;
    }
    return nullptr;
  }

  ExprRef close_read() {
    const Open& last = open_.back();
    if (options_.level == ExprLevel::tensor &&
        last.node.index_count() != static_cast<size_t>(last.rank)) {
      report_rank(last.node.name, last.span, last.rank, last.node.index_count());
      return nullptr;
    }
    if (options_.level == ExprLevel::loop) {
      if (last.node.has_else || last.node.operands.size() != 1) {
        reader_.error(last.span, fmt::format("`{}` is loaded from one address", last.node.name));
        return nullptr;
      }
      const int addresses = last.node.operands[0]->type.lanes;
      if (addresses != 1 && addresses != last.node.type.lanes) {
        reader_.error(last.span, fmt::format("a load of {} lanes with {} addresses",
                                             last.node.type.lanes, addresses));
        return nullptr;
      }
    }
    return close();
  }

  void report_rank(std::string_view name, Span span, int rank, size_t indices) {
    reader_.error(span,
                  fmt::format("`{}` has rank {} but is read with {} indices", name, rank, indices));
  }

  ExprRef parse_number(bool negative) {
    const Token token = reader_.take();
    const bool is_word = token.text == "inf" || token.text == "nan";
    const bool looks_real = is_word || token.text.find_first_of(".eE") != std::string_view::npos;
    Type type = {looks_real ? options_.real : ScalarType::i64};
    if (!token.suffix.empty()) type = parse_type(token.suffix).value_or(type);
    if (looks_real && !is_real(type.scalar)) {
      reader_.error(token.span, fmt::format("a real number of type {}", spelling(type)));
      return nullptr;
    }
    std::string digits = negative ? "-" : "";
    digits += token.text;
    const char* begin = digits.data();
    const char* end = begin + digits.size();
    Expr node;
    node.op = Op::constant;
    node.type = type;
    std::from_chars_result result{};
    if (is_real(type.scalar)) {
      result = std::from_chars(begin, end, node.real);
    } else {
      result = std::from_chars(begin, end, node.integer);
    }
    if (result.ec != std::errc() || result.ptr != end || !fits(node)) {
      reader_.error(token.span, fmt::format("this number does not fit {}", spelling(type)));
      return nullptr;
    }
    return make_node(std::move(node));
  }

  static bool fits(const Expr& constant) {
    const int64_t value = constant.integer;
    switch (constant.type.scalar) {
      case ScalarType::boolean:
        return value == 0 || value == 1;
      case ScalarType::u8:
        return value >= 0 && value <= 255;
      case ScalarType::i32:
        return value >= INT32_MIN && value <= INT32_MAX;
      case ScalarType::i64:
      case ScalarType::f32:
      case ScalarType::f64:
        return true;
    }
    return true;
  }

  ExprRef parse_word() {
    const Token word = reader_.peek();
    if (word.text == "true" || word.text == "false") {
      reader_.take();
      return make_boolean(word.text == "true");
    }
    if (reader_.at("(", 1)) return begin_call();
    if (options_.level == ExprLevel::loop && reader_.at_name(1)) {
      if (std::optional<int> lanes = lanes_behind(word.text, "load")) {
        begin_load(*lanes);
        return nullptr;
      }
    }
    if (!is_valid_name(word.text)) {
      reader_.error_expected("an expression");
      return nullptr;
    }
    reader_.take();
    const bool indexed = reader_.at("[");
    const NameMeaning meaning = resolve_(word.text, indexed);
    if (meaning.kind == NameMeaning::Kind::tensor && options_.level == ExprLevel::tensor) {
      return begin_read(word, meaning);
    }
    return leaf(word, indexed, meaning);
  }

  /// A name that stands for a value by itself.
  ExprRef leaf(const Token& word, bool indexed, const NameMeaning& meaning) {
    Expr node;
    node.name = word.text;
    node.type = {ScalarType::i64};
    switch (meaning.kind) {
      case NameMeaning::Kind::unknown:
        reader_.error(word.span, fmt::format("there is no `{}` here", word.text));
        return nullptr;
      case NameMeaning::Kind::tensor:
        reader_.error(word.span, fmt::format("`{0}` is memory; write `load {0}[...]`", word.text));
        return nullptr;
      case NameMeaning::Kind::index:
        node.op = Op::index;
        break;
      case NameMeaning::Kind::uniform:
        node.op = Op::uniform;
        break;
      case NameMeaning::Kind::variable:
        node.op = Op::variable;
        node.type = meaning.type;
        break;
    }
    if (indexed) {
      reader_.error(word.span, fmt::format("`{}` is not a tensor", word.text));
      return nullptr;
    }
    return make_node(std::move(node));
  }

  ExprRef begin_read(const Token& word, const NameMeaning& meaning) {
    Expr node;
    node.op = Op::read;
    node.name = word.text;
    node.type = {value_type(meaning.stored)};
    if (reader_.accept("[")) {
      open(Open::Kind::read, std::move(node), word.span, strength_select, meaning.rank);
      return nullptr;
    }
    if (meaning.rank != 0) {
      report_rank(node.name, word.span, meaning.rank, 0);
      return nullptr;
    }
    return build(std::move(node), word.span);
  }

  void begin_load(int lanes) {
    reader_.take();
    const Token name = reader_.take();
    const NameMeaning meaning = resolve_(name.text, true);
    if (meaning.kind != NameMeaning::Kind::tensor) {
      return reader_.error(name.span, fmt::format("there is no memory `{}` here", name.text));
    }
    Expr node;
    node.op = Op::read;
    node.name = name.text;
    node.type = {meaning.stored, lanes};
    if (!reader_.expect("[")) return;
    open(Open::Kind::read, std::move(node), name.span);
  }

  /// Everything that is written like a call.
  ExprRef begin_call() {
    const Token word = reader_.take();
    Expr node;
    if (!set_operator(node, word)) {
      reader_.error(word.span, fmt::format("there is no function `{}`", word.text));
      return nullptr;
    }
    reader_.expect("(");
    if (reader_.accept(")")) return build(std::move(node), word.span);
    open(Open::Kind::call, std::move(node), word.span);
    return nullptr;
  }

  /// Sets op, and what the word says beyond it: type, lanes, stream. False: no such function.
  bool set_operator(Expr& node, const Token& word) {
    if (std::optional<Op> op = function_operator(word.text)) {
      node.op = *op;
      return true;
    }
    if (std::optional<ScalarType> type = parse_scalar_type(word.text)) {
      node.op = Op::convert;
      node.type = {*type};
      return true;
    }
    for (Op op : {Op::rand, Op::normal}) {
      const std::string prefix = fmt::format("{}.", spelling(op));
      if (word.text.starts_with(prefix)) {
        node.op = op;
        return set_stream(node, word.text.substr(prefix.size()));
      }
    }
    if (options_.level != ExprLevel::loop) return false;
    if (word.text.starts_with("bits.")) {
      std::optional<Type> type = parse_type(word.text.substr(5));
      node.op = Op::bit_cast;
      node.type = type.value_or(Type{});
      return type.has_value();
    }
    for (Op op : {Op::splat, Op::iota}) {
      if (std::optional<int> lanes = lanes_behind(word.text, spelling(op))) {
        node.op = op;
        node.type = {ScalarType::i64, *lanes};
        return *lanes > 1;
      }
    }
    return false;
  }

  /// `3` or `3.f64`.
  bool set_stream(Expr& node, std::string_view text) {
    node.type = {options_.real};
    const char* begin = text.data();
    const char* end = begin + text.size();
    auto [stop, status] = std::from_chars(begin, end, node.integer);
    if (status != std::errc() || node.integer < 0) return false;
    if (stop == end) return true;
    if (*stop != '.') return false;
    std::optional<ScalarType> type = parse_scalar_type(std::string_view(stop + 1, end));
    if (!type || !is_real(*type)) return false;
    node.type = {*type};
    return true;
  }

  TextReader& reader_;
  const NameResolver& resolve_;
  const ExprTextOptions options_;
  std::vector<Open> open_;
};

}  // namespace

std::string print_expression(const ExprRef& e, const ExprTextOptions& options) {
  ExpressionPrinter printer(options);
  printer.print(*e, strength_select);
  return printer.take();
}

bool is_uniform_name(std::string_view name) {
  for (std::string_view uniform : {"rows", "step", "epoch", "steps", "seed"}) {
    if (name == uniform) return true;
  }
  return false;
}

ExprRef parse_expression(TextReader& reader, const NameResolver& resolve,
                         const ExprTextOptions& options) {
  return ExpressionParser(reader, resolve, options).parse();
}

}  // namespace fusegrad::ir
