// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The syntax tree of a model file: what was written, where, and nothing that needs a name to be
// resolved.
//
// Plain values: every node can be copied and compared by the reader; children are stored in place.
// Every node carries the span of its text. The parser bounds the depth of every tree (see
// parser.h), so recursive walks and the destructors are safe.
//
// The grammar is that of docs/language.md, with one addition to calls, which may override
// initialisers of the layer they call:
//     call = NAME "(" [ arg { "," arg } ] ")" { "as" NAME | "init" NAME "=" expr } ;
// for example `dense(x, 10) as head init w = 0 init c = 0.1`. `init` is an ordinary name elsewhere.
// Its value reaches as far as an expression can (`init w = 0.02 * normal()` is one initialiser),
// and a call that stands in it outside parentheses takes no `as` or `init` of its own: those belong
// to the layer.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ir/support/source.h"

namespace fusegrad::frontend::ast {

/// A name where it stands. An empty text means that there is none.
struct Identifier {
  std::string text;
  Span span;

  /// Names of sizes start with an upper-case letter, all others with a lower-case one.
  bool is_dimension() const { return !text.empty() && text[0] >= 'A' && text[0] <= 'Z'; }
};

// -------------------------------------------------------------------------------------------
// expressions

enum class ExpressionKind {
  invalid,      ///< a syntax error was reported here; stay silent about it
  number,       ///< 128, 60_000, 0.1, 3e-4: `text` as written, `number` its value
  infinity,     ///< inf
  boolean,      ///< true, false: `boolean`
  training,     ///< training
  string,       ///< "...": `text` is the value, escapes resolved
  name,         ///< a lower-case name: `name`
  dimension,    ///< an upper-case name: `name`
  ellipsis,     ///< `...`; only as an index of a read or a size of a type
  list,         ///< [a, b]: `operands`
  negate,       ///< -a: operands[0]
  logical_not,  ///< not a: operands[0]
  binary,       ///< a op b: `binary`, `operator_span`, operands[0], operands[1]
  conditional,  ///< if c then a else b: operands[0], [1], [2]
  read,         ///< t[i, ..., j else d]: base(), indices(), default_value()
  call,         ///< f(a, K = b) as n init w = e: `name`, `arguments`, `instance`, `initialisers`
  reduction,  ///< sum(i, j in 0..n where c: e): `reduction`, `name`, `binders`, condition(), body()
};

/// In the order of binding strength, weakest first.
enum class BinaryOperator {
  logical_or,
  logical_and,
  less,
  less_equal,
  greater,
  greater_equal,
  equal,
  not_equal,
  add,
  subtract,
  multiply,
  divide,
  floor_divide,  ///< //
  modulo,        ///< %
  power,         ///< ^
};

enum class ReductionOperator { sum, mean, max, min, argmax, argmin, any, all };

/// The value of a literal. A literal has no type of its own; `12` is an integer, `12.0` and `1e3`
/// are not.
struct Number {
  bool is_integer = false;
  int64_t integer = 0;  ///< valid if is_integer
  double real = 0;      ///< always valid; the nearest double
};

struct Argument;
struct Initialiser;
struct Binder;

/// One expression of any kind; which fields count is told by `kind`. Parentheses leave no node, but
/// the span of an expression in parentheses includes them.
struct Expression {
  ExpressionKind kind = ExpressionKind::invalid;
  uint16_t height =
      1;  ///< of the tree, 1 for a leaf; the parser keeps it at most max_expression_height
  Span span;

  Identifier name;   ///< name, dimension: itself; call: the callee; reduction: the operator's word
  std::string text;  ///< number: as written; string: its value
  Number number;
  bool boolean = false;
  BinaryOperator binary = BinaryOperator::add;
  ReductionOperator reduction = ReductionOperator::sum;
  Span operator_span;          ///< binary: the operator's sign; negate, logical_not: likewise
  bool has_default = false;    ///< read: the last operand is the default
  bool has_condition = false;  ///< reduction: operands[1] is the `where` condition

  std::vector<Expression> operands;
  std::vector<Argument> arguments;        ///< call
  Identifier instance;                    ///< call: the name after `as`; empty without
  std::vector<Initialiser> initialisers;  ///< call: `init NAME = expr`, as written
  std::vector<Binder> binders;            ///< reduction, at least one

  // Parts of a read.
  const Expression& base() const { return operands[0]; }
  std::span<const Expression> indices() const {
    return std::span(operands).subspan(1, operands.size() - 1 - (has_default ? 1 : 0));
  }
  const Expression* default_value() const { return has_default ? &operands.back() : nullptr; }

  // Parts of a reduction.
  const Expression& body() const { return operands[0]; }
  const Expression* condition() const { return has_condition ? &operands[1] : nullptr; }
};

/// `value` or `name = value` in a call; the name may be a dimension's.
struct Argument {
  Identifier name;  ///< empty for a positional argument
  Expression value;
  Span span;
};

/// `init parameter = value` behind a call.
struct Initialiser {
  Identifier parameter;
  Expression value;
  Span span;
};

/// `begin..end`, half open.
struct Range {
  Expression begin;
  Expression end;
  Span span;
};

/// An index that a left side or a reduction introduces: `i`, `i in a..b`, or `...`.
struct Binder {
  bool is_ellipsis = false;
  Identifier name;  ///< empty for `...`
  std::optional<Range> range;
  Span span;
};

// -------------------------------------------------------------------------------------------------
// types

enum class ElementName { real, integer, any, f16, bf16, f32, f64, u8, i32, boolean };

/// `real[..., I]`; a single number is `real[]`.
struct Type {
  ElementName element = ElementName::real;
  Span element_span;
  std::vector<Expression> sizes;  ///< at most one is an ellipsis
  Span span;
};

// --------------------------------------------------------------------------------------------
// statements

enum class StatementKind {
  constant,   ///< const NAME = value: names[0], value
  parameter,  ///< param NAME: type = value @tag: names[0], type, value, tags
  state,      ///< state NAME: type = value @tag; in an optimizer without a type
  require,    ///< require value, message
  when,       ///< when value { body } else { otherwise }
  repeat,     ///< repeat value { body }
  bind,       ///< a, b = value: whole tensors
  define,     ///< a[i, ...] = value: names[0], indices
  update,     ///< a <- value, a[i] <- value: names[0], has_brackets, indices
  input,      ///< input NAME: type in range: names[0], type, range
  output,     ///< output NAME: names[0]
  loss,       ///< loss = value
  metric,     ///< metric NAME = value: names[0]
};

/// One statement of a layer, a model, an optimizer or the block of a `fn`.
struct Statement {
  StatementKind kind = StatementKind::bind;
  Span span;
  Span keyword_span;   ///< the leading word (`param`, `when`, `loss`, ...); invalid where there is
                       ///< none
  Span operator_span;  ///< the `=` or `<-`; invalid where there is none

  std::vector<Identifier> names;
  std::optional<Type> type;
  std::optional<Range> range;
  bool has_brackets = false;    ///< update: `v[...] <-`, not `v <-`; define: always
  std::vector<Binder> indices;  ///< define, update
  Span left_span;               ///< bind, define, update: everything before the `=` or `<-`
  Expression value;  ///< also the condition of `when` and `require`, the count of `repeat`
  std::vector<Identifier> tags;       ///< parameter, state: names after `@`
  std::optional<Expression> message;  ///< require: the string
  std::vector<Statement> body;
  bool has_otherwise = false;  ///< when: there is an `else` block, perhaps an empty one
  std::vector<Statement> otherwise;
};

// -------------------------------------------------------------------------------------------------
// items `documentation` is the text of the comment lines directly above a definition, without the
// `#` and one space, lines separated by '\n', no newline at the end.

/// import "path"
struct Import {
  Span span;
  Expression path;  ///< a string, or invalid
};

/// const Hidden = 256
struct Constant {
  Span span;
  std::string documentation;
  Identifier name;
  Expression value;
};

/// A parameter of a fn, an optimizer or a gradient transform: `lr`, `beta = 0.9`.
struct ValueParameter {
  Identifier name;
  std::optional<Expression> default_value;
  Span span;
};

/// deriv NAME = value; with `!` it is on purpose not the derivative.
struct Derivative {
  bool is_override = false;  ///< written `deriv!`
  Identifier parameter;
  Expression value;
  Span span;
};

/// fn name(parameters) = result, or fn name(parameters) { bindings return result }
struct Function {
  Span span;
  std::string documentation;
  Identifier name;
  std::vector<ValueParameter> parameters;
  bool has_block = false;
  std::vector<Statement> bindings;  ///< all of kind `bind` with one name
  Expression result;
  std::vector<Derivative> derivatives;
};

enum class LayerParameterKind {
  tensor,   ///< x: real[B, I] in 0..V: type, range
  size,     ///< K: dim = 3: default_value
  real,     ///< rate: float = 0.1: default_value
  integer,  ///< bits: int = 4: default_value
  boolean,  ///< bias: bool = true: default_value
};

struct LayerParameter {
  LayerParameterKind kind = LayerParameterKind::tensor;
  Identifier name;
  std::optional<Type> type;
  std::optional<Range> range;
  std::optional<Expression> default_value;
  Span span;
};

/// An output of a layer: `y: real[..., O]`.
struct LayerOutput {
  Identifier name;
  Type type;
  Span span;
};

/// layer name(parameters) -> outputs { body }
struct Layer {
  Span span;
  Span signature_span;  ///< from the name to the end of the outputs
  std::string documentation;
  Identifier name;
  std::vector<LayerParameter> parameters;
  std::vector<LayerOutput> outputs;
  std::vector<Statement> body;

  /// False if a parameter does not parse or a name is given twice: the parser has told, and nobody
  /// can call the layer.
  bool has_good_parameters() const;
};

/// optimizer name(parameters) for p, g { body }, or gradient name(parameters) for g { body }
struct Optimizer {
  Span span;
  std::string documentation;
  bool is_transform = false;  ///< written `gradient`
  Identifier name;
  std::vector<ValueParameter> parameters;
  std::vector<Identifier> subjects;  ///< the one or two names after `for`
  std::vector<Statement>
      body;  ///< kinds `state` (without type), `bind` with one name, `update` without brackets
};

/// model name { body }
struct Model {
  Span span;
  std::string documentation;
  Identifier name;
  std::vector<Statement> body;
};

/// key = value in a `data` split or a `train` block; the key may be any word.
struct Entry {
  Identifier key;
  Expression value;
  Span span;
};

/// train { image = idx("...") }
struct Split {
  Identifier name;
  std::vector<Entry> entries;
  Span span;
};

/// data name { splits }
struct Data {
  Span span;
  std::string documentation;
  Identifier name;
  std::vector<Split> splits;
};

/// train [name] { entries }
struct Train {
  Span span;
  std::string documentation;
  Identifier name;  ///< may be empty
  std::vector<Entry> entries;
};

using Item = std::variant<Import, Constant, Function, Layer, Optimizer, Model, Data, Train>;

/// A whole file, items in the order in which they were written.
struct File {
  uint32_t file = Span::no_file;  ///< its number in the SourceManager
  std::vector<Item> items;
};

// --------------------------------------------------------------------------------------------
// spellings

std::string_view spelling(BinaryOperator op);
std::string_view spelling(ReductionOperator op);
std::string_view spelling(ElementName element);

}  // namespace fusegrad::frontend::ast
