// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Expressions as text: parse(print(e)) is e, print(parse(s)) is s, mistakes are located.
#include "ir/expr_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "ir/expr_types.h"
#include "ir/loop/program.h"

namespace fusegrad::ir {
namespace {

using ::testing::HasSubstr;

NameMeaning resolve_tensor(std::string_view name, bool indexed) {
  if (name == "both")
    return indexed ? NameMeaning::tensor(ScalarType::f32, 1) : NameMeaning::index();
  if (name == "i" || name == "j" || name == "k") return NameMeaning::index();
  if (name == "a" || name == "b" || name == "c") return NameMeaning::tensor(ScalarType::f32, 0);
  if (name == "x" || name == "dense.w'") return NameMeaning::tensor(ScalarType::f32, 2);
  if (name == "label") return NameMeaning::tensor(ScalarType::u8, 1);
  if (name == "count") return NameMeaning::tensor(ScalarType::i32, 0);
  if (name == "p" || name == "q") return NameMeaning::tensor(ScalarType::boolean, 0);
  if (name == "d") return NameMeaning::tensor(ScalarType::f64, 0);
  return is_uniform_name(name) ? NameMeaning::uniform() : NameMeaning();
}

NameMeaning resolve_loop(std::string_view name, bool) {
  if (name == "n" || name == "begin") return NameMeaning::variable({ScalarType::i64});
  if (name == "narrow") return NameMeaning::variable({ScalarType::i32});
  if (name == "n8") return NameMeaning::variable({ScalarType::i64, 8});
  if (name == "v") return NameMeaning::variable({ScalarType::f32, 8});
  if (name == "m") return NameMeaning::variable({ScalarType::boolean, 8});
  if (name == "s") return NameMeaning::variable({ScalarType::f32});
  if (name == "image") return NameMeaning::tensor(ScalarType::u8, 1);
  if (name == "dense.w") return NameMeaning::tensor(ScalarType::f32, 1);
  return is_uniform_name(name) ? NameMeaning::uniform() : NameMeaning();
}

struct Parsed {
  ExprRef e;
  std::string message;  ///< rendered; "" when there is none
  uint32_t column = 0;
};

Parsed parse(const std::string& text, ExprTextOptions options = {}) {
  SourceManager sources;
  Diagnostics diagnostics;
  const uint32_t file = sources.add("text", text);
  TextReader reader(sources, file, diagnostics);
  Parsed parsed;
  parsed.e = parse_expression(
      reader, options.level == ExprLevel::loop ? resolve_loop : resolve_tensor, options);
  if (parsed.e != nullptr && !reader.at_end()) {
    reader.error_expected("the end");
    parsed.e = nullptr;
  }
  EXPECT_EQ(parsed.e == nullptr, diagnostics.has_errors());
  EXPECT_LE(diagnostics.all().size(), 1u);
  if (diagnostics.has_errors()) {
    const Diagnostic& first = diagnostics.all()[0];
    EXPECT_EQ(first.code, "E0901");
    parsed.message = first.message;
    parsed.column = sources.position(file, first.primary.span.begin).column;
  }
  return parsed;
}

/// The text must come back as it is.
void expect_canonical(const std::string& text, ExprTextOptions options = {}) {
  Parsed parsed = parse(text, options);
  ASSERT_NE(parsed.e, nullptr) << text << ": " << parsed.message;
  EXPECT_EQ(print_expression(parsed.e, options), text);
}

/// The expression must come back as it is.
void expect_same(const ExprRef& e, ExprTextOptions options = {}) {
  const std::string text = print_expression(e, options);
  Parsed parsed = parse(text, options);
  ASSERT_NE(parsed.e, nullptr) << text << ": " << parsed.message;
  EXPECT_TRUE(same(parsed.e, e)) << text;
}

std::string mistake(const std::string& text, ExprTextOptions options = {}) {
  Parsed parsed = parse(text, options);
  EXPECT_EQ(parsed.e, nullptr) << text;
  return parsed.message;
}

constexpr ExprTextOptions on_loops = {ScalarType::f32, ExprLevel::loop};

TEST(ExprText, CanonicalTextComesBack) {
  for (const char* text : {
           "a",
           "1",
           "-1",
           "1.0",
           "-1.0",
           "0.0078125",
           "1e-07",
           "1e+16",
           "5e-324",
           "1.7976931348623157e+308",
           "inf",
           "-inf",
           "nan",
           "true",
           "false",
           "a + b - c",
           "a - (b - c)",
           "a * b / c",
           "a * (b / c)",
           "(a + b) * c",
           "-a * b",
           "-(a * b)",
           "a * -b",
           "-(-a)",
           "-(1.0)",
           "-(-1.0)",
           "a - -1.0",
           "a ^ 2.0 ^ b",
           "(a ^ 2.0) ^ b",
           "-a ^ 2.0",
           "(-a) ^ 2.0",
           "-1.0 ^ a",
           "(-1.0) ^ a",
           "a ^ -1.0",
           "a ^ -b",
           "2.0 ^ step",
           "i // 28 * 28 + i % 28",
           "i // (j * 28)",
           "i < 3 and j <= 2 or not k >= 1",
           "(i < 3 or j < 2) and k == 1",
           "i < 3 and (j < 2 and k == 1)",
           "not (i < 3 and j < 2)",
           "not not p",
           "(not p) == q",
           "not p == q",
           "(i < 3) == (j < 3)",
           "p != q",
           "if p then a else b",
           "if p then a else if q then b else c",
           "if if p then q else p then a else b",
           "(if p then a else b) + c",
           "a + (if p then a else b)",
           "if p then if q then a else b else c",
           "f32(label[i]) / 255.0",
           "f32(i32(a))",
           "i64(a) + i",
           "count + i",
           "x[i, j]",
           "x[i + 1, j - 1 else 0.0]",
           "x[if p then i else j, 0 else if p then a else -inf]",
           "dense.w'[i, label[j]]",
           "min(a, b)",
           "max(i, j)",
           "exp(a) + log(a) + log1p(a) + expm1(a) + sqrt(a) + rsqrt(a) + tanh(a) + erf(a)",
           "sin(a) + cos(a) + abs(a) + floor(a)",
           "stop_gradient(max(a, b))",
           "custom(a)",
           "custom(a, b, 1.0, c, x[i, j])",
           "rand.3(i * 10 + j)",
           "normal.0(i)",
           "rand.4294967295.f64(i) + d",
           "1.5:f64 * d",
           "7:i32",
           "255:u8",
           "both[both]",
           "seed + rows * steps - epoch",
       }) {
    expect_canonical(text);
  }
}

TEST(ExprText, LoopTextComesBack) {
  for (const char* text : {
           "load image[n * 784 + 3]",
           "load8 dense.w[n]",
           "load8 dense.w[n8 * splat8(10)]",
           "splat8(s) * v",
           "iota8() + splat8(n)",
           "bits.i32x8(v)",
           "bits.f32(narrow)",
           "lane(v, 3)",
           "vector_sum(v)",
           "fma(v, splat8(1.0), load8 dense.w[0])",
           "bit_and(narrow, 7:i32)",
           "bit_or(n, 1)",
           "bit_xor(n8, 3:i64x8)",
           "shift_left(n8, 2)",
           "shift_right(narrow, 3:i32)",
           "if m then v else 0.0:f32x8",
           "f32(n8)",
           "f64(v)",
           "1:boolx8",
           "inf:f64",
           "rand.7(n8)",
           "begin + rows",
           "f32(load image[n]) * 0.003921569",
       }) {
    expect_canonical(text, on_loops);
  }
}

TEST(ExprText, RealsOfAnF64ProgramAreUnmarked) {
  const ExprTextOptions options = {ScalarType::f64, ExprLevel::tensor};
  EXPECT_EQ(print_expression(make_real(0.5, ScalarType::f64), options), "0.5");
  EXPECT_EQ(print_expression(make_real(0.5, ScalarType::f32), options), "0.5:f32");
  EXPECT_EQ(parse("0.5", options).e->type, Type{ScalarType::f64});
  expect_canonical("d + 0.5", options);
  expect_canonical("a + 0.5:f32", options);
}

TEST(ExprText, EveryConstantComesBack) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (double value : {0.0, -0.0, 0.1, static_cast<double>(0.1F), 1.0 / 3.0, 1e22, 1e21,
                       123456789.0, 4.9e-324, -infinity, infinity, std::nan(""), -std::nan("")}) {
    expect_same(make_real(value, ScalarType::f32));
    expect_same(make_real(value, ScalarType::f64));
    expect_same(make_unary(Op::negate, make_real(value, ScalarType::f32)));
    expect_same(make_binary(Op::power, make_real(value, ScalarType::f32),
                            make_real(value, ScalarType::f32)));
  }
  for (int64_t value : {INT64_C(0), INT64_C(-1), INT64_MAX, INT64_MIN}) {
    expect_same(make_integer(value));
    expect_same(make_unary(Op::negate, make_integer(value)));
  }
  expect_same(make_integer(INT32_MIN, ScalarType::i32));
  expect_same(make_unary(Op::negate, make_integer(3, ScalarType::i32)));
}

// All trees of two operators over the leaves, with every operator of the table that can be made
// from reals: parentheses are right if all of them come back.
TEST(ExprText, EveryPairOfOperatorsComesBack) {
  const ExprRef a = make_read("a", ScalarType::f32, {});
  const ExprRef one = make_real(1.0, ScalarType::f32);
  const ExprRef minus_one = make_real(-1.0, ScalarType::f32);
  const ExprRef p = make_read("p", ScalarType::boolean, {});
  std::vector<ExprRef> small = {a, one, minus_one, p};
  auto extend = [](const std::vector<ExprRef>& from) {
    std::vector<ExprRef> trees;
    auto add = [&](Op op, std::vector<ExprRef> operands) {
      Expr node;
      node.op = op;
      node.operands = std::move(operands);
      node.type = result_type(node);
      if (type_mistake(node).empty()) trees.push_back(make_node(std::move(node)));
    };
    for (const ExprRef& left : from) {
      add(Op::negate, {left});
      add(Op::logical_not, {left});
      add(Op::exp, {left});
      for (const ExprRef& right : from) {
        for (Op op : {Op::add, Op::subtract, Op::multiply, Op::divide, Op::power, Op::minimum,
                      Op::less, Op::equal, Op::logical_and, Op::logical_or}) {
          add(op, {left, right});
        }
      }
    }
    for (const ExprRef& condition : {from[3], from.back()}) {
      add(Op::select, {condition, from[0], from[1]});
      add(Op::select, {condition, from[3], from[3]});
      add(Op::select, {condition, from.front(), from[4 % from.size()]});
    }
    trees.insert(trees.begin(), from.begin(), from.end());
    return trees;
  };
  std::vector<ExprRef> trees = extend(extend(small));
  ASSERT_GT(trees.size(), 10000u);
  for (const ExprRef& e : trees) {
    expect_same(e);
    if (HasFailure()) break;
  }
}

TEST(ExprText, BlanksAndCommentsDoNotMatter) {
  Parsed parsed = parse("a+b # the sum\n *-1.0e0");
  ASSERT_NE(parsed.e, nullptr) << parsed.message;
  EXPECT_EQ(print_expression(parsed.e, {}), "a + b * -1.0");
}

TEST(ExprText, ANumberBeforeAConversionHasNoSuffix) {
  SourceManager sources;
  Diagnostics diagnostics;
  TextReader reader(sources, sources.add("text", "7:f32(a) 7:f32"), diagnostics);
  EXPECT_EQ(reader.take().suffix, "");
  EXPECT_TRUE(reader.accept(":"));
  EXPECT_EQ(reader.take().text, "f32");
  for (int i = 0; i < 3; ++i) reader.take();
  EXPECT_EQ(reader.take().suffix, "f32");
  EXPECT_TRUE(reader.at_end());
}

TEST(ExprText, MistakesAreNamedAndLocated) {
  EXPECT_EQ(mistake("a + unknown"), "there is no `unknown` here");
  EXPECT_EQ(parse("a + unknown").column, 5u);
  EXPECT_EQ(mistake("a + i"), "`+` of f32 and i64");
  EXPECT_EQ(parse("a + i").column, 3u);
  EXPECT_EQ(mistake("x[i]"), "`x` has rank 2 but is read with 1 indices");
  EXPECT_EQ(mistake("x"), "`x` has rank 2 but is read with 0 indices");
  EXPECT_EQ(mistake("a[i]"), "`a` has rank 0 but is read with 1 indices");
  EXPECT_EQ(mistake("i[j]"), "`i` is not a tensor");
  EXPECT_EQ(mistake("x[a, j]"), "an index of `x` is f32, not i64");
  EXPECT_EQ(mistake("x[i, j else 0]"), "`x` has elements of f32 but its else value is i64");
  EXPECT_EQ(mistake("i < j < k"), "comparisons do not chain");
  EXPECT_EQ(mistake("(i < j) < p"), "`<` needs numbers, not bool");
  EXPECT_EQ(mistake("if i then a else b"), "the condition of `if` is i64, not bool");
  EXPECT_EQ(mistake("if p then a else i"), "`if` with branches of f32 and i64");
  EXPECT_EQ(mistake("if p then a"), "expected `else`, found the end of the text");
  EXPECT_EQ(mistake("a + if p then a else b"), "expected an expression, found `if`");
  EXPECT_EQ(mistake("a // b"), "`//` needs integers, not f32");
  EXPECT_EQ(mistake("i / j"), "`/` needs reals, not i64");
  EXPECT_EQ(mistake("exp(i)"), "`exp` needs reals, not i64");
  EXPECT_EQ(mistake("exp(a, b)"), "`exp` needs 1 argument, not 2");
  EXPECT_EQ(mistake("max(a)"), "`max` needs 2 arguments, not 1");
  EXPECT_EQ(mistake("f32()"), "a conversion needs 1 argument, not 0");
  EXPECT_EQ(mistake("foo(a)"), "there is no function `foo`");
  EXPECT_EQ(mistake("rand.x(i)"), "there is no function `rand.x`");
  EXPECT_EQ(mistake("rand.1.i64(i)"), "there is no function `rand.1.i64`");
  EXPECT_EQ(mistake("custom(a, b)"),
            "`custom` needs a value and then pairs of an argument and its slope");
  EXPECT_EQ(mistake("not a"), "`not` needs bool, not f32");
  EXPECT_EQ(mistake("p and i"), "`and` of bool and i64");
  EXPECT_EQ(mistake("(a"), "expected `)`, found the end of the text");
  EXPECT_EQ(mistake("a ? b"), "expected the end, found `?`");
  EXPECT_EQ(mistake("a $ b"), "unexpected character");
  EXPECT_EQ(mistake(""), "expected an expression, found the end of the text");
  EXPECT_EQ(mistake("9223372036854775808"), "this number does not fit i64");
  EXPECT_EQ(mistake("1e999"), "this number does not fit f32");
  EXPECT_EQ(mistake("256:u8"), "this number does not fit u8");
  EXPECT_EQ(mistake("1.5:i32"), "a real number of type i32");
  EXPECT_EQ(mistake("2:bool"), "this number does not fit bool");
  EXPECT_EQ(mistake("else"), "expected an expression, found `else`");
  // L only.
  EXPECT_EQ(mistake("fma(a, b, a) + splat8(a)"), "there is no function `splat8`");
  EXPECT_EQ(mistake("load x[i]"), "there is no `load` here");
  EXPECT_EQ(mistake("image", on_loops), "`image` is memory; write `load image[...]`");
  EXPECT_EQ(mistake("image[n]", on_loops), "`image` is memory; write `load image[...]`");
  EXPECT_EQ(mistake("load nothing[n]", on_loops), "there is no memory `nothing` here");
  EXPECT_EQ(mistake("load4 image[n8]", on_loops), "a load of 4 lanes with 8 addresses");
  EXPECT_EQ(mistake("v + s", on_loops), "`+` of f32x8 and f32");
  EXPECT_EQ(mistake("lane(v, 8)", on_loops),
            "`lane` of f32x8 needs a constant below its number of lanes");
  EXPECT_EQ(mistake("bits.i64(s)", on_loops), "bits of f32 as i64");
  EXPECT_EQ(mistake("splat65(s)", on_loops), "there is no function `splat65`");
  EXPECT_EQ(mistake("if m then s else s", on_loops),
            "`if` with a condition of boolx8 and branches of f32");
}

std::string repeated(const std::string& piece, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += piece;
  return text;
}

TEST(ExprText, DepthIsLimitedWithoutACrash) {
  const std::string too_deep = "nested more than 2000 levels deep";
  EXPECT_THAT(mistake(repeated("(", 100000) + "a"), HasSubstr(too_deep));
  EXPECT_THAT(mistake(repeated("-", 100000) + "a"), HasSubstr(too_deep));
  EXPECT_THAT(mistake(repeated("not ", 100000) + "p"), HasSubstr(too_deep));
  EXPECT_THAT(mistake(repeated("a ^ ", 100000) + "a"), HasSubstr(too_deep));
  EXPECT_THAT(mistake(repeated("exp(", 100000) + "a"), HasSubstr(too_deep));
  EXPECT_THAT(mistake(repeated("if p then ", 100000) + "a"), HasSubstr(too_deep));
  EXPECT_THAT(mistake(repeated("x[i, ", 100000)), HasSubstr(too_deep));
  EXPECT_THAT(mistake(repeated("-(", 100000) + "a"), HasSubstr(too_deep));
  EXPECT_THAT(mistake("a" + repeated(" + a", 2000)), HasSubstr(too_deep));
}

TEST(ExprText, TheDeepestExpressionsComeBack) {
  const ExprRef a = make_read("a", ScalarType::f32, {});
  const ExprRef p = make_read("p", ScalarType::boolean, {});
  ExprRef left = a, right = a, minus = a, function = a, select = a, exponent = a, negated = p;
  while (left->depth() < maximum_expression_depth) {
    left = make_binary(Op::subtract, left, a);
    right = make_binary(Op::subtract, a, right);
    minus = make_unary(Op::negate, minus);
    function = make_unary(Op::exp, function);
    select = make_select(p, a, select);
    exponent = make_binary(Op::power, exponent, a);
    negated = make_unary(Op::logical_not, negated);
  }
  for (const ExprRef& e : {left, right, minus, function, select, exponent, negated}) {
    ASSERT_EQ(e->depth(), maximum_expression_depth);
    expect_same(e);
  }
}

TEST(ExprText, ValidNames) {
  for (const char* name : {"x", "dense.w", "dense.w'", "d.dense_2.w''", "_1", "x.1"}) {
    EXPECT_TRUE(is_valid_name(name)) << name;
  }
  for (const char* name :
       {"", "1x", "x.", ".x", "x..y", "x y", "if", "inf", "nan", "where", "x-1"}) {
    EXPECT_FALSE(is_valid_name(name)) << name;
  }
}

}  // namespace
}  // namespace fusegrad::ir
