// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Printing and parsing of scalar expressions. Both sides know the same precedences, so that the
// printed text has exactly the parentheses that the parser needs.
#include "ir/expr_text.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <memory>
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

class Printer {
 public:
  explicit Printer(const ExprTextOptions& options) : options_(options) {}

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
    if (!(e.type == unmarked)) text_ += ":" + spelling(e.type);
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

/// Recursive descent. Frames are kept small (nodes under construction live on the heap), because
/// text may nest to maximum_expression_depth.
class Parser {
 public:
  Parser(TextReader& reader, const NameResolver& resolve, const ExprTextOptions& options)
      : reader_(reader), resolve_(resolve), options_(options) {}

  /// expr = "if" expr "then" expr "else" expr | or
  ExprRef parse() {
    Nesting nesting(*this, parentheses_);
    if (nesting.too_deep()) return nullptr;
    if (!reader_.at("if")) return parse_infix(strength_or);
    const Span span = reader_.take().span;
    std::vector<ExprRef> operands;
    if (!parse_operand(operands) || !reader_.expect("then") || !parse_operand(operands) ||
        !reader_.expect("else") || !parse_operand(operands)) {
      return nullptr;
    }
    return build(Op::select, std::move(operands), span);
  }

 private:
  /// Bounds the recursion: what nests in the text need not make the expression deeper. Every level
  /// of a printed expression has at most one pair of parentheses and one prefix.
  class Nesting {
   public:
    Nesting(Parser& parser, int& counter) : parser_(parser), counter_(counter) { ++counter_; }
    ~Nesting() { --counter_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;
    bool too_deep() {
      if (counter_ <= maximum_expression_depth + 1) return false;
      parser_.report_depth(parser_.reader_.peek().span);
      return true;
    }

   private:
    Parser& parser_;
    int& counter_;
  };

  void report_depth(Span span) {
    reader_.error(span, fmt::format("this expression is nested more than {} levels deep",
                                    maximum_expression_depth));
  }

  bool parse_operand(std::vector<ExprRef>& operands) {
    ExprRef operand = parse();
    if (operand == nullptr) return false;
    operands.push_back(std::move(operand));
    return true;
  }

  /// Checks types and depth, then makes the node.
  ExprRef build(Expr node, Span span) {
    for (const ExprRef& operand : node.operands) {
      if (operand->depth() >= maximum_expression_depth) {
        report_depth(span);
        return nullptr;
      }
    }
    if (type_follows_operands(node.op) && !node.operands.empty()) node.type = result_type(node);
    std::string mistake = type_mistake(node);
    if (!mistake.empty()) {
      reader_.error(span, std::move(mistake));
      return nullptr;
    }
    return make_node(std::move(node));
  }

  ExprRef build(Op op, std::vector<ExprRef> operands, Span span) {
    Expr node;
    node.op = op;
    node.operands = std::move(operands);
    return build(std::move(node), span);
  }

  /// Operators that hold at least as tightly as `weakest`, from left to right.
  ExprRef parse_infix(Strength weakest) {
    ExprRef left = weakest <= strength_not && reader_.at("not") ? parse_not() : parse_minus();
    bool compared = false;
    while (left != nullptr) {
      const std::optional<Op> op = infix_operator(reader_.peek());
      if (!op || *op == Op::power || infix_strength(*op) < weakest) break;
      if (infix_strength(*op) == strength_compare) {
        if (compared) {
          reader_.error(reader_.peek().span, "comparisons do not chain");
          return nullptr;
        }
        compared = true;
      }
      const Span span = reader_.take().span;
      ExprRef right = parse_infix(static_cast<Strength>(infix_strength(*op) + 1));
      if (right == nullptr) return nullptr;
      left = build(*op, {std::move(left), std::move(right)}, span);
    }
    return left;
  }

  /// not = "not" not | cmp
  ExprRef parse_not() {
    Nesting nesting(*this, prefixes_);
    if (nesting.too_deep()) return nullptr;
    const Span span = reader_.take().span;
    ExprRef operand = parse_infix(strength_not);
    if (operand == nullptr) return nullptr;
    return build(Op::logical_not, {std::move(operand)}, span);
  }

  /// unary = "-" unary | power. `-1.0` is a constant unless `^` follows.
  ExprRef parse_minus() {
    if (!reader_.at("-")) return parse_power();
    Nesting nesting(*this, prefixes_);
    if (nesting.too_deep()) return nullptr;
    const Span span = reader_.take().span;
    if (reader_.peek().kind == TokenKind::number && !reader_.at("^", 1)) return parse_number(true);
    ExprRef operand = parse_minus();
    if (operand == nullptr) return nullptr;
    return build(Op::negate, {std::move(operand)}, span);
  }

  /// power = primary [ "^" unary ]
  ExprRef parse_power() {
    ExprRef base = parse_primary();
    if (base == nullptr || !reader_.at("^")) return base;
    Nesting nesting(*this, prefixes_);
    if (nesting.too_deep()) return nullptr;
    const Span span = reader_.take().span;
    ExprRef exponent = parse_minus();
    if (exponent == nullptr) return nullptr;
    return build(Op::power, {std::move(base), std::move(exponent)}, span);
  }

  ExprRef parse_primary() {
    const Token& token = reader_.peek();
    if (token.kind == TokenKind::number) return parse_number(false);
    if (token.kind == TokenKind::name) return parse_word();
    if (reader_.accept("(")) {
      ExprRef inside = parse();
      if (inside == nullptr || !reader_.expect(")")) return nullptr;
      return inside;
    }
    reader_.error_expected("an expression");
    return nullptr;
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
    const std::string_view word = reader_.peek().text;
    if (word == "true" || word == "false") {
      reader_.take();
      return make_boolean(word == "true");
    }
    if (reader_.at("(", 1)) return parse_call();
    if (options_.level == ExprLevel::loop && reader_.at_name(1)) {
      if (std::optional<int> lanes = lanes_behind(word, "load")) return parse_load(*lanes);
    }
    if (!is_valid_name(word)) {
      reader_.error_expected("an expression");
      return nullptr;
    }
    const Span span = reader_.take().span;
    const bool indexed = reader_.at("[");
    const NameMeaning meaning = resolve_(word, indexed);
    if (meaning.kind == NameMeaning::Kind::tensor && options_.level == ExprLevel::tensor) {
      return parse_read(word, span, meaning);
    }
    return leaf(word, span, indexed, meaning);
  }

  /// A name that stands for a value by itself.
  ExprRef leaf(std::string_view word, Span span, bool indexed, const NameMeaning& meaning) {
    if (indexed && meaning.kind != NameMeaning::Kind::unknown &&
        meaning.kind != NameMeaning::Kind::tensor) {
      reader_.error(span, fmt::format("`{}` is not a tensor", word));
      return nullptr;
    }
    Expr node;
    node.name = word;
    node.type = {ScalarType::i64};
    switch (meaning.kind) {
      case NameMeaning::Kind::unknown:
        reader_.error(span, fmt::format("there is no `{}` here", word));
        return nullptr;
      case NameMeaning::Kind::tensor:
        reader_.error(span, fmt::format("`{0}` is memory; write `load {0}[...]`", word));
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
    return make_node(std::move(node));
  }

  ExprRef parse_read(std::string_view word, Span span, const NameMeaning& meaning) {
    auto node = std::make_unique<Expr>();
    node->op = Op::read;
    node->name = word;
    node->type = {value_type(meaning.stored)};
    if (reader_.accept("[")) {
      do {
        if (!parse_operand(node->operands)) return nullptr;
      } while (reader_.accept(","));
      if (reader_.accept("else")) {
        node->has_else = true;
        if (!parse_operand(node->operands)) return nullptr;
      }
      if (!reader_.expect("]")) return nullptr;
    }
    if (node->index_count() != static_cast<size_t>(meaning.rank)) {
      reader_.error(span, fmt::format("`{}` has rank {} but is read with {} indices", node->name,
                                      meaning.rank, node->index_count()));
      return nullptr;
    }
    return build(std::move(*node), span);
  }

  ExprRef parse_load(int lanes) {
    reader_.take();
    const std::string_view name = reader_.peek().text;
    const Span span = reader_.take().span;
    const NameMeaning meaning = resolve_(name, true);
    if (meaning.kind != NameMeaning::Kind::tensor) {
      reader_.error(span, fmt::format("there is no memory `{}` here", name));
      return nullptr;
    }
    std::vector<ExprRef> operands;
    if (!reader_.expect("[") || !parse_operand(operands) || !reader_.expect("]")) return nullptr;
    const int address_lanes = operands[0]->type.lanes;
    if (address_lanes != 1 && address_lanes != lanes) {
      reader_.error(span,
                    fmt::format("a load of {} lanes with {} addresses", lanes, address_lanes));
      return nullptr;
    }
    Expr node;
    node.op = Op::read;
    node.name = name;
    node.type = {meaning.stored, lanes};
    node.operands = std::move(operands);
    return build(std::move(node), span);
  }

  /// Everything that is written like a call.
  ExprRef parse_call() {
    const Token word = reader_.take();
    auto node = std::make_unique<Expr>();
    if (!set_operator(*node, word)) {
      reader_.error(word.span, fmt::format("there is no function `{}`", word.text));
      return nullptr;
    }
    reader_.expect("(");
    if (!reader_.accept(")")) {
      do {
        if (!parse_operand(node->operands)) return nullptr;
      } while (reader_.accept(","));
      if (!reader_.expect(")")) return nullptr;
    }
    if (!node->operands.empty()) {
      const Type operand = node->operands[0]->type;
      if (node->op == Op::splat) node->type.scalar = operand.scalar;
      if (node->op == Op::convert || node->op == Op::rand || node->op == Op::normal) {
        node->type.lanes = operand.lanes;
      }
    }
    return build(std::move(*node), word.span);
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
    const char* end = text.data() + text.size();
    auto [stop, status] = std::from_chars(text.data(), end, node.integer);
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
  int parentheses_ = 0;
  int prefixes_ = 0;
};

}  // namespace

std::string print_expression(const ExprRef& e, const ExprTextOptions& options) {
  Printer printer(options);
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
  return Parser(reader, resolve, options).parse();
}

}  // namespace fusegrad::ir
