// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// T's evaluator against values worked out by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "ir/philox.h"
#include "ir/support/check.h"
#include "ir/tensor/evaluate.h"
#include "ir/tensor/parse.h"
#include "ir/tensor/verify.h"

namespace fusegrad::ir {
namespace {

using ::testing::DoubleEq;
using ::testing::ElementsAre;
using ::testing::NanSensitiveDoubleEq;

constexpr double infinity = std::numeric_limits<double>::infinity();
const double nan = std::numeric_limits<double>::quiet_NaN();

TensorProgram program(const std::string& lines, const std::string& head = "p batch 8") {
  SourceManager sources;
  Diagnostics diagnostics;
  const uint32_t file =
      sources.add("p.tensor", "stage tensor\nprogram " + head + " {\n" + lines + "\n}\n");
  std::optional<TensorStage> stage = parse_tensor_module(sources, file, diagnostics);
  EXPECT_TRUE(stage.has_value()) << render(diagnostics, sources);
  if (!stage) return {};
  EXPECT_THAT(verify(stage->module.programs.at(0)), ::testing::IsEmpty());
  return stage->module.programs.at(0);
}

TensorValue reals(std::vector<int64_t> shape, std::vector<double> elements,
                  ScalarType type = ScalarType::f32) {
  TensorValue value(type, std::move(shape));
  value.reals = std::move(elements);
  return value;
}

TensorValue integers(std::vector<int64_t> shape, std::vector<int64_t> elements,
                     ScalarType type = ScalarType::u8) {
  TensorValue value(type, std::move(shape));
  value.integers = std::move(elements);
  return value;
}

TensorValues run(const std::string& lines, const TensorValues& given = {}, Uniforms uniforms = {},
                 Precision precision = Precision::all_f64) {
  return evaluate(program(lines), given, uniforms, precision);
}

/// The value of a scalar statement `x: f32 = TEXT` (other statements may stand in front).
double scalar(const std::string& text, Precision precision = Precision::all_f64,
              const std::string& before = "", const TensorValues& given = {}) {
  return run(before + " x: f32 = " + text, given, {}, precision).at("x").reals.at(0);
}

int64_t integer(const std::string& text, const std::string& type = "i64") {
  return run("x: " + type + " = " + text).at("x").integers.at(0);
}

TEST(TensorEvaluate, RealOperators) {
  EXPECT_EQ(scalar("1.0 + 2.0 * 3.0 - 4.0 / 8.0"), 6.5);
  EXPECT_EQ(scalar("-(2.0) ^ 3.0"), -8.0);
  EXPECT_EQ(scalar("(-2.0) ^ 3"), -8.0);
  EXPECT_EQ(scalar("2.0 ^ -2"), 0.25);
  EXPECT_EQ(scalar("exp(0.0) + log(1.0) + sqrt(16.0) + rsqrt(4.0)"), 5.5);
  EXPECT_THAT(scalar("log1p(1e-10)"), DoubleEq(std::log1p(1e-10)));
  EXPECT_THAT(scalar("expm1(1e-10)"), DoubleEq(std::expm1(1e-10)));
  EXPECT_THAT(scalar("tanh(0.5) + erf(0.5)"), DoubleEq(std::tanh(0.5) + std::erf(0.5)));
  EXPECT_THAT(scalar("sin(0.5) + cos(0.5)"), DoubleEq(std::sin(0.5) + std::cos(0.5)));
  EXPECT_EQ(scalar("abs(-2.5) + floor(-2.5) + floor(2.5)"), 1.5);
  EXPECT_EQ(scalar("stop_gradient(3.0) + custom(4.0, 1.0, 2.0)"), 7.0);
  EXPECT_EQ(scalar("if 1.0 < 2.0 and not 1.0 >= 2.0 then 1.0 else 2.0"), 1.0);
  EXPECT_EQ(scalar("if 1.0 > 2.0 or 1.0 == 2.0 then 1.0 else 2.0"), 2.0);
  EXPECT_EQ(scalar("if (1.0 != 2.0) == (1.0 <= 2.0) then 1.0 else 2.0"), 1.0);
}

TEST(TensorEvaluate, TheFirstArgumentWinsTiesAndNanSpreads) {
  EXPECT_FALSE(std::signbit(scalar("max(0.0, -0.0)")));
  EXPECT_TRUE(std::signbit(scalar("max(-0.0, 0.0)")));
  EXPECT_TRUE(std::signbit(scalar("min(-0.0, 0.0)")));
  EXPECT_FALSE(std::signbit(scalar("min(0.0, -0.0)")));
  for (const char* text : {"max(nan, 1.0)", "max(1.0, nan)", "min(nan, 1.0)", "min(1.0, nan)",
                           "0.0 / 0.0", "sqrt(-1.0)"}) {
    EXPECT_TRUE(std::isnan(scalar(text))) << text;
  }
  EXPECT_EQ(scalar("max(1.0, 2.0) + min(1.0, 2.0)"), 3.0);
}

TEST(TensorEvaluate, IntegerOperators) {
  EXPECT_EQ(integer("7 + 2 * 3 - 1"), 12);
  EXPECT_EQ(integer("-7 // 2"), -4);
  EXPECT_EQ(integer("-7 % 2"), 1);
  EXPECT_EQ(integer("7 // 2 * 10 + 7 % 2"), 31);
  EXPECT_EQ(integer("min(3, -2) + max(3, -2) + abs(-5) + -(2)"), 4);
  EXPECT_EQ(integer("9223372036854775807 + 1"), INT64_MIN);
  EXPECT_EQ(integer("if 3 < 4 then 1 else 2"), 1);
  EXPECT_EQ(integer("3 < 4", "bool"), 1);
  EXPECT_EQ(integer("true == false", "bool"), 0);
}

TEST(TensorEvaluate, Conversions) {
  EXPECT_EQ(integer("i32(2.9)", "i32"), 2);
  EXPECT_EQ(integer("i32(-2.9)", "i32"), -2);
  EXPECT_EQ(integer("i32(1e10)", "i32"), INT32_MAX);
  EXPECT_EQ(integer("i32(-inf)", "i32"), INT32_MIN);
  EXPECT_EQ(integer("i32(nan)", "i32"), 0);
  EXPECT_EQ(integer("u8(300.0)", "u8"), 255);
  EXPECT_EQ(integer("u8(300)", "u8"), 44);
  EXPECT_EQ(integer("i64(1e300)"), INT64_MAX);
  EXPECT_EQ(integer("i64(-1e300)"), INT64_MIN);
  EXPECT_EQ(integer("i64(i32(4294967297))"), 1);
  EXPECT_EQ(integer("i64(2.0 > 1.0) + i64(1.0 > 2.0)"), 1);
  EXPECT_EQ(integer("300", "u8"), 44);
  EXPECT_EQ(integer("-1", "i32"), -1);
  EXPECT_EQ(scalar("f32(16777217)"), 16777217.0);
  EXPECT_EQ(scalar("f32(16777217)", Precision::as_typed), 16777216.0);
  // 2^54 + 2^30 + 1 is just above the middle between two floats; through double it would be the
  // middle and go to even.
  EXPECT_EQ(scalar("f32(18014399583223809)", Precision::as_typed), 0x1.000002p54);
  EXPECT_EQ(scalar("f32(3.5 > 1.0)"), 1.0);
}

TEST(TensorEvaluate, F32RoundsEveryOperation) {
  EXPECT_EQ(scalar("0.1", Precision::as_typed), static_cast<double>(0.1F));
  EXPECT_EQ(scalar("0.1"), 0.1);
  EXPECT_EQ(scalar("0.1 + 0.2", Precision::as_typed), static_cast<double>(0.1F + 0.2F));
  EXPECT_EQ(scalar("16777216.0 + 1.0 + 1.0", Precision::as_typed), 16777216.0);
  EXPECT_EQ(scalar("16777216.0 + 1.0 + 1.0"), 16777218.0);
  EXPECT_EQ(scalar("1.0 / 3.0 * 3.0 - 1.0", Precision::as_typed),
            static_cast<double>(1.0F / 3.0F * 3.0F - 1.0F));
  EXPECT_EQ(scalar("1e30 * 1e30", Precision::as_typed), infinity);
  EXPECT_EQ(scalar("1e30 * 1e30"), 1e30 * 1e30);
  EXPECT_EQ(scalar("exp(1.0)", Precision::as_typed), static_cast<double>(std::exp(1.0F)));
  // Values of type f64 stay in f64.
  EXPECT_EQ(scalar("f32(0.1:f64 + 0.2:f64)", Precision::as_typed),
            static_cast<double>(static_cast<float>(0.1 + 0.2)));
  EXPECT_EQ(scalar("f32((16777216.0:f64 + 1.0:f64 + 1.0:f64) / 2.0:f64)", Precision::as_typed),
            8388609.0);
  EXPECT_EQ(scalar("sum(i in 0..3: if i == 0 then 16777216.0 else 1.0)", Precision::as_typed),
            16777216.0);
  EXPECT_EQ(scalar("sum(i in 0..3: if i == 2 then 16777216.0 else 1.0)", Precision::as_typed),
            16777218.0);
}

TEST(TensorEvaluate, ALinearLayerByHand) {
  const TensorValues given = {{"x", reals({2, 3}, {1, 2, 3, 4, 5, 6})},
                              {"w", reals({3, 2}, {1, 0, 0, 1, 1, 1})}};
  const TensorValues values =
      run("input x: f32[rows, 3] param w: f32[3, 2]"
          " y[b in 0..rows, o in 0..2]: f32 = sum(i in 0..3: x[b, i] * w[i, o])"
          " mean[o in 0..2]: f32 = sum(b in 0..rows: y[b, o] / f32(rows))"
          " t[o in 0..2, b in 0..rows]: f32 = y[b, o]",
          given, {.rows = 2});
  EXPECT_EQ(values.at("y"), reals({2, 2}, {4, 5, 10, 11}));
  EXPECT_EQ(values.at("mean"), reals({2}, {7, 8}));
  EXPECT_EQ(values.at("t"), reals({2, 2}, {4, 10, 5, 11}));
  EXPECT_EQ(values.at("x"), given.at("x"));
}

TEST(TensorEvaluate, WindowsAndElseValues) {
  const TensorValues given = {{"x", reals({1, 4}, {1, 2, 3, 4})}};
  const TensorValues values =
      run("input x: f32[rows, 4]"
          " y[b in 0..rows, i in 0..4]: f32 = sum(k in 0..3: x[b, i + k - 1 else 0.0])"
          " z[b in 0..rows, i in 0..2]: f32 = max(k in 0..3: x[b, 2 * i + k - 1 else -inf])"
          " w[b in 0..rows, i in 0..4]: f32 = sum(j in 0..4 where j <= i: x[b, j])"
          " e[b in 0..rows, i in 0..3]: f32 = x[b - 1, i else f32(i)]",
          given);
  EXPECT_EQ(values.at("y").reals, (std::vector<double>{3, 6, 9, 7}));
  EXPECT_EQ(values.at("z").reals, (std::vector<double>{2, 4}));
  EXPECT_EQ(values.at("w").reals, (std::vector<double>{1, 3, 6, 10}));
  EXPECT_EQ(values.at("e").reals, (std::vector<double>{0, 1, 2}));
}

TEST(TensorEvaluate, IntegerReadsAndArgmax) {
  const TensorValues given = {{"l", reals({2, 3}, {0.1, 0.7, 0.7, 0.5, 0.2, 0.5})},
                              {"label", integers({2}, {2, 0})}};
  const TensorValues values =
      run("input l: f32[rows, 3] input label: u8[rows] in 0..3"
          " pick[b in 0..rows]: f32 = l[b, label[b]]"
          " best[b in 0..rows]: i32 = argmax(k in 0..3: l[b, k])"
          " worst[b in 0..rows]: i32 = argmin(k in 0..3: l[b, k])"
          " late[b in 0..rows]: i32 = argmax(k in 1..3 where l[b, k] < 0.6: l[b, k])"
          " both: i32 = argmax(b in 0..rows, k in 0..3: l[b, k])"
          " hit[b in 0..rows]: bool = best[b] == label[b]"
          " n: i32 = sum(b in 0..rows: if hit[b] then 1 else 0)",
          given, {.rows = 2});
  EXPECT_EQ(values.at("pick").reals, (std::vector<double>{0.7, 0.5}));
  EXPECT_EQ(values.at("best"), integers({2}, {1, 0}, ScalarType::i32));  // the lowest of ties
  EXPECT_EQ(values.at("worst").integers, (std::vector<int64_t>{0, 1}));
  EXPECT_EQ(values.at("late").integers, (std::vector<int64_t>{0, 1}));  // empty, then k = 2
  EXPECT_EQ(values.at("both").integers, (std::vector<int64_t>{1}));
  EXPECT_EQ(values.at("hit"), integers({2}, {0, 1}, ScalarType::boolean));
  EXPECT_EQ(values.at("n").integers, (std::vector<int64_t>{1}));
}

TEST(TensorEvaluate, EmptyReductions) {
  const TensorValues values =
      run("s: f32 = sum(i in 0..3 where i > 5: 1.0) m: f32 = max(i in 0..3 where i > 5: 1.0)"
          " n: f32 = min(i in 0..3 where i > 5: 1.0) a: bool = any(i in 0..3 where i > 5: true)"
          " b: bool = all(i in 0..3 where i > 5: false) c: i32 = argmax(i in 1..3 where i > 5: i)"
          " d: i32 = argmin(i in 2..2: i) e: i32 = max(i in 2..2: i) f: u8 = min(i in 2..2: i)"
          " g: u8 = max(i in 2..2: i) h: i64 = sum(i in 2..2: i)");
  EXPECT_EQ(values.at("s").reals[0], 0);
  EXPECT_EQ(values.at("m").reals[0], -infinity);
  EXPECT_EQ(values.at("n").reals[0], infinity);
  EXPECT_EQ(values.at("a").integers[0], 0);
  EXPECT_EQ(values.at("b").integers[0], 1);
  EXPECT_EQ(values.at("c").integers[0], 0);
  EXPECT_EQ(values.at("d").integers[0], 0);
  EXPECT_EQ(values.at("e").integers[0], INT32_MIN);
  EXPECT_EQ(values.at("f").integers[0], 255);
  EXPECT_EQ(values.at("g").integers[0], 0);
  EXPECT_EQ(values.at("h").integers[0], 0);
}

TEST(TensorEvaluate, ReductionsWithNanAndInfinity) {
  const TensorValues given = {
      {"x", reals({3, 3}, {1, nan, 2, -infinity, -infinity, -infinity, nan, 5, nan})}};
  const TensorValues values =
      run("input x: f32[rows, 3] m[b in 0..rows]: f32 = max(k in 0..3: x[b, k])"
          " n[b in 0..rows]: f32 = min(k in 0..3: x[b, k])"
          " a[b in 0..rows]: i32 = argmax(k in 0..3: x[b, k])"
          " c[b in 0..rows]: i32 = argmin(k in 0..3: x[b, k])",
          given, {.rows = 3});
  EXPECT_THAT(values.at("m").reals,
              ElementsAre(NanSensitiveDoubleEq(nan), -infinity, NanSensitiveDoubleEq(nan)));
  EXPECT_THAT(values.at("n").reals,
              ElementsAre(NanSensitiveDoubleEq(nan), -infinity, NanSensitiveDoubleEq(nan)));
  EXPECT_EQ(values.at("a").integers, (std::vector<int64_t>{1, 0, 0}));
  EXPECT_EQ(values.at("c").integers, (std::vector<int64_t>{1, 0, 0}));
}

TEST(TensorEvaluate, AnyAndAll) {
  const TensorValues given = {{"x", integers({4}, {0, 3, 0, 7})}};
  const TensorValues values =
      run("input x: u8[rows] a: bool = any(b in 0..rows: x[b] > 5) b: bool = all(c in 0..rows: "
          "x[c] > 5)"
          " c: bool = any(d in 0..rows: x[d] > 7) d: bool = all(e in 0..rows where x[e] > 0: x[e] "
          ">= 3)",
          given, {.rows = 4});
  EXPECT_EQ(values.at("a").integers[0], 1);
  EXPECT_EQ(values.at("b").integers[0], 0);
  EXPECT_EQ(values.at("c").integers[0], 0);
  EXPECT_EQ(values.at("d").integers[0], 1);
}

TEST(TensorEvaluate, BranchesThatAreNotTakenAreNotEvaluated) {
  // The read in the branch is out of range for i = 3: evaluating it would end the process.
  const TensorValues given = {{"x", reals({1, 4}, {1, 2, 3, 4})}};
  const TensorValues values =
      run("input x: f32[rows, 4]"
          " y[b in 0..rows, i in 0..4]: f32 = if i < 3 then x[b, i + 1] else -1.0"
          " z[b in 0..rows]: f32 = sum(i in 0..4 where i < 3: x[b, i + 1])",
          given);
  EXPECT_EQ(values.at("y").reals, (std::vector<double>{2, 3, 4, -1}));
  EXPECT_EQ(values.at("z").reals, (std::vector<double>{9}));
}

TEST(TensorEvaluate, ShortBatchesAndUniforms) {
  const TensorProgram p = program(
      "input x: f32[rows] s: f32 = sum(b in 0..rows: x[b]) mean: f32 = s / f32(rows)"
      " two[r in 0..rows*2]: f32 = x[r // 2]"
      " u: i64 = step * 1000000 + epoch * 10000 + steps * 100 + seed");
  for (int64_t rows : {1, 3, 8}) {
    TensorValue x(ScalarType::f32, {rows});
    for (int64_t b = 0; b < rows; ++b) x.reals[static_cast<size_t>(b)] = static_cast<double>(b + 1);
    const Uniforms uniforms = {.rows = rows, .step = 4, .epoch = 3, .steps = 2, .seed = 1};
    const TensorValues values = evaluate(p, {{"x", x}}, uniforms, Precision::all_f64);
    EXPECT_EQ(values.at("s").reals[0], static_cast<double>(rows * (rows + 1) / 2));
    EXPECT_EQ(values.at("mean").reals[0], static_cast<double>(rows + 1) / 2.0);
    EXPECT_EQ(values.at("two").shape, std::vector<int64_t>{2 * rows});
    EXPECT_EQ(values.at("two").reals.back(), static_cast<double>(rows));
    EXPECT_EQ(values.at("u").integers[0], 4030201);
  }
}

TEST(TensorEvaluate, UpdatesHappenAtTheEnd) {
  const TensorValues given = {{"a", reals({}, {1})}, {"b", reals({}, {2})}};
  const TensorValues values =
      run("param a: f32[] state b: f32[] a': f32 = b b': f32 = a c: f32 = a - b a <- a' b <- b'",
          given);
  EXPECT_EQ(values.at("a").reals[0], 2);
  EXPECT_EQ(values.at("b").reals[0], 1);
  EXPECT_EQ(values.at("c").reals[0], -1);
}

TEST(TensorEvaluate, RandomNumbersFollowThePosition) {
  const Uniforms uniforms = {.rows = 1, .step = 3, .epoch = 0, .steps = 0, .seed = 11};
  const std::string text =
      "r[i in 0..2, j in 0..3]: f32 = rand.7(i * 3 + j) n[i in 0..2]: f32 = normal.8(i)";
  const TensorValues exact = run(text, {}, uniforms);
  const TensorValues narrow = run(text, {}, uniforms, Precision::as_typed);
  for (int64_t i = 0; i < 6; ++i) {
    EXPECT_EQ(exact.at("r").reals[static_cast<size_t>(i)],
              uniform_number(random_block(11, 3, 7, i)));
  }
  EXPECT_EQ(exact.at("r"), narrow.at("r"));
  for (int64_t i = 0; i < 2; ++i) {
    const double number = normal_number(random_block(11, 3, 8, i));
    EXPECT_EQ(exact.at("n").reals[static_cast<size_t>(i)], number);
    EXPECT_EQ(narrow.at("n").reals[static_cast<size_t>(i)],
              static_cast<double>(static_cast<float>(number)));
  }
}

TEST(TensorEvaluate, F32ParametersAreRoundedOnTheWayIn) {
  const TensorProgram p = program("param w: f32[] x: f32 = w");
  const TensorValues given = {{"w", reals({}, {0.1})}};
  EXPECT_EQ(evaluate(p, given, {}, Precision::as_typed).at("x").reals[0],
            static_cast<double>(0.1F));
  EXPECT_EQ(evaluate(p, given, {}, Precision::all_f64).at("x").reals[0], 0.1);
}

TEST(TensorEvaluateDeathTest, WrongInputsAreOurBug) {
  const TensorProgram p = program("input x: u8[rows] in 0..10 y[b in 0..rows]: f32 = f32(x[b])");
  const auto exits = ::testing::ExitedWithCode(internal_error_exit_code);
  EXPECT_EXIT(evaluate(p, {}, {}, Precision::all_f64), exits, "no value is given for `x`");
  EXPECT_EXIT(evaluate(p, {{"x", integers({2}, {1, 2})}}, {}, Precision::all_f64), exits,
              "another type or shape");
  EXPECT_EXIT(evaluate(p, {{"x", integers({1}, {10})}}, {}, Precision::all_f64), exits,
              "`x` is given the value 10");
  EXPECT_EXIT(evaluate(p, {{"x", integers({9}, {})}}, {.rows = 9}, Precision::all_f64), exits,
              "9 rows of a batch of 8");
}

}  // namespace
}  // namespace fusegrad::ir
