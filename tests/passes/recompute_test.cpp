// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What is stored for backward: known optima of the cut, and programs as differentiation leaves
// them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>

#include "ir/passes/passes.h"
#include "ir/passes/recompute_steps.h"
#include "ir/tensor/evaluate.h"
#include "ir/tensor/print.h"
#include "tests/support/tensor_text.h"

namespace fusegrad::ir {
namespace {

/// Two contractions with `middle` between them, statements that make h[b, o] from y[b, o], and
/// late statements that read what `late` names: the gradient of w is all that matters.
TensorProgram between(const std::string& middle, const std::string& late,
                      const std::string& results = "") {
  return test::tensor_program(R"(program train batch 64 {
  input x: f32[rows, 512]
  param w: f32[512, 256]
  param u: f32[256, 256]
  y[b in 0..rows, o in 0..256]: f32 = sum(i in 0..512: x[b, i] * w[i, o])
)" + middle + R"(
  l[b in 0..rows, k in 0..256]: f32 = sum(o in 0..256: h[b, o] * u[o, k])
  loss: f32 = sum(b in 0..rows, k in 0..256: l[b, k] * l[b, k])
  g.h[b in 0..rows, o in 0..256]: f32 = sum(k in 0..256: l[b, k] * u[o, k])
)" + late + R"(
  g.w[i in 0..512, o in 0..256]: f32 = sum(b in 0..rows: g.y[b, o] * x[b, i])
  result loss = loss
  result gradient w = g.w
)" + results + "}\n");
}

SavePlan plan_of(const TensorProgram& program) { return plan_saves(study_step(program), {}); }

SaveReason reason(const TensorProgram& program, const SavePlan& plan, const std::string& tensor) {
  for (size_t i = 0; i < program.statements.size(); ++i) {
    if (program.statements[i].name != tensor) continue;
    auto found = plan.choices.find(i);
    EXPECT_NE(found, plan.choices.end()) << tensor << " is not read by backward in another kernel";
    return found == plan.choices.end() ? SaveReason::large : found->second.reason;
  }
  ADD_FAILURE() << "no " << tensor;
  return SaveReason::large;
}

const SaveRemark& remark(const RecomputeResult& result, const std::string& tensor) {
  static const SaveRemark none = {"?", false, "?", {}};
  for (const SaveRemark& candidate : result.remarks) {
    if (candidate.tensor == tensor) return candidate;
  }
  ADD_FAILURE() << "nothing is said of " << tensor;
  return none;
}

size_t sums(const TensorProgram& program) {
  size_t count = 0;
  for (const TensorStatement& statement : program.statements)
    count += statement.reduction == Reduction::sum ? 1 : 0;
  return count;
}

/// The same numbers on T in f64, not only almost: the same expressions are evaluated.
void expect_same_numbers(const TensorProgram& before, const TensorProgram& after) {
  const Uniforms uniforms{2, 1, 1, 10, 7};
  TensorValues given;
  for (const TensorDeclaration& declaration : before.declarations) {
    TensorValue value(declaration.type, sizes_at(declaration.shape, uniforms.rows));
    double next = 0.37;
    for (double& element : value.reals) {
      next = next * 3.9 * (1 - next);
      element = next - 0.5;
    }
    given[declaration.name] = value;
  }
  const TensorValues expected = evaluate(before, given, uniforms, Precision::all_f64);
  const TensorValues values = evaluate(after, given, uniforms, Precision::all_f64);
  for (const TensorResult& result : before.results) {
    EXPECT_EQ(expected.at(result.tensor).reals, values.at(result.tensor).reals) << result.tensor;
  }
}

TEST(SavePlan, OneOperandIsStoredNotTheMapsOfIt) {
  const TensorProgram program = between(
      "  p[b in 0..rows, o in 0..256]: f32 = y[b, o] * 2.0 + 1.0\n"
      "  q[b in 0..rows, o in 0..256]: f32 = y[b, o] * y[b, o]\n"
      "  h[b in 0..rows, o in 0..256]: f32 = if p[b, o] > q[b, o] then 1.0 else y[b, o]",
      "  g.y[b in 0..rows, o in 0..256]: f32 = g.h[b, o] * p[b, o] * q[b, o]");
  const SavePlan plan = plan_of(program);
  EXPECT_EQ(reason(program, plan, "p"), SaveReason::recomputed);
  EXPECT_EQ(reason(program, plan, "q"), SaveReason::recomputed);
  const RecomputeResult result = recompute(program);
  EXPECT_FALSE(remark(result, "p").stored);
  EXPECT_FALSE(remark(result, "q").stored);
  EXPECT_LT(study_step(result.program).cost.traffic_bytes, study_step(program).cost.traffic_bytes);
}

/// y is read by backward anyway; t is a map of it that only backward reads, of so many
/// exponentials.
TensorProgram with_exponentials(int count) {
  std::string value = "y[b, o]";
  for (int i = 0; i < count; ++i) value = fmt::format("exp({} - 1.0)", value);
  return between("  t[b in 0..rows, o in 0..256]: f32 = " + value +
                     "\n  h[b in 0..rows, o in 0..256]: f32 = t[b, o] + 1.0",
                 "  g.y[b in 0..rows, o in 0..256]: f32 = g.h[b, o] * t[b, o] * y[b, o]");
}

TEST(SavePlan, InstructionsArePaidInBytes) {
  // 8 bytes written and read back are worth 80 instructions: four exponentials and subtractions are
  // 68, five are 85.
  EXPECT_EQ(reason(with_exponentials(4), plan_of(with_exponentials(4)), "t"),
            SaveReason::recomputed);
  EXPECT_EQ(reason(with_exponentials(5), plan_of(with_exponentials(5)), "t"),
            SaveReason::cheaper_stored);
}

TEST(SavePlan, WhatForwardWritesAnywayCostsItsReadOnly) {
  // h is written for the contraction; 4 bytes are worth 40 instructions.
  auto program = [](int exponentials) {
    std::string value = "y[b, o]";
    for (int i = 0; i < exponentials; ++i) value = fmt::format("exp({} - 1.0)", value);
    return between("  h[b in 0..rows, o in 0..256]: f32 = " + value,
                   "  g.y[b in 0..rows, o in 0..256]: f32 = g.h[b, o] * h[b, o] * y[b, o]");
  };
  EXPECT_EQ(reason(program(2), plan_of(program(2)), "h"), SaveReason::recomputed);
  EXPECT_EQ(reason(program(3), plan_of(program(3)), "h"), SaveReason::cheaper_stored);
}

TEST(SavePlan, ContractionsAndReadersInLongSumsAreNotRepeated) {
  const TensorProgram program =
      between("  h[b in 0..rows, o in 0..256]: f32 = y[b, o] * 2.0",
              "  g.y[b in 0..rows, o in 0..256]: f32 = g.h[b, o] * y[b, o] * l[b, o]\n"
              "  g.u[o in 0..256, k in 0..256]: f32 = sum(b in 0..rows: h[b, o] * g.y[b, k])",
              "  result gradient u = g.u\n");
  const SavePlan plan = plan_of(program);
  EXPECT_EQ(reason(program, plan, "y"), SaveReason::reduction);
  EXPECT_EQ(reason(program, plan, "h"), SaveReason::reader);
  EXPECT_EQ(sums(recompute(program).program), sums(program));
}

TEST(SavePlan, AStoredTensorIsStored) {
  const TensorProgram program = with_exponentials(1);
  const SavePlan plan = plan_saves(study_step(program), {"t"});
  EXPECT_EQ(reason(program, plan, "t"), SaveReason::no_gain);
}

TEST(Recompute, AMaskIsRecomputedAndNotStored) {
  const TensorProgram program = between(
      "  keep[b in 0..rows, o in 0..256]: bool = rand.77(b * 256 + o) >= 0.25\n"
      "  h[b in 0..rows, o in 0..256]: f32 = if keep[b, o] then y[b, o] else 0.0",
      "  g.y[b in 0..rows, o in 0..256]: f32 = if keep[b, o] then g.h[b, o] else 0.0");
  const RecomputeResult result = recompute(program);
  EXPECT_FALSE(remark(result, "keep").stored);
  EXPECT_TRUE(remark(result, "keep").reason.starts_with("recomputed: "))
      << remark(result, "keep").reason;
  const TensorStatement* reader = result.program.find_statement("g.y");
  ASSERT_NE(reader, nullptr);
  bool random = false;
  walk(reader->value,
       [&](const Expr& node) { random = random || (node.op == Op::rand && node.integer == 77); });
  EXPECT_TRUE(random) << print(result.program);
  EXPECT_EQ(group(result.program).find_buffer("keep"), nullptr);
  expect_same_numbers(program, result.program);
}

TEST(Recompute, TheSignOfAnOutputServes) {
  const TensorProgram program = between(
      "  z[b in 0..rows, o in 0..256]: f32 = y[b, o] + 0.25\n"
      "  h[b in 0..rows, o in 0..256]: f32 = if z[b, o] <= 0.0 then 0.0 else z[b, o]",
      "  g.y[b in 0..rows, o in 0..256]: f32 = if z[b, o] <= 0.0 then 0.0 else g.h[b, o]");
  const RecomputeResult result = recompute(program);
  EXPECT_FALSE(remark(result, "z").stored);
  EXPECT_EQ(print(*result.program.find_statement("g.y"), ScalarType::f32),
            "g.y[b in 0..rows, o in 0..256]: f32 = if h[b, o] <= 0.0 then 0.0 else g.h[b, o]");
  expect_same_numbers(program, result.program);
}

TEST(Recompute, TheSignOfADroppedOutputServesWhereItWasNotDropped) {
  const std::string kept = "if rand.5(b * 256 + o) < 0.25 then 0.0 else ";
  const std::string forward =
      "  z[b in 0..rows, o in 0..256]: f32 = y[b, o] + 0.25\n"
      "  h[b in 0..rows, o in 0..256]: f32 = " +
      kept + "(if z[b, o] <= 0.0 then 0.0 else z[b, o]) * ";
  const std::string masked =
      "  g.y[b in 0..rows, o in 0..256]: f32 = if z[b, o] <= 0.0 then 0.0 else " + kept +
      "g.h[b, o] * 1.25";
  const TensorProgram program = between(forward + "1.25", masked);
  const RecomputeResult result = recompute(program);
  EXPECT_EQ(group(result.program).find_buffer("z"), nullptr) << print(result.program);
  expect_same_numbers(program, result.program);
  // Not if the reader wants an answer for what was dropped too, nor if a small number may become 0.
  const TensorProgram unmasked =
      between(forward + "1.25",
              "  g.y[b in 0..rows, o in 0..256]: f32 = if z[b, o] <= 0.0 then 0.0 else g.h[b, o]");
  EXPECT_TRUE(find_output_comparisons(study_step(unmasked)).empty());
  EXPECT_TRUE(find_output_comparisons(study_step(between(forward + "0.5", masked))).empty());
}

TEST(Recompute, AnotherLimitOrAnotherElementIsAnotherQuestion) {
  const std::string output =
      "  z[b in 0..rows, o in 0..256]: f32 = y[b, o] + 0.25\n"
      "  h[b in 0..rows, o in 0..256]: f32 = if z[b, o] <= 0.0 then 0.0 else z[b, o]";
  for (const char* question : {"z[b, o] <= -1.0", "z[b, o] < 0.0", "z[b, 255 - o] >= 0.0",
                               "z[b, o] <= 0.0 and z[b, 0] == 1.0"}) {
    const TensorProgram program =
        between(output, fmt::format("  g.y[b in 0..rows, o in 0..256]: f32 = if {} then 0.0 else "
                                    "g.h[b, o]",
                                    question));
    const TensorProgram after = recompute(program).program;
    expect_same_numbers(program, after);
  }
  const TensorProgram below = between(
      output, "  g.y[b in 0..rows, o in 0..256]: f32 = if z[b, o] <= -1.0 then 0.0 else g.h[b, o]");
  EXPECT_TRUE(find_output_comparisons(study_step(below)).empty());
}

/// Attention for one head, as differentiation and simplification leave it.
TensorProgram attention() {
  const TensorProgram forward = test::tensor_program(R"(program train batch 8 {
  input x: f32[rows, 64, 32]
  param wq: f32[32, 32]
  param wk: f32[32, 32]
  param wv: f32[32, 32]
  q[n in 0..rows, i in 0..64, e in 0..32]: f32 = sum(d in 0..32: x[n, i, d] * wq[d, e])
  k[n in 0..rows, j in 0..64, e in 0..32]: f32 = sum(d in 0..32: x[n, j, d] * wk[d, e])
  v[n in 0..rows, j in 0..64, e in 0..32]: f32 = sum(d in 0..32: x[n, j, d] * wv[d, e])
  s[n in 0..rows, i in 0..64, j in 0..64]: f32 = sum(e in 0..32: q[n, i, e] * k[n, j, e])
  m[n in 0..rows, i in 0..64]: f32 = max(j in 0..64: s[n, i, j])
  c[n in 0..rows, i in 0..64]: f32 = stop_gradient(m[n, i])
  z[n in 0..rows, i in 0..64]: f32 = sum(j in 0..64: exp(s[n, i, j] - c[n, i]))
  a[n in 0..rows, i in 0..64, e in 0..32]: f32 = sum(j in 0..64: exp(s[n, i, j] - c[n, i]) * v[n, j, e])
  y[n in 0..rows, i in 0..64, e in 0..32]: f32 = a[n, i, e] / z[n, i]
  loss: f32 = sum(n in 0..rows, i in 0..64, e in 0..32: y[n, i, e] * y[n, i, e])
  result loss = loss
}
)");
  return simplify(*differentiate(forward));
}

TEST(Recompute, AttentionStoresOperandsAndStatisticsAndRepeatsExponentialsOnly) {
  const TensorProgram program = attention();
  const RecomputeResult result = recompute(program);
  EXPECT_EQ(sums(result.program), sums(program));
  for (const char* name : {"q", "k", "v", "m"}) EXPECT_TRUE(remark(result, name).stored) << name;
  const KernelProgram kernels = group(result.program);
  for (const TensorStatement& statement : result.program.statements) {
    if (kernels.find_buffer(statement.name) == nullptr || statement.name.starts_with("d."))
      continue;
    walk(statement.value, [&](const Expr& node) {
      EXPECT_TRUE(node.op != Op::exp || statement.reduction != Reduction::none) << statement.name;
    });
  }
  const StepCost before = study_step(program).cost;
  const StepCost after = study_step(result.program).cost;
  EXPECT_LE(after.peak_bytes, before.peak_bytes);
  EXPECT_LE(after.traffic_bytes, before.traffic_bytes);
  EXPECT_EQ(after.sum_orders, before.sum_orders);
  expect_same_numbers(program, result.program);
}

TEST(Recompute, ProgramsWithoutBackwardComeBackAsTheyAre) {
  const TensorProgram program = test::tensor_program(R"(program eval batch 4 {
  input x: f32[rows, 8]
  y[b in 0..rows]: f32 = sum(i in 0..8: x[b, i])
  result output y = y
}
)");
  const RecomputeResult result = recompute(program);
  EXPECT_EQ(print(result.program), print(program));
  EXPECT_TRUE(result.remarks.empty());
}

/// A chain of layers with their gradients.
TensorProgram layers(int count) {
  std::string text = "program train batch 4 {\n  input x: f32[rows, 8]\n";
  for (int i = 0; i < count; ++i) text += fmt::format("  param w{}: f32[8, 8]\n", i);
  std::string last = "x";
  for (int i = 0; i < count; ++i) {
    text += fmt::format(
        "  s{0}[b in 0..rows, o in 0..8]: f32 = sum(i in 0..8: {1}[b, i] * w{0}[i, o])\n"
        "  h{0}[b in 0..rows, o in 0..8]: f32 = if s{0}[b, o] <= 0.0 then 0.0 else s{0}[b, o]\n",
        i, last);
    last = fmt::format("h{}", i);
  }
  text += fmt::format("  loss: f32 = sum(b in 0..rows, o in 0..8: {}[b, o])\n", last);
  return simplify(*differentiate(test::tensor_program(text + "  result loss = loss\n}\n")));
}

TEST(Recompute, WorkGrowsWithTheProgramAndNotItsSquare) {
  auto best_seconds = [](const TensorProgram& program) {
    double best = 1e9;
    for (int attempt = 0; attempt < 3; ++attempt) {
      const auto begin = std::chrono::steady_clock::now();
      EXPECT_FALSE(recompute(program).remarks.empty());
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
      best = std::min(best, seconds.count());
    }
    return best;
  };
  const double small = best_seconds(layers(50));
  const double large = best_seconds(layers(200));
  EXPECT_LT(large / small, 13) << small << " s and " << large << " s";
}

}  // namespace
}  // namespace fusegrad::ir
