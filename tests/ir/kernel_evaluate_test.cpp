// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// K's evaluator against values worked out by hand and against T's evaluator.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "ir/kernel/evaluate.h"
#include "ir/kernel/parse.h"
#include "ir/kernel/verify.h"
#include "ir/tensor/parse.h"
#include "ir/tensor/verify.h"

namespace fusegrad::ir {
namespace {

using ::testing::IsEmpty;

KernelProgram kernels(const std::string& lines) {
  SourceManager sources;
  Diagnostics diagnostics;
  std::optional<KernelModule> parsed = parse_kernel_module(
      sources, sources.add("p", "stage kernels program p batch 8 {\n" + lines + "\n}\n"),
      diagnostics);
  EXPECT_TRUE(parsed.has_value()) << render(diagnostics, sources);
  return parsed ? parsed->programs.at(0) : KernelProgram{};
}

TensorProgram tensors(const std::string& lines) {
  SourceManager sources;
  Diagnostics diagnostics;
  std::optional<TensorStage> parsed = parse_tensor_module(
      sources, sources.add("p", "stage tensor program p batch 8 {\n" + lines + "\n}\n"),
      diagnostics);
  EXPECT_TRUE(parsed.has_value()) << render(diagnostics, sources);
  return parsed ? parsed->module.programs.at(0) : TensorProgram{};
}

TensorValue reals(std::vector<int64_t> shape, std::vector<double> elements) {
  TensorValue value(ScalarType::f32, std::move(shape));
  value.reals = std::move(elements);
  return value;
}

TEST(KernelEvaluate, LocalsOutAndInplaceByHand) {
  const KernelProgram program = kernels(R"(
  input x: f32[rows, 2]
  param w: f32[2]
  buffer g: f32[2, rows]
  result n: i32[]
  launch { kernel a rows(b in 0..rows) {
    local s: f32 = sum(i in 0..2: x[b, i] * w[i])
    local t[j in 0..2]: f32 = s + f32(j)
    out g[k in 0..2, b]: f32 = t[k]
  } }
  launch {
    kernel c rows(i in 0..2) {
      local d: f32 = sum(b in 0..rows: g[i, b])
      inplace w[i]: f32 = w[i] - d
    }
    kernel d rows() { out n: i32 = sum(b in 0..rows: if g[0, b] > 10.0 then 1 else 0) }
  })");
  EXPECT_THAT(verify(program), IsEmpty());
  const TensorValues given = {{"x", reals({3, 2}, {1, 2, 3, 4, 5, 6})}, {"w", reals({2}, {1, 2})}};
  const TensorValues values = evaluate(program, given, {.rows = 3}, Precision::all_f64);
  EXPECT_EQ(values.at("g"), reals({2, 3}, {5, 11, 17, 6, 12, 18}));
  EXPECT_EQ(values.at("w"), reals({2}, {-32, -34}));
  EXPECT_EQ(values.at("n").integers, std::vector<int64_t>{2});
}

// Not verified on purpose: the order shows.
TEST(KernelEvaluate, KernelsOfALaunchRunInReverse) {
  const KernelProgram program = kernels(R"(
  param w: f32[]
  result y: f32[]
  launch {
    kernel a rows() { inplace w: f32 = 2.0 }
    kernel b rows() { out y: f32 = w }
  })");
  const TensorValues given = {{"w", reals({}, {1})}};
  EXPECT_EQ(evaluate(program, given, {}, Precision::all_f64).at("y").reals[0], 1);
  EXPECT_EQ(evaluate(program, given, {}, Precision::all_f64,
                     {.reverse_kernels = false, .shuffle_rows = {}})
                .at("y")
                .reals[0],
            2);
}

TEST(KernelEvaluate, InplaceIsSeenAtOnce) {
  const KernelProgram program = kernels(R"(
  param w: f32[4]
  launch { kernel a rows(i in 0..4) { inplace w[i]: f32 = w[3 - i] + 10.0 } })");
  const TensorValues given = {{"w", reals({4}, {0, 1, 2, 3})}};
  EXPECT_EQ(evaluate(program, given, {}, Precision::all_f64).at("w").reals,
            (std::vector<double>{13, 12, 22, 23}));
}

TEST(KernelEvaluate, UnwrittenMemoryIsNotANumber) {
  const KernelProgram program = kernels(R"(
  buffer t: f32[]
  result y: f32[]
  launch { kernel a rows() { out y: f32 = t } }
  launch { kernel b rows() { out t: f32 = 1.0 } })");
  EXPECT_TRUE(std::isnan(evaluate(program, {}, {}, Precision::all_f64).at("y").reals[0]));
}

// A softmax regression step with momentum, as T and as K.
TEST(KernelEvaluate, AStepEqualsItsTensorProgram) {
  const TensorProgram tensor = tensors(R"(
  input x: f32[rows, 6]
  input label: u8[rows] in 0..3
  param w: f32[6, 3]
  state v: f32[6, 3]
  l[b in 0..rows, o in 0..3]: f32 = sum(i in 0..6: x[b, i] * w[i, o])
  m[b in 0..rows]: f32 = max(k in 0..3: l[b, k])
  e[b in 0..rows, o in 0..3]: f32 = exp(l[b, o] - m[b])
  z[b in 0..rows]: f32 = sum(k in 0..3: e[b, k])
  nll[b in 0..rows]: f32 = m[b] + log(z[b]) - l[b, label[b]]
  g[b in 0..rows, o in 0..3]: f32 = ((if label[b] == o then -1.0 else 0.0) + e[b, o] / z[b]) / f32(rows)
  total: f32 = sum(b in 0..rows: nll[b])
  objective: f32 = total / f32(rows)
  d.w[i in 0..6, o in 0..3]: f32 = sum(b in 0..rows: x[b, i] * g[b, o])
  v'[i in 0..6, o in 0..3]: f32 = 0.9 * v[i, o] + d.w[i, o]
  w'[i in 0..6, o in 0..3]: f32 = w[i, o] - 0.1 * v'[i, o]
  result loss = objective
  v <- v'
  w <- w')");
  const KernelProgram kernel = kernels(R"(
  input x: f32[rows, 6]
  input label: u8[rows] in 0..3
  param w: f32[6, 3]
  state v: f32[6, 3]
  result objective: f32[]
  buffer g: f32[rows, 3]
  buffer nll: f32[rows]
  launch { kernel a rows(b in 0..rows) {
    local l[o in 0..3]: f32 = sum(i in 0..6: x[b, i] * w[i, o])
    local m: f32 = max(k in 0..3: l[k])
    local e[o2 in 0..3]: f32 = exp(l[o2] - m)
    local z: f32 = sum(k2 in 0..3: e[k2])
    out nll[b]: f32 = m + log(z) - l[label[b]]
    out g[b, o3 in 0..3]: f32 = ((if label[b] == o3 then -1.0 else 0.0) + e[o3] / z) / f32(rows)
  } }
  launch {
    kernel c rows(o in 0..3, i in 0..6) {
      local d: f32 = sum(b in 0..rows: x[b, i] * g[b, o])
      local v1: f32 = 0.9 * v[i, o] + d
      inplace v[i, o]: f32 = v1
      inplace w[i, o]: f32 = w[i, o] - 0.1 * v1
    }
    kernel d rows() {
      local total: f32 = sum(b in 0..rows: nll[b])
      out objective: f32 = total / f32(rows)
    }
  }
  result loss = objective)");
  EXPECT_THAT(verify(tensor), IsEmpty());
  EXPECT_THAT(verify(kernel), IsEmpty());
  for (int64_t rows : {1, 5, 8}) {
    TensorValues given = {{"x", TensorValue(ScalarType::f32, {rows, 6})},
                          {"label", TensorValue(ScalarType::u8, {rows})},
                          {"w", TensorValue(ScalarType::f32, {6, 3})},
                          {"v", TensorValue(ScalarType::f32, {6, 3})}};
    for (auto& [name, value] : given) {
      for (size_t i = 0; i < value.reals.size(); ++i) {
        value.reals[i] = std::sin(static_cast<double>(i) + static_cast<double>(name[0]));
      }
      for (size_t i = 0; i < value.integers.size(); ++i) {
        value.integers[i] = static_cast<int64_t>(i % 3);
      }
    }
    const Uniforms uniforms = {.rows = rows};
    for (Precision precision : {Precision::as_typed, Precision::all_f64}) {
      const TensorValues wanted = evaluate(tensor, given, uniforms, precision);
      for (const KernelOrder& order :
           {KernelOrder{}, KernelOrder{false, {}}, KernelOrder{true, 1}, KernelOrder{true, 2}}) {
        const TensorValues values = evaluate(kernel, given, uniforms, precision, order);
        for (const char* name : {"w", "v", "objective", "g", "nll"}) {
          EXPECT_EQ(values.at(name), wanted.at(name)) << name << " of " << rows << " rows";
        }
        EXPECT_NE(values.at("w"), given.at("w"));
      }
    }
  }
}

}  // namespace
}  // namespace fusegrad::ir
