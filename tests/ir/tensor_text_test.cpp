// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// T as text: handwritten programs with every construct come back; mistakes are located.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

#include "ir/tensor/parse.h"
#include "ir/tensor/print.h"

namespace fusegrad::ir {
namespace {

constexpr const char* softmax_regression = R"(stage tensor.opt

program init batch 128 {
  param dense.w: f32[784, 10] @nodecay @other
  dense.w'[u in 0..784, v in 0..10]: f32 = 0.1 * normal.17(u * 10 + v)
  dense.w <- dense.w'
}

program train batch 128 precision f64 {
  input image: u8[rows, 28, 28]
  input label: u8[rows] in 0..10
  input shift: i32[rows*2] in -3..4
  param dense.w: f64[784, 10]
  param scale: f64[]
  state dense.w.v: f64[784, 10]
  x[b in 0..rows, i in 0..784]: f64 = f64(image[b, i // 28, i % 28]) / 255.0
  l0[b in 0..rows, o in 0..10]: f64 = sum(i in 0..784: x[b, i] * dense.w[i, o])
  pos[b in 0..rows]: i32 = argmax(k in 0..10: l0[b, k])
  hits[b in 0..rows]: f64 = if pos[b] == label[b] then 1.0 else 0.0
  flat[r in 0..rows*2]: f64 = l0[r // 2, r % 2] + f64(shift[r])
  low: f64 = min(r in 0..rows*2, k in -1..3 where r + k < 7 and r > 0: flat[r] * f64(k))
  ok: bool = all(b in 0..rows: l0[b, 0] < inf)
  one[b in 0..rows]: bool = any(k in 0..10 where k >= b: l0[b, k - b] > 0.0)
  acc: f64 = sum(b in 0..rows: hits[b]) / scale
  result loss = low
  result metric accuracy = acc
  result output pos = pos
  result gradient dense.w = l0
  dense.w <- l0
}
)";

struct Parsed {
  std::optional<TensorStage> stage;
  std::string message;
};

Parsed parse(const std::string& text) {
  SourceManager sources;
  Diagnostics diagnostics;
  Parsed parsed;
  parsed.stage = parse_tensor_module(sources, sources.add("model.tensor", text), diagnostics);
  EXPECT_EQ(parsed.stage.has_value(), !diagnostics.has_errors());
  EXPECT_LE(diagnostics.all().size(), 1u);
  if (diagnostics.has_errors()) {
    const Diagnostic& first = diagnostics.all()[0];
    const LineColumn at = sources.position(first.primary.span.file, first.primary.span.begin);
    parsed.message = fmt::format("{}:{}: {}", at.line, at.column, first.message);
  }
  return parsed;
}

/// The message for a program of these lines; line 1 is the first.
std::string mistake(const std::string& lines) {
  return parse("stage tensor program train batch 4 { " + lines + "\n}").message;
}

TEST(TensorText, AHandwrittenModuleComesBack) {
  // A sum is no term of an expression, so the last statement must be refused first.
  std::string text = softmax_regression;
  const std::string sum_inside = "  acc: f64 = sum(b in 0..rows: hits[b]) / scale\n";
  const size_t at = text.find(sum_inside);
  ASSERT_NE(at, std::string::npos);
  EXPECT_EQ(parse(text).message, "24:41: expected a statement or `}`, found `/`");
  text.replace(at, sum_inside.size(), "  acc: f64 = hits[0] / scale\n");
  Parsed parsed = parse(text);
  ASSERT_TRUE(parsed.stage) << parsed.message;
  EXPECT_EQ(print(parsed.stage->module, parsed.stage->stage), text);
}

TEST(TensorText, PartsOfTheProgramAreWhatTheTextSays) {
  Parsed parsed = parse(
      "stage tensor\n program p batch 8 { input t: i32[rows*3] in -2..5 param w: f32[] @a "
      "y[b in 0..rows]: f32 = max(k in 1..4 where k < b: f32(k)) result loss = w }");
  ASSERT_TRUE(parsed.stage) << parsed.message;
  EXPECT_EQ(parsed.stage->stage, "tensor");
  const TensorProgram& program = parsed.stage->module.programs.at(0);
  EXPECT_EQ(program.name, "p");
  EXPECT_EQ(program.batch, 8);
  EXPECT_EQ(program.real, ScalarType::f32);
  EXPECT_EQ(program.declarations[0].shape, Shape{Extent::of_rows(8, 3)});
  EXPECT_EQ(program.declarations[0].range, (IntegerRange{-2, 5}));
  EXPECT_EQ(program.declarations[1].tags, std::vector<std::string>{"a"});
  const TensorStatement& statement = program.statements.at(0);
  EXPECT_EQ(statement.reduction, Reduction::max);
  EXPECT_EQ(statement.binders, (std::vector<IndexRange>{{"k", 1, Extent::number(4)}}));
  EXPECT_EQ(statement.indices, (std::vector<IndexRange>{{"b", 0, Extent::of_rows(8)}}));
  EXPECT_EQ(statement.condition->op, Op::less);
  EXPECT_EQ(statement.value->type, Type{ScalarType::f32});
  EXPECT_EQ(program.results[0].kind, TensorResultKind::loss);
  EXPECT_EQ(program.results[0].label, "loss");
}

TEST(TensorText, WordsOfTheNotationMayNameTensors) {
  const std::string text = R"(stage tensor

program train batch 2 {
  input input: f32[rows]
  param param: f32[]
  result[b in 0..rows]: f32 = input[b] + param
  sum: f32 = sum(max in 0..rows: result[max])
  program: f32 = max(sum, sum)
  state: f32 = program
  result loss = sum
  result output result = result
  param <- state
}
)";
  Parsed parsed = parse(text);
  ASSERT_TRUE(parsed.stage) << parsed.message;
  EXPECT_EQ(print(parsed.stage->module, "tensor"), text);
}

TEST(TensorText, MistakesAreNamedAndLocated) {
  EXPECT_EQ(parse("").message, "1:1: expected `stage`, found the end of the text");
  EXPECT_EQ(parse("stage kernels").message,
            "1:7: expected tensor, tensor.grad, tensor.opt, found `kernels`");
  EXPECT_EQ(parse("stage tensor program p { }").message, "1:24: expected `batch`, found `{`");
  EXPECT_EQ(parse("stage tensor program p batch 0 { }").message,
            "1:30: a batch has at least one row and at most 2147483647");
  EXPECT_EQ(parse("stage tensor program p batch 1 precision i32 { }").message,
            "1:42: the precision is f32 or f64");
  EXPECT_EQ(parse("stage tensor program p batch 1 {").message,
            "1:33: expected a statement or `}`, found the end of the text");
  EXPECT_EQ(parse("stage tensor program p batch 1 { } program p batch 1 { }").message,
            "1:44: there are two programs `p`");
  EXPECT_EQ(mistake("\nx: f32 = y"), "2:10: there is no `y` here");
  EXPECT_EQ(mistake("\nx: f32 = x"), "2:10: there is no `x` here");
  EXPECT_EQ(mistake("\nx: f32 = 1.0 x: f32 = 2.0"), "2:14: `x` is defined twice");
  EXPECT_EQ(mistake("\nx[b in 0..rows]: f32 = sum(k in 0..2: 1.0) y: f32 = f32(k)"),
            "2:57: there is no `k` here");
  EXPECT_EQ(mistake("\nx: f32 = sum(k in 0..2 where k: 1.0)"),
            "2:30: the condition of a reduction is i64, not bool");
  EXPECT_EQ(mistake("\nx: f32 = sum(k in 0..2 where 1.0)"),
            "2:30: the condition of a reduction is f32, not bool");
  EXPECT_EQ(mistake("\nx: f99 = 1.0"),
            "2:4: expected an element type (bool, u8, i32, i64, f32, f64), found `f99`");
  EXPECT_EQ(mistake("\ninput x: f32"), "3:1: expected `[`, found `}`");
  EXPECT_EQ(mistake("\ninput x: f32[rows*0]"),
            "2:14: a multiple of rows must be at least 1 and fit 63 bits at the full batch");
  EXPECT_EQ(mistake("\ninput x: f32[-1]"), "2:14: a size is not negative");
  EXPECT_EQ(mistake("\ninput x: f32[9223372036854775807, 2]"),
            "2:13: the number of elements does not fit 63 bits");
  EXPECT_EQ(mistake("\ninput x: f32[99999999999999999999]"),
            "2:14: this integer does not fit 64 bits");
  EXPECT_EQ(mistake("\ninput x: f32[1.5]"), "2:14: expected a size, found `1.5`");
  EXPECT_EQ(
      mistake("\nresult nothing = x"),
      "2:8: expected loss, metric, output, gradient, total, largest or smallest, found `nothing`");
  EXPECT_EQ(mistake("\nx[if in 0..3]: f32 = 1.0"),
            "2:3: expected the name of an index, found `if`");
  EXPECT_EQ(mistake("\n[b]"), "2:1: expected a statement or `}`, found `[`");
  EXPECT_EQ(mistake("\nlet x = 1"), "2:1: expected input, param, state, result or a statement");
}

// Cutting the text anywhere, or dropping one byte of it, gives a message or a module and never
// anything else.
TEST(TensorText, DamagedTextIsRefusedOrRead) {
  const std::string text = softmax_regression;
  for (size_t i = 0; i < text.size(); ++i) {
    parse(text.substr(0, i));
    std::string damaged = text;
    damaged.erase(i, 1);
    parse(damaged);
    damaged = text;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << (i % 8)));
    parse(damaged);
  }
}

}  // namespace
}  // namespace fusegrad::ir
