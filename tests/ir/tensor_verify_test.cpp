// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The verifier of T: good programs pass, and every rule has a program that breaks it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "ir/support/check.h"
#include "ir/tensor/parse.h"
#include "ir/tensor/print.h"
#include "ir/tensor/verify.h"

namespace fusegrad::ir {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

/// The program with these lines; the text must parse.
TensorProgram program(const std::string& lines, const std::string& head = "p batch 8") {
  SourceManager sources;
  Diagnostics diagnostics;
  const uint32_t file =
      sources.add("p.tensor", "stage tensor\nprogram " + head + " {\n" + lines + "\n}\n");
  std::optional<TensorStage> stage = parse_tensor_module(sources, file, diagnostics);
  EXPECT_TRUE(stage.has_value()) << render(diagnostics, sources);
  return stage ? stage->module.programs.at(0) : TensorProgram{};
}

std::vector<std::string> violations(const std::string& lines, TensorRules rules = {}) {
  return verify(program(lines), rules);
}

/// The only violation of the program is this one.
void expect_violation(const std::string& lines, const std::string& message) {
  EXPECT_THAT(violations(lines), ElementsAre(HasSubstr(message))) << lines;
}

void expect_good(const std::string& lines) { EXPECT_THAT(violations(lines), IsEmpty()) << lines; }

TEST(TensorVerify, ASoftmaxRegressionStepIsGood) {
  const std::string lines = R"(
  input image: u8[rows, 28, 28]
  input label: u8[rows] in 0..10
  param dense.w: f32[784, 10]
  param dense.c: f32[10] @nodecay
  l0[p in 0..rows, o in 0..10]: f32 = sum(i in 0..784: f32(image[p, i // 28, i % 28]) / 255.0 * dense.w[i, o])
  l[p in 0..rows, o in 0..10]: f32 = l0[p, o] + dense.c[o]
  m[p in 0..rows]: f32 = max(k in 0..10: l[p, k])
  z[p in 0..rows]: f32 = sum(k in 0..10: exp(l[p, k] - m[p]))
  nll[p in 0..rows]: f32 = m[p] + log(z[p]) - l[p, label[p]]
  total: f32 = sum(r in 0..rows: nll[r])
  objective: f32 = total / f32(rows)
  best[p in 0..rows]: i32 = argmax(k in 0..10: l[p, k])
  hit[p in 0..rows]: f32 = if best[p] == label[p] then 1.0 else 0.0
  hits: f32 = sum(p in 0..rows: hit[p])
  d.l[q in 0..rows, q2 in 0..10]: f32 = (if label[q] == q2 then -1.0 / f32(rows) else 0.0) + exp(l[q, q2] - m[q]) / z[q]
  d.w[q in 0..784, q2 in 0..10]: f32 = sum(p in 0..rows: d.l[p, q2] * (f32(image[p, q // 28, q % 28]) / 255.0))
  dense.w'[u in 0..784, v in 0..10]: f32 = dense.w[u, v] - 0.1 * d.w[u, v]
  result loss = objective
  result metric accuracy = hits
  result output scores = l
  result gradient dense.w = d.w
  dense.w <- dense.w')";
  EXPECT_THAT(verify(program(lines), tensor_rules_at("tensor.opt")), IsEmpty());
}

TEST(TensorVerify, ReadsWithGuardsOfTheGradientAreGood) {
  expect_good(R"(
  input x: f32[rows, 28]
  y[b in 0..rows, q in 0..28]: f32 = if q >= 1 then x[b, q - 1] else 0.0
  z[b in 0..rows, q in 0..28]: f32 = sum(k in 0..3 where q - k + 1 >= 0 and q - k + 1 < 28: x[b, q - k + 1])
  s[b in 0..rows, q in 0..56]: f32 = sum(k in 0..2 where (q + 1) % 2 + 2 * k < 3 and (q + 1) // 2 - k >= 0 and (q + 1) // 2 - k < 28: x[b, (q + 1) // 2 - k] * x[b, (q + 1) % 2 + 2 * k])
  f[q in 0..rows*28]: f32 = x[q // 28, q % 28]
  g[b in 0..rows, i in 0..28]: f32 = f[b * 28 + i]
  h[b in 0..rows, i in 0..28]: f32 = x[b, 27 - i] + x[rows - 1 - b, i]
  e[b in 0..rows, i in 0..30]: f32 = x[b, i - 1 else 0.0] + (if i < 12 then x[b, i] else x[b, i - 12])
  c[b in 0..rows, i in 0..28]: f32 = sum(j in 0..28 where j <= i: x[b, i - j])
  d[b in 0..rows]: f32 = sum(r in 1..rows where r <= b: x[b - r, 0]))");
}

TEST(TensorVerify, IntegerTensorsCarryTheirRanges) {
  expect_good(R"(
  input label: u8[rows] in 0..10
  input token: i32[rows, 4] in -2..7
  param t: f32[10]
  shifted[b in 0..rows]: i32 = label[b] - 1
  clamped[b in 0..rows]: i32 = if token[b, 0] < 0 then 0 else token[b, 0]
  best[b in 0..rows]: i32 = argmax(i in 0..2, j in 0..5: t[i * 5 + j])
  most[b in 0..rows]: i32 = max(j in 0..4: token[b, j])
  count[b in 0..rows]: i32 = sum(j in 0..4: if token[b, j] > 3 then 2 else 1)
  y[b in 0..rows]: f32 = t[shifted[b] + 1] + t[clamped[b]] + t[best[b]] + t[most[b] + 2] + t[count[b]])");
  expect_violation(
      "input token: i32[rows] param t: f32[10] y[b in 0..rows]: f32 = t[token[b]]",
      "index `token[b]` may be -2147483648 to 2147483647, but dimension 0 of `t` is 0..10");
  expect_violation("input token: u8[rows] param t: f32[10] y[b in 0..rows]: f32 = t[token[b]]",
                   "index `token[b]` may be 0 to 255");
  expect_violation(
      "input l: u8[rows] in 0..10 param t: f32[10] "
      "a[b in 0..rows]: i32 = max(j in 0..4 where j < b: l[b]) y[b in 0..rows]: f32 = t[a[b]]",
      "index `a[b]` may be -2147483648 to 2147483647");
  expect_violation(
      "input l: u8[rows] in 0..10 param t: f32[10] "
      "a[b in 0..rows]: i32 = sum(j in 0..rows: l[j]) y[b in 0..rows]: f32 = t[a[b]]",
      "index `a[b]` may be 0 to 72");
  expect_violation(
      "input l: u8[rows] in 0..10 param t: f32[10] "
      "a[b in 0..rows]: u8 = l[b] - 1 y[b in 0..rows]: f32 = t[a[b]]",
      "index `a[b]` may be 0 to 255");
}

TEST(TensorVerify, ReadsOutOfRange) {
  expect_violation("input x: f32[rows, 28] y[b in 0..rows, i in 0..28]: f32 = x[b, i + 1]",
                   "index `i + 1` may be 1 to 28, but dimension 1 of `x` is 0..28");
  expect_violation("input x: f32[rows, 28] y[b in 0..rows, i in 0..28]: f32 = x[b, i - 1]",
                   "index `i - 1` may be -1 to 26");
  expect_violation("input x: f32[rows] y[b in 0..8]: f32 = x[b]",
                   "index `b` may be 0 to 7, but dimension 0 of `x` is 0..1 for 1 rows");
  expect_violation("input x: f32[rows] param t: f32[4] y[b in 0..rows]: f32 = t[b]",
                   "index `b` may be 0 to 7, but dimension 0 of `t` is 0..4");
  expect_violation("input x: f32[rows] y[b in 0..rows*2]: f32 = x[b]",
                   "index `b` may be 0 to 1, but dimension 0 of `x` is 0..1 for 1 rows");
  // A read with an else value is total, a guard of another index does not help.
  expect_good("input x: f32[rows, 28] y[b in 0..rows, i in 0..28]: f32 = x[b, i + 1 else 0.0]");
  expect_violation(
      "input x: f32[rows, 28] "
      "y[b in 0..rows, i in 0..28, j in 0..28]: f32 = if j < 27 then x[b, i + 1] else 0.0",
      "index `i + 1`");
  // The condition itself is not guarded, and the guard of a branch ends with it.
  expect_violation(
      "input x: f32[rows, 28] "
      "y[b in 0..rows, i in 0..28]: f32 = if x[b, i + 1] > 0.0 and i < 27 then 1.0 else 0.0",
      "index `i + 1`");
  expect_violation(
      "input x: f32[rows, 28] "
      "y[b in 0..rows, i in 0..28]: f32 = (if i < 27 then x[b, i + 1] else 0.0) + x[b, i + 2]",
      "index `i + 2`");
  expect_violation(
      "input x: f32[rows, 28] "
      "y[b in 0..rows, i in 0..28]: f32 = if i < 27 then 0.0 else x[b, i + 1]",
      "index `i + 1` may be 28 to 28");
  expect_violation(
      "input x: f32[rows, 28] "
      "y[b in 0..rows]: f32 = sum(i in 0..28 where x[b, i + 1] > 0.0: x[b, i])",
      "index `i + 1`");
}

TEST(TensorVerify, RandomPositionsAreNotNegative) {
  expect_good("y[u in 0..3, v in 0..4]: f32 = rand.1(u * 4 + v) + normal.4294967295(v)");
  expect_violation("y[u in 0..3]: f32 = rand.1(u - 1)", "the position `u - 1` of a random number");
  expect_good("y[u in 0..3]: f32 = if u > 0 then rand.1(u - 1) else 0.0");
  expect_violation("y[u in 0..3]: f32 = normal.4294967296(u)", "stream 4294967296");
}

TEST(TensorVerify, NamesAndIndices) {
  TensorProgram bad = program("x: f32 = 1.0 y: f32 = 2.0");
  bad.statements[1].name = "x";
  EXPECT_THAT(verify(bad), ElementsAre(HasSubstr("`x` is defined twice: in `x: f32 = 2.0`")));
  bad.statements[1].name = "a b";
  EXPECT_THAT(verify(bad), ElementsAre(HasSubstr("`a b` is not a valid name")));
  bad.statements[1].name = "rows";
  EXPECT_THAT(verify(bad), ElementsAre(HasSubstr("`rows` is the name of a uniform")));

  bad = program("x: f32 = 1.0 y: f32 = x");
  std::swap(bad.statements[0], bad.statements[1]);
  EXPECT_THAT(verify(bad), ElementsAre(HasSubstr("there is no tensor `x` before this statement")));

  expect_violation("x[i in 0..3, i in 0..3]: f32 = 1.0", "the index `i` occurs twice");
  expect_violation("x[i in 1..3]: f32 = 1.0", "the index `i` begins at 1");
  expect_violation("x[step in 0..3]: f32 = 1.0", "`step` is the name of a uniform");
  expect_violation("x[i in 0..3]: f32 = sum(i in 0..3: 1.0)", "the binder `i` hides an index");
  expect_violation("x: f32 = sum(i in 0..3, i in 0..3: 1.0)", "the index `i` occurs twice");
  expect_violation("x: f32 = sum(i in 3..2: 1.0)", "the range of `i` ends before it begins");
  EXPECT_THAT(violations("x[i in 0..0]: f32 = 1.0"),
              Contains(HasSubstr("a size of `x` is not positive")));
}

TEST(TensorVerify, AnIndexMayShareItsNameWithATensorThatIsNotRead) {
  expect_good("i: f32 = 1.0 z[i in 0..3]: f32 = f32(i)");
  TensorProgram bad = program("i: f32 = 1.0 z[k in 0..3]: f32 = f32(k) + i");
  bad.statements[1].indices[0].name = "i";
  bad.statements[1].value = make_binary(Op::add, make_convert(ScalarType::f32, make_index("i")),
                                        make_read("i", ScalarType::f32, {}));
  EXPECT_THAT(verify(bad),
              ElementsAre(HasSubstr("`i` names both an index and a tensor of rank 0")));
}

TEST(TensorVerify, IndicesOutOfScope) {
  TensorProgram bad = program("x[i in 0..3]: f32 = f32(i)");
  bad.statements[0].value = make_convert(ScalarType::f32, make_index("j"));
  EXPECT_THAT(verify(bad), ElementsAre(HasSubstr("there is no index `j` here")));
  bad.statements[0].value = make_convert(ScalarType::f32, make_uniform("time"));
  EXPECT_THAT(verify(bad), ElementsAre(HasSubstr("there is no uniform `time`")));
}

TEST(TensorVerify, ReadsHaveRankAndType) {
  TensorProgram bad = program("param w: f32[3] x[i in 0..3]: f32 = w[i]");
  const ExprRef i = make_index("i");
  bad.statements[0].value = make_read("w", ScalarType::f32, {i, i});
  EXPECT_THAT(verify(bad), ElementsAre(HasSubstr("`w` has rank 1 but is read with 2 indices")));
  bad.statements[0].value = make_convert(ScalarType::f32, make_read("w", ScalarType::i32, {i}));
  EXPECT_THAT(verify(bad), ElementsAre(HasSubstr("the read of `w` is marked as i64")));
}

TEST(TensorVerify, TypesAndOperators) {
  expect_violation("x: f32 = 1", "a value of type i64 for elements of f32");
  expect_violation("x: i32 = 1.0", "a value of type f32 for elements of i32");
  expect_violation("x: f32 = 1.0:f64", "a value of type f64 for elements of f32");
  expect_violation("x: bool = 1", "a value of type i64 for elements of bool");
  expect_good("a: i32 = 1 b: u8 = 1 c: bool = true d: i32 = i32(1.5) e: i64 = i64(i32(1.5)) + 1");
  expect_violation("x: f32 = sum(i in 0..3: i)", "a value of type i64 for elements of f32");
  expect_violation("x: bool = max(i in 0..3: i < 2)", "`max` needs numbers, not bool");
  expect_violation("x: i64 = argmax(i in 0..3: i)", "`argmax` gives i32, not i64");
  expect_violation("x: i32 = argmin(i in 0..3: i < 2)", "`argmin` needs numbers, not bool");
  expect_violation("x: i32 = argmax(i in 0..65536, j in 0..65536: i)", "more points than i32");
  expect_violation("x: f32 = any(i in 0..3: i < 2)", "`any` of bool for elements of f32");
  expect_violation("x: bool = all(i in 0..3: i)", "`all` of i64 for elements of bool");
  expect_violation("x: i64 = 7 // step", "the divisor `step` of `//` is not a positive constant");
  expect_violation("x: i64 = step % -3", "the divisor `-3` of `%` is not a positive constant");
  expect_violation("x: i64 = step % 0", "the divisor `0` of `%` is not a positive constant");
  expect_violation("x: i32 = i32(1.5) + i32(2.5)", "`+` computes with i32");
  expect_violation("x: i32 = 7:i32", "computes with i32");
}

TEST(TensorVerify, OperatorsOfLAreRefused) {
  TensorProgram bad = program("x: f32 = 1.0");
  const ExprRef one = make_real(1.0, ScalarType::f32);
  Expr node;
  node.op = Op::fma;
  node.type = {ScalarType::f32};
  node.operands = {one, one, one};
  bad.statements[0].value = make_node(node);
  EXPECT_THAT(verify(bad), ElementsAre(HasSubstr("`fma` of type f32 exists on L only")));
  // A node whose type was forged.
  node.op = Op::add;
  node.operands = {one, one};
  node.type = {ScalarType::f64};
  bad.statements[0].type = ScalarType::f64;
  bad.statements[0].value = make_node(node);
  EXPECT_THAT(verify(bad), ElementsAre(HasSubstr("`+` is marked as f64 but gives f32")));
}

TEST(TensorVerify, FormOfStatements) {
  TensorProgram bad = program("x: f32 = sum(i in 0..3: 1.0)");
  bad.statements[0].binders.clear();
  EXPECT_THAT(verify(bad), ElementsAre(HasSubstr("a reduction without a binder")));
  bad = program("x: f32 = 1.0");
  bad.statements[0].binders = {{"i", 0, Extent::number(3)}};
  EXPECT_THAT(verify(bad), ElementsAre(HasSubstr("a map with a binder")));
  bad = program("x: f32 = 1.0");
  bad.statements[0].condition = make_boolean(true);
  EXPECT_THAT(verify(bad), ElementsAre(HasSubstr("a map with a condition")));
  bad.statements[0].condition = nullptr;
  bad.statements[0].value = nullptr;
  EXPECT_THAT(verify(bad), ElementsAre(HasSubstr("there is no value")));
  bad = program("x: f32 = sum(i in 0..3 where i < 2: 1.0)");
  bad.statements[0].condition = make_integer(1);
  EXPECT_THAT(verify(bad), ElementsAre(HasSubstr("the condition is i64, not bool")));
}

TEST(TensorVerify, DeepExpressionsAreRefused) {
  TensorProgram bad = program("x: f32 = 1.0");
  ExprRef e = make_real(1.0, ScalarType::f32);
  while (e->depth() <= maximum_expression_depth) e = make_unary(Op::exp, e);
  bad.statements[0].value = e;
  EXPECT_THAT(verify(bad), ElementsAre(StartsWith("an expression is nested more than 2000")));
}

TEST(TensorVerify, Declarations) {
  expect_violation("input x: f32[4]", "the first size of an input is not `rows`");
  expect_violation("input x: f32[]", "an input of rank 0");
  expect_violation("input x: f32[rows, rows]", "only the first size of an input depends on rows");
  expect_violation("input x: f32[rows*2]", "the first size of an input is not `rows`");
  expect_violation("param x: f32[rows]", "only the first size of an input depends on rows");
  expect_violation("param x: f32[0]", "a size of `x` is not positive");
  expect_violation("param x: f32[2] in 0..3", "only integers have a range");
  expect_violation("input x: u8[rows] in 0..257", "a range that is empty or leaves the type");
  expect_violation("input x: i32[rows] in 3..3", "a range that is empty or leaves the type");
  TensorProgram bad = program("input x: f32[rows]");
  bad.batch = 16;
  EXPECT_THAT(verify(bad), ElementsAre(HasSubstr("a size of `x` is rows but at most 8")));
  bad = program("x[b in 0..rows]: f32 = sum(c in 0..rows*2: 1.0)");
  bad.statements[0].binders[0].end.maximum = 8;
  EXPECT_THAT(verify(bad),
              ElementsAre(HasSubstr("the range of `c` does not agree with a batch of 8")));
}

TEST(TensorVerify, ResultsAndUpdates) {
  const std::string base =
      "param w: f32[3] state s: f32[3] input x: f32[rows] "
      "a: f32 = 1.0 v[i in 0..3]: f32 = w[i] n: i32 = 1 v2[i in 0..3, j in 0..2]: f32 = w[i] ";
  expect_good(base + "result loss = a result metric loss = a result gradient w = v w <- v s <- v");
  expect_violation(base + "result loss = nothing", "there is no tensor `nothing`");
  expect_violation(base + "result loss = v", "`v` is not a single real");
  expect_violation(base + "result metric m = n", "`n` is not a single real");
  expect_violation(base + "result gradient s = v", "there is no parameter `s`");
  expect_violation(base + "result gradient w = v2", "`v2` has another shape or type than `w`");
  expect_violation(base + "result loss = a result loss = a", "there are two results of that name");
  expect_violation(base + "x <- v", "`x` is no parameter and no state");
  expect_violation(base + "nothing <- v", "`nothing` is no parameter and no state");
  expect_violation(base + "w <- s", "there is no statement `s`");
  expect_violation(base + "w <- v2", "`v2` has another shape or type than `w`");
  expect_violation(base + "w <- v w <- v", "`w` is updated twice");
}

TEST(TensorVerify, RulesOfLaterStages) {
  const std::string marked = "x: f32 = stop_gradient(1.0) y: f32 = custom(1.0, 2.0, 3.0)";
  expect_good(marked);
  EXPECT_THAT(verify(program(marked), tensor_rules_at("tensor.grad")),
              ElementsAre(StartsWith("stop_gradient or custom after differentiation: in `x"),
                          StartsWith("stop_gradient or custom after differentiation: in `y")));
  const std::string dead = "x: f32 = 1.0 y: f32 = x z: f32 = 2.0 result loss = z";
  EXPECT_THAT(verify(program(dead), tensor_rules_at("tensor.grad")), IsEmpty());
  EXPECT_THAT(verify(program(dead), tensor_rules_at("tensor.opt")),
              ElementsAre("nothing needs `y`", "nothing needs `x`"));
}

TEST(TensorVerify, Modules) {
  TensorModule module;
  module.programs = {program("x: f32 = 1.0"), program("x: f32 = 1", "q batch 1"),
                     program("x: f32 = 1.0")};
  EXPECT_THAT(verify(module), ElementsAre(StartsWith("program q: a value of type i64"),
                                          "the program name `p` is taken or not valid"));
}

TEST(TensorVerifyDeathTest, AViolationEndsTheProcessAndShowsTheProgram) {
  const TensorProgram good = program("x: f32 = 1.0");
  check_verified(good, "tensor");
  const TensorProgram bad = program("x: f32 = 1");
  EXPECT_EXIT(check_verified(bad, "tensor.opt"),
              ::testing::ExitedWithCode(internal_error_exit_code),
              "stage tensor.opt(.|\n)*a value of type i64(.|\n)*program p batch 8");
}

}  // namespace
}  // namespace fusegrad::ir
