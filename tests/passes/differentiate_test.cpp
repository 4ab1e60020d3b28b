// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What differentiation writes: goldens of the rules, exact values at ties, masks and singular
// points, and the size of its output.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "ir/passes/passes.h"
#include "ir/tensor/evaluate.h"
#include "ir/tensor/print.h"
#include "ir/tensor/verify.h"
#include "tests/support/tensor_text.h"

namespace fusegrad::ir {
namespace {

TensorProgram differentiated(const TensorProgram& program) {
  Result<TensorProgram, DifferentiationError> result = differentiate(program);
  if (!result) {
    ADD_FAILURE() << result.error().message;
    return {};
  }
  for (const std::string& violation : verify(*result, tensor_rules_at("tensor.grad"))) {
    ADD_FAILURE() << violation << "\n" << print(*result);
  }
  return *result;
}

/// The statements that differentiation adds; they keep the verifier's rules.
std::string gradient_of(const std::string& text) {
  TensorProgram program = test::tensor_program(text);
  return test::statement_lines(differentiated(program), program.statements.size());
}

using Numbers = std::vector<double>;

/// Gradients in f64 of a program whose declarations are f64 vectors, one row.
std::map<std::string, Numbers> gradients_at(const std::string& text,
                                            const std::map<std::string, Numbers>& values) {
  TensorProgram program = differentiated(test::tensor_program(text));
  TensorValues given;
  for (const TensorDeclaration& declaration : program.declarations) {
    TensorValue value(declaration.type, sizes_at(declaration.shape, 1));
    const Numbers& numbers = values.at(declaration.name);
    if (is_real(declaration.type)) {
      value.reals = numbers;
    } else {
      for (size_t i = 0; i < numbers.size(); ++i) {
        value.integers[i] = static_cast<int64_t>(numbers[i]);
      }
    }
    given[declaration.name] = value;
  }
  TensorValues all = evaluate(program, given, Uniforms{}, Precision::all_f64);
  std::map<std::string, Numbers> result;
  for (const TensorResult& item : program.results) {
    if (item.kind == TensorResultKind::gradient) {
      result[item.label] = all.at(item.tensor).reals;
    }
  }
  return result;
}

/// The gradient of sum(f(w[i])) at the given points.
Numbers slopes(const std::string& f, const Numbers& w) {
  const std::string n = std::to_string(w.size());
  return gradients_at("program train batch 1 precision f64 {\n  param w: f64[" + n +
                          "]\n  y[i in 0.." + n + "]: f64 = " + f + "\n  t: f64 = sum(i in 0.." +
                          n + ": y[i])\n  result loss = t\n}",
                      {{"w", w}})["w"];
}

// ---------------------------------------------------------------- goldens

TEST(Differentiate, SoftmaxRegression) {
  EXPECT_EQ(gradient_of(R"(program train batch 128 {
  input x: f32[rows, 784]
  input label: u8[rows] in 0..10
  param w: f32[784, 10]
  param c: f32[10]
  l0[b in 0..rows, o in 0..10]: f32 = sum(i in 0..784: x[b, i] * w[i, o])
  l[b in 0..rows, o in 0..10]: f32 = l0[b, o] + c[o]
  m0[b in 0..rows]: f32 = max(k in 0..10: l[b, k])
  m[b in 0..rows]: f32 = stop_gradient(m0[b])
  z[b in 0..rows]: f32 = sum(k in 0..10: exp(l[b, k] - m[b]))
  lse[b in 0..rows]: f32 = m[b] + log(z[b])
  nll[b in 0..rows]: f32 = lse[b] - l[b, label[b]]
  total: f32 = sum(r in 0..rows: nll[r])
  objective: f32 = total / f32(rows)
  result loss = objective
})"),
            "d.objective: f32 = 1.0\n"
            "d.total: f32 = d.objective / f32(rows)\n"
            "d.nll[r in 0..rows]: f32 = d.total\n"
            "d.lse[b in 0..rows]: f32 = d.nll[b]\n"
            "d.z[b in 0..rows]: f32 = d.lse[b] / z[b]\n"
            "d.l[b in 0..rows, q in 0..10]: f32 = (if label[b] == q then -d.nll[b] else 0.0) + "
            "d.z[b] * exp(l[b, q] - m[b])\n"
            "d.l0[b in 0..rows, o in 0..10]: f32 = d.l[b, o]\n"
            "d.w[i in 0..784, o in 0..10]: f32 = sum(b in 0..rows: d.l0[b, o] * x[b, i])\n"
            "d.c[o in 0..10]: f32 = sum(b in 0..rows: d.l[b, o])\n");
}

TEST(Differentiate, StridedConvolution) {
  EXPECT_EQ(gradient_of(R"(program train batch 4 {
  param x: f32[4, 8, 32, 32]
  param w: f32[16, 8, 3, 3]
  y[n in 0..4, o in 0..16, h in 0..16, v in 0..16]: f32 = sum(i in 0..8, kh in 0..3, kw in 0..3: x[n, i, h*2 + kh - 1, v*2 + kw - 1 else 0.0] * w[o, i, kh, kw])
  t: f32 = sum(n in 0..4, o in 0..16, h in 0..16, v in 0..16: y[n, o, h, v])
  result loss = t
})"),
            "d.t: f32 = 1.0\n"
            "d.y[n in 0..4, o in 0..16, h in 0..16, v in 0..16]: f32 = d.t\n"
            "d.x[n in 0..4, i in 0..8, q in 0..32, q2 in 0..32]: f32 = "
            "sum(o in 0..16, k in 0..2, k2 in 0..2 where (q + 1) // 2 - k >= 0 and "
            "(q + 1) // 2 - k < 16 and (q2 + 1) // 2 - k2 >= 0 and (q2 + 1) // 2 - k2 < 16 and "
            "k * 2 + (q + 1) % 2 < 3 and k2 * 2 + (q2 + 1) % 2 < 3: "
            "d.y[n, o, (q + 1) // 2 - k, (q2 + 1) // 2 - k2] * "
            "w[o, i, k * 2 + (q + 1) % 2, k2 * 2 + (q2 + 1) % 2])\n"
            "d.w[o in 0..16, i in 0..8, kh in 0..3, kw in 0..3]: f32 = "
            "sum(n in 0..4, h in 0..16, v in 0..16: "
            "d.y[n, o, h, v] * x[n, i, h * 2 + kh - 1, v * 2 + kw - 1 else 0.0])\n");
}

TEST(Differentiate, MaxPooling) {
  EXPECT_EQ(gradient_of(R"(program train batch 4 {
  param x: f32[4, 3, 16, 16]
  y[n in 0..4, c in 0..3, h in 0..8, v in 0..8]: f32 = max(kh in 0..2, kw in 0..2: x[n, c, h*2 + kh, v*2 + kw])
  t: f32 = sum(n in 0..4, c in 0..3, h in 0..8, v in 0..8: y[n, c, h, v])
  result loss = t
})"),
            "d.t: f32 = 1.0\n"
            "d.y[n in 0..4, c in 0..3, h in 0..8, v in 0..8]: f32 = d.t\n"
            "y.arg[n in 0..4, c in 0..3, h in 0..8, v in 0..8]: i32 = "
            "argmax(kh in 0..2, kw in 0..2: x[n, c, h * 2 + kh, v * 2 + kw])\n"
            "d.x[n in 0..4, c in 0..3, q in 0..16, q2 in 0..16]: f32 = "
            "if q % 2 * 2 + q2 % 2 == y.arg[n, c, q // 2, q2 // 2] "
            "then d.y[n, c, q // 2, q2 // 2] else 0.0\n");
}

TEST(Differentiate, Embedding) {
  EXPECT_EQ(gradient_of(R"(program train batch 4 {
  input token: u8[rows, 6] in 0..20
  param table: f32[20, 5]
  y[b in 0..rows, t in 0..6, d in 0..5]: f32 = table[token[b, t], d]
  total: f32 = sum(b in 0..rows, t in 0..6, d in 0..5: y[b, t, d] * y[b, t, d])
  result loss = total
})"),
            "d.total: f32 = 1.0\n"
            "d.y[b in 0..rows, t in 0..6, d in 0..5]: f32 = d.total * y[b, t, d] * 2.0\n"
            "d.table[q in 0..20, d in 0..5]: f32 = "
            "sum(b in 0..rows, t in 0..6 where token[b, t] == q: d.y[b, t, d])\n");
}

TEST(Differentiate, ReshapesAndTheBatch) {
  EXPECT_EQ(gradient_of(R"(program train batch 4 {
  input x: f32[rows, 3, 5]
  param w: f32[3, 5]
  y[v in 0..rows*15]: f32 = x[v // 15, v // 5 % 3, v % 5] * w[v // 5 % 3, v % 5]
  z[b in 0..rows, i in 0..15]: f32 = y[b * 15 + i]
  t: f32 = sum(b in 0..rows, i in 0..15: z[b, i])
  result loss = t
})"),
            "d.t: f32 = 1.0\n"
            "d.z[b in 0..rows, i in 0..15]: f32 = d.t\n"
            "d.y[q in 0..rows*15]: f32 = d.z[q // 15, q % 15]\n"
            "d.w[q in 0..3, q2 in 0..5]: f32 = "
            "sum(v in 0..rows: d.y[v * 15 + q * 5 + q2] * x[v, q, q2])\n");
}

TEST(Differentiate, ContributionsMeetInOneStatement) {
  EXPECT_EQ(gradient_of(R"(program train batch 4 {
  param x: f32[7, 7]
  d[i in 0..7]: f32 = x[i, i]
  r[i in 0..7]: f32 = x[6 - i, 4]
  s[i in 0..7]: f32 = sum(j in 0..7 where j <= i: x[i, j])
  t: f32 = sum(i in 0..7: d[i] + r[i] - s[i])
  result loss = t
})"),
            "d.t: f32 = 1.0\n"
            "d.s[i in 0..7]: f32 = -d.t\n"
            "d.r[i in 0..7]: f32 = d.t\n"
            "d.d[i in 0..7]: f32 = d.t\n"
            "d.x[i in 0..7, j in 0..7]: f32 = (if j <= i then d.s[i] else 0.0) + "
            "(if j == 4 then d.r[6 - i] else 0.0) + (if i == j then d.d[i] else 0.0)\n");
}

TEST(Differentiate, OnlyWhatTheLossNeedsOfParameters) {
  EXPECT_EQ(gradient_of(R"(program train batch 4 {
  input x: f32[rows]
  param w: f32[3]
  param unused: f32[3]
  param cut: f32[3]
  state s: f32[3]
  a[b in 0..rows]: f32 = exp(x[b])
  side[i in 0..3]: f32 = w[i] * unused[i]
  k[i in 0..3]: f32 = floor(cut[i]) + stop_gradient(cut[i]) + f32(i32(cut[i]))
  y[b in 0..rows, i in 0..3]: f32 = a[b] * w[i] + s[i] * k[i]
  t: f32 = sum(b in 0..rows, i in 0..3: y[b, i])
  result loss = t
  result output side = side
})"),
            "d.t: f32 = 1.0\n"
            "d.y[b in 0..rows, i in 0..3]: f32 = d.t\n"
            "d.w[i in 0..3]: f32 = sum(b in 0..rows: d.y[b, i] * a[b])\n");
}

TEST(Differentiate, OutsideOfATensorTheElseValueGetsTheAdjoint) {
  EXPECT_EQ(gradient_of(R"(program train batch 4 {
  param x: f32[6]
  param edge: f32[]
  y[i in 0..8]: f32 = x[i - 1 else edge]
  t: f32 = sum(i in 0..8: y[i])
  result loss = t
})"),
            "d.t: f32 = 1.0\n"
            "d.y[i in 0..8]: f32 = d.t\n"
            "d.x[q in 0..6]: f32 = d.y[q + 1]\n"
            "d.edge: f32 = sum(i in 0..8 where not (i >= 1 and i < 7): d.y[i])\n");
}

TEST(Differentiate, RandomNumbersAreDrawnAgain) {
  EXPECT_EQ(gradient_of(R"(program train batch 4 {
  input x: f32[rows, 3]
  param w: f32[3]
  y[b in 0..rows, i in 0..3]: f32 = if rand.5(b * 3 + i) < 0.5 then 0.0 else x[b, i] * w[i] / 0.5
  t: f32 = sum(b in 0..rows, i in 0..3: y[b, i])
  result loss = t
})"),
            "d.t: f32 = 1.0\n"
            "d.y[b in 0..rows, i in 0..3]: f32 = d.t\n"
            "d.w[i in 0..3]: f32 = sum(b in 0..rows where not rand.5(b * 3 + i) < 0.5: "
            "d.y[b, i] / 0.5 * x[b, i])\n");
}

TEST(Differentiate, AVariableExponentHasNoRule) {
  TensorProgram program = test::tensor_program(R"(program train batch 4 {
  param n: f32[]
  y: f32 = 2.0 ^ n
  result loss = y
})");
  program.statements[0].origin = {3, 10, 20};
  Result<TensorProgram, DifferentiationError> result = differentiate(program);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message,
            "`y`: `^` has no derivative with respect to its exponent; write exp(n * log(a)) for a "
            "positive a");
  EXPECT_EQ(result.error().origin, (Span{3, 10, 20}));
}

TEST(Differentiate, StatementsNameTheirOrigin) {
  TensorProgram program = test::tensor_program(R"(program train batch 4 {
  param w: f32[3]
  y[i in 0..3]: f32 = exp(w[i])
  t: f32 = sum(i in 0..3: y[i])
  result loss = t
})");
  program.statements[0].origin = {0, 1, 2};
  program.statements[1].origin = {0, 3, 4};
  TensorProgram result = differentiated(program);
  ASSERT_EQ(result.statements.size(), 5U);
  EXPECT_EQ(result.statements[2].origin, (Span{0, 3, 4}));  // d.t
  EXPECT_EQ(result.statements[3].origin, (Span{0, 3, 4}));  // d.y, made by t
  EXPECT_EQ(result.statements[4].origin, (Span{0, 1, 2}));  // d.w, made by y
}

TEST(Differentiate, NamesAndIndicesDoNotCollide) {
  // A tensor is called like an index, another like an adjoint.
  gradient_of(R"(program train batch 4 {
  param w: f32[3, 2]
  q: f32 = sum(i in 0..3, j in 0..2: w[i, j])
  d.w: f32 = q * 2.0
  k: f32 = d.w * q
  y[i in 0..6]: f32 = w[2 - i // 2, i % 2] * k * q
  t: f32 = sum(i in 0..6: y[i])
  result loss = t
})");
}

// ---------------------------------------------------------------- exact values

TEST(Slopes, OfEveryFunction) {
  const double x = 0.7;
  const double e = std::exp(x);
  const double t = std::tanh(x);
  const std::map<std::string, double> expected = {
      {"exp(w[i])", e},
      {"expm1(w[i])", e},
      {"log(w[i])", 1 / x},
      {"log1p(w[i])", 1 / (1 + x)},
      {"sqrt(w[i])", 0.5 / std::sqrt(x)},
      {"rsqrt(w[i])", -0.5 / (x * std::sqrt(x))},
      {"tanh(w[i])", 1 - t * t},
      {"erf(w[i])", 1.1283791670955126 * std::exp(-x * x)},
      {"sin(w[i])", std::cos(x)},
      {"cos(w[i])", -std::sin(x)},
      {"abs(-w[i])", 1},
      {"-w[i]", -1},
      {"w[i] * w[i] * w[i]", 3 * x * x},
      {"2.0 / w[i]", -2 / (x * x)},
      {"w[i] / (1.0 + w[i])", 1 / ((1 + x) * (1 + x))},
      {"w[i] ^ 3", 3 * x * x},
      {"w[i] ^ 1", 1},
      {"w[i] ^ 0", 0},
      {"w[i] ^ 2", 2 * x},
      {"w[i] ^ -2", -2 / (x * x * x)},
      {"w[i] ^ 0.5", 0.5 / std::sqrt(x)},
      {"w[i] ^ f64(i + 3)", 3 * x * x},
      {"max(w[i], 0.5)", 1},
      {"min(w[i], 0.5)", 0},
      {"if w[i] > 0.5 then w[i] * 3.0 else w[i]", 3},
      {"floor(w[i]) + w[i]", 1},
      {"f64(f32(w[i])) * 2.0", 2},
      {"custom(w[i] * w[i], w[i], 5.0)", 5},
      {"custom(w[i], w[i], w[i], w[i], 1.0)", 1.7},
  };
  for (const auto& [f, slope] : expected) {
    const Numbers result = slopes(f, {x});
    // `w ^ 0` moves nothing: no gradient is emitted.
    const double value = result.empty() ? 0 : result[0];
    EXPECT_NEAR(value, slope, 1e-12) << f;
  }
}

TEST(Slopes, FirstArgumentWinsTies) {
  EXPECT_EQ(slopes("max(w[i], 1.0 - w[i])", {0.5}), (Numbers{1}));
  EXPECT_EQ(slopes("max(1.0 - w[i], w[i])", {0.5}), (Numbers{-1}));
  EXPECT_EQ(slopes("min(w[i], 1.0 - w[i])", {0.5}), (Numbers{1}));
  EXPECT_EQ(slopes("min(1.0 - w[i], w[i])", {0.5}), (Numbers{-1}));
  EXPECT_EQ(slopes("max(0.0, w[i])", {0, 1, -1}), (Numbers{0, 1, 0}));
  EXPECT_EQ(slopes("max(w[i], 0.0)", {0, 1, -1}), (Numbers{1, 1, 0}));
  EXPECT_EQ(slopes("abs(w[i])", {0, -0.0, 3, -3}), (Numbers{0, 0, 1, -1}));
}

TEST(Slopes, OneElementGetsAllOfAReduction) {
  const std::string text = R"(program train batch 1 precision f64 {
  param w: f64[2, 3]
  y: f64 = REDUCTION(i in 0..2, j in 0..3 where i + j > 0: w[i, j])
  result loss = y
})";
  for (const std::string reduction : {"max", "min"}) {
    std::string program = text;
    program.replace(program.find("REDUCTION"), 9, reduction);
    // All equal: the first that the condition lets through.
    EXPECT_EQ(gradients_at(program, {{"w", {1, 1, 1, 1, 1, 1}}})["w"], (Numbers{0, 1, 0, 0, 0, 0}));
  }
}

TEST(Slopes, ZeroAdjointsAnnihilate) {
  // The adjoint of each is `w - w * 1`, exactly 0; every slope is infinite or NaN at 0.
  for (const std::string f :
       {"sqrt(w[i])", "rsqrt(w[i])", "log(w[i])", "1.0 / w[i]", "w[i] ^ 0.5", "w[i] ^ -1",
        "log1p(w[i] - 1.0)", "w[i] / w[i]", "custom(w[i], w[i], 1.0 / w[i])"}) {
    EXPECT_EQ(slopes("(if i == 0 then 0.0 else 1.0) * (" + f + ")", {0})[0], 0) << f;
  }
  // Branches that are not taken contribute exactly 0.
  EXPECT_EQ(slopes("if w[i] > 0.0 then sqrt(w[i]) else 0.0", {0, 4}), (Numbers{0, 0.25}));
  EXPECT_EQ(slopes("if w[i] == 0.0 then w[i] else exp(1.0 / w[i]) * 0.0 + w[i]", {0}),
            (Numbers{1}));
}

TEST(Slopes, NoSelectWhereTheSlopeIsFinite) {
  const std::string text = gradient_of(R"(program train batch 4 {
  input x: f32[rows, 8]
  param w: f32[8]
  mean[b in 0..rows]: f32 = sum(i in 0..8: x[b, i] * w[i])
  square[b in 0..rows, i in 0..8]: f32 = (x[b, i] - mean[b]) * (x[b, i] - mean[b])
  sum[b in 0..rows]: f32 = sum(i in 0..8: square[b, i])
  var[b in 0..rows]: f32 = sum[b] / 8.0
  y[b in 0..rows]: f32 = rsqrt(var[b] + 1e-5) + log(1.0 + exp(mean[b])) / (2.0 + abs(mean[b]))
  t: f32 = sum(b in 0..rows: y[b] * x[b, 0])
  result loss = t
})");
  EXPECT_EQ(text.find("== 0.0"), std::string::npos) << text;
}

TEST(Slopes, MasksAreDomains) {
  // Elements behind the mask are at a singular point, forward and backward.
  const std::map<std::string, Numbers> result =
      gradients_at(R"(program train batch 1 precision f64 {
  input x: f64[rows, 3]
  param w: f64[3]
  y: f64 = sum(b in 0..rows, i in 0..3 where x[b, i] > 0.0: log(w[i] * x[b, i]))
  result loss = y
})",
                   {{"x", {1, 0, 2}}, {"w", {2, 0, 4}}});
  EXPECT_EQ(result.at("w"), (Numbers{0.5, 0, 0.25}));
}

TEST(Slopes, StopGradientAndCustomInTheMiddle) {
  EXPECT_EQ(slopes("w[i] * stop_gradient(w[i])", {3}), (Numbers{3}));
  EXPECT_EQ(slopes("stop_gradient(w[i])", {3}), (Numbers{}));
  // Straight through: the value is rounded, the slope is 1.
  EXPECT_EQ(slopes("w[i] * custom(floor(w[i]), w[i], 1.0)", {2.5}), (Numbers{2 + 2.5}));
}

// ---------------------------------------------------------------- size

/// Characters of the text of the gradient of `y: f32 = EXPRESSION` over a parameter w[n].
size_t gradient_length(const std::string& expression, int n) {
  return gradient_of("program train batch 1 {\n  param w: f32[" + std::to_string(n) +
                     "]\n  y: f32 = " + expression + "\n  result loss = y\n}")
      .size();
}

std::string chain(const std::string& sign, int n) {
  std::string text = "w[0]";
  for (int i = 1; i < n; ++i) text += sign + "w[" + std::to_string(i) + "]";
  return text;
}

TEST(GradientSize, LongSumsAndProductsStayNearlyLinear) {
  EXPECT_LT(gradient_length(chain(" + ", 1000), 1000), 200'000U);
  const size_t hundred = gradient_length(chain(" * ", 100), 100);
  const size_t thousand = gradient_length(chain(" * ", 1000), 1000);
  EXPECT_LT(thousand, 20 * hundred);
  EXPECT_LT(thousand, 1'000'000U);
  EXPECT_LT(gradient_length(chain(" / ", 600), 600), 1'000'000U);
}

TEST(GradientSize, NestedFunctionsStayLinear) {
  // Each zero-adjoint rule names its adjoint twice; each square names its operand twice.
  std::string roots = "w[0]";
  for (int i = 0; i < 60; ++i) roots = "sqrt(" + roots + ")";
  EXPECT_LT(gradient_length(roots, 1), 200'000U);
}

TEST(GradientSize, ProductOfLiftedPartsIsRight) {
  Numbers w(700);
  double product = 1;
  for (size_t i = 0; i < w.size(); ++i) {
    w[i] = 1 + 0.001 * static_cast<double>(i % 7) - 0.003;
    product *= w[i];
  }
  std::string text = chain(" * ", 700);
  const Numbers gradient = gradients_at(
      "program train batch 1 precision f64 {\n  param w: f64[700]\n  y: f64 = " + text +
          "\n  result loss = y\n}",
      {{"w", w}})["w"];
  ASSERT_EQ(gradient.size(), w.size());
  for (size_t i = 0; i < w.size(); ++i) EXPECT_NEAR(gradient[i], product / w[i], 1e-11);
}

}  // namespace
}  // namespace fusegrad::ir
