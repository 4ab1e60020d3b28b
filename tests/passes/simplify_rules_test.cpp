// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every rule of the simplifier has an example here: it is applied, gives the text that is expected,
// keeps the meaning, and leaves nothing to do for a second run.
#include "ir/simplify_rules.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "ir/passes/passes.h"
#include "ir/tensor/evaluate.h"
#include "ir/tensor/print.h"
#include "ir/tensor/verify.h"
#include "tests/support/random_program.h"
#include "tests/support/tensor_text.h"

namespace fusegrad::ir {
namespace {

struct RuleExample {
  SimplifyRule rule;
  std::string before;  ///< statements, the last one of `y`
  std::string after;   ///< what simplify makes of all of them
};

/// An example inside one map.
RuleExample map_of(SimplifyRule rule, const std::string& before, const std::string& after) {
  const std::string head = "y[b in 0..rows, i in 0..6]: f32 = ";
  return {rule, head + before, head + after + "\n"};
}

std::vector<RuleExample> rule_examples() {
  using enum SimplifyRule;
  return {
      map_of(real_constants, "x[b, i] + 2.0 * 3.0", "x[b, i] + 6.0"),
      map_of(constant_function, "x[b, i] + sqrt(4.0)", "x[b, i] + 2.0"),
      map_of(constant_conversion, "x[b, i] + f32(3)", "x[b, i] + 3.0"),
      map_of(add_zero, "0.0 + (x[b, i] - 0.0)", "x[b, i]"),
      map_of(add_negated, "a[b] - -x[b, i]", "a[b] + x[b, i]"),
      map_of(add_negated, "a[b] + -x[b, i]", "a[b] - x[b, i]"),
      map_of(constant_right, "2.0 * x[b, i]", "x[b, i] * 2.0"),
      map_of(times_one, "x[b, i] * 1.0", "x[b, i]"),
      map_of(times_minus_one, "x[b, i] * -1.0", "-x[b, i]"),
      map_of(constant_factors, "x[b, i] * 2.0 * 3.0", "x[b, i] * 6.0"),
      map_of(negated_factor, "-x[b, i] * 2.0", "x[b, i] * -2.0"),
      map_of(factor_into_branches, "(if x[b, i] > 0.0 then 1.0 else 0.5) * 2.0",
             "if x[b, i] > 0.0 then 2.0 else 1.0"),
      map_of(divide_constant, "x[b, i] / 4.0", "x[b, i] * 0.25"),
      map_of(power_one, "x[b, i] ^ 1", "x[b, i]"),
      map_of(double_negation, "-(-x[b, i])", "x[b, i]"),
      map_of(negated_condition, "if not x[b, i] > 0.0 then a[b] else 1.0",
             "if x[b, i] > 0.0 then 1.0 else a[b]"),
      map_of(integer_sum, "x[b, 3 + i - 3]", "x[b, i]"),
      map_of(divide_multiple, "f32((6 * b + i) // 6)", "f32(b)"),
      map_of(divide_common_factor, "f32((4 * (b + i) + i % 4) // 12)", "f32((b + i) // 3)"),
      map_of(remainder_of_multiple, "f32((6 * b + i) % 6)", "f32(i)"),
      map_of(remainder_common_factor, "f32((4 * (b + i) + i % 4) % 12)",
             "f32((b + i) % 3 * 4 + i % 4)"),
      map_of(divide_quotient, "f32((b * 7 + i * 5) // 2 // 3)", "f32((b * 7 + i * 5) // 6)"),
      map_of(divide_remainder, "f32((b * 7 + i * 5) % 6 // 2)", "f32((b * 7 + i * 5) // 2 % 3)"),
      map_of(remainder_of_remainder, "f32((b * 7 + i * 5) % 6 % 2)", "f32((b * 7 + i * 5) % 2)"),
      map_of(join_quotient, "x[b, i // 4 * 4 + i % 4]", "x[b, i]"),
      map_of(join_remainders, "f32((b * 7 + i * 5) // 2 % 3 * 2 + (b * 7 + i * 5) % 2)",
             "f32((b * 7 + i * 5) % 6)"),
      map_of(comparison_form, "if i - 3 >= 0 then x[b, i] else 0.0",
             "if i >= 3 then x[b, i] else 0.0"),
      map_of(decided_comparison, "if b < rows then x[b, i] else 0.0", "x[b, i]"),
      map_of(no_multiple, "if 2 * i == 2 * b + 1 then 1.0 else x[b, i]", "x[b, i]"),
      map_of(constant_and_or, "if i >= 3 and b < rows then x[b, i] else 0.0",
             "if i >= 3 then x[b, i] else 0.0"),
      map_of(constant_and_or, "if i >= 3 or b >= rows then x[b, i] else 0.0",
             "if i >= 3 then x[b, i] else 0.0"),
      map_of(constant_not, "if not b < rows then 0.0 else x[b, i]", "x[b, i]"),
      map_of(double_not, "if not not x[b, i] > 0.0 then 1.0 else 0.0",
             "if x[b, i] > 0.0 then 1.0 else 0.0"),
      map_of(negated_comparison, "if not i < 3 then x[b, i] else 0.0",
             "if i >= 3 then x[b, i] else 0.0"),
      map_of(decided_if, "if i >= 0 then x[b, i] else 1.0", "x[b, i]"),
      map_of(equal_branches, "if x[b, i] > 0.0 then a[b] else a[b]", "a[b]"),
      map_of(decided_extremum, "x[b, min(i, 9)]", "x[b, i]"),
      map_of(same_conversion, "f32(x[b, i])", "x[b, i]"),
      {single_index, "y[b in 0..rows, i in 0..1]: f32 = x[b, i + 2]",
       "y[b in 0..rows, i in 0..1]: f32 = x[b, 2]\n"},
      {single_binder, "y[b in 0..rows]: f32 = sum(i in 0..6, k in 2..3: v[i, k] * x[b, i])",
       "y[b in 0..rows]: f32 = sum(i in 0..6: v[i, 2] * x[b, i])\n"},
      {true_condition, "y[b in 0..rows]: f32 = sum(i in 0..6 where b < rows: x[b, i])",
       "y[b in 0..rows]: f32 = sum(i in 0..6: x[b, i])\n"},
      {single_point, "y[b in 0..rows]: f32 = max(i in 2..3: x[b, i])",
       "y[b in 0..rows]: f32 = x[b, 2]\n"},
      {single_point, "y[b in 0..rows]: f32 = sum(i in 2..3 where a[b] > 0.0: x[b, i])",
       "y[b in 0..rows]: f32 = if a[b] > 0.0 then x[b, 2] else 0.0\n"},
      {inline_view,
       "t[b in 0..rows, i in 0..6]: f32 = x[b, 5 - i]\n"
       "y[b in 0..rows]: f32 = sum(i in 0..6: t[b, i] * w[i])",
       "y[b in 0..rows]: f32 = sum(i in 0..6: x[b, 5 - i] * w[i])\n"},
      {inline_scalar,
       "s: f32 = w[0] + 2.0\n"
       "y[b in 0..rows, i in 0..6]: f32 = x[b, i] * s",
       "y[b in 0..rows, i in 0..6]: f32 = x[b, i] * (w[0] + 2.0)\n"},
      {inline_spread,
       "t[b in 0..rows, i in 0..6]: f32 = a[b] + 1.0\n"
       "y[b in 0..rows, o in 0..8]: f32 = max(i in 0..6: t[b, i] * v[i, o])",
       "y[b in 0..rows, o in 0..8]: f32 = max(i in 0..6: (a[b] + 1.0) * v[i, o])\n"},
      {inline_once,
       "s[b in 0..rows, o in 0..8]: f32 = sum(i in 0..6: x[b, i] * v[i, o])\n"
       "t[b in 0..rows, o in 0..8]: f32 = exp(s[b, o])\n"
       "y[b in 0..rows, o in 0..8]: f32 = t[b, o] + 1.0",
       "s[b in 0..rows, o in 0..8]: f32 = sum(i in 0..6: x[b, i] * v[i, o])\n"
       "y[b in 0..rows, o in 0..8]: f32 = exp(s[b, o]) + 1.0\n"},
      {inline_cheap,
       "t[b in 0..rows, i in 0..6]: f32 = x[b, i] + w[i]\n"
       "y[b in 0..rows, o in 0..8]: f32 = sum(i in 0..6: t[b, i] * v[i, o])",
       "y[b in 0..rows, o in 0..8]: f32 = sum(i in 0..6: (x[b, i] + w[i]) * v[i, o])\n"},
      {pull_factors, "y[b in 0..rows]: f32 = sum(i in 0..6: x[b, i] * a[b])",
       "y.sum[b in 0..rows]: f32 = sum(i in 0..6: x[b, i])\n"
       "y[b in 0..rows]: f32 = y.sum[b] * a[b]\n"},
      {hoist_scalar, "y[b in 0..rows, i in 0..6]: f32 = x[b, i] * 0.5 ^ f32(step)",
       "y.step: f64 = 0.5:f64 ^ f64(step)\n"
       "y[b in 0..rows, i in 0..6]: f32 = x[b, i] * f32(y.step)\n"},
      {share_statement,
       "s[b in 0..rows]: f32 = sum(i in 0..6: x[b, i])\n"
       "t[b in 0..rows]: f32 = sum(k in 0..6: x[b, k])\n"
       "y[b in 0..rows]: f32 = s[b] * t[b]",
       "s[b in 0..rows]: f32 = sum(i in 0..6: x[b, i])\n"
       "y[b in 0..rows]: f32 = s[b] * s[b]\n"},
      {remove_dead,
       "s[b in 0..rows]: f32 = sum(i in 0..6: x[b, i])\n"
       "y[b in 0..rows]: f32 = a[b]",
       "y[b in 0..rows]: f32 = a[b]\n"},
  };
}

TensorProgram program_of(const std::string& statements) {
  return test::tensor_program(
      "program train batch 4 {\n"
      "input x: f32[rows, 6]\n"
      "input a: f32[rows]\n"
      "param w: f32[6]\n"
      "param v: f32[6, 8]\n" +
      statements + "\nresult output y = y\n}\n");
}

/// Elements of y at three rows of a batch.
std::vector<double> elements_of_y(const TensorProgram& program, uint64_t seed) {
  constexpr int64_t rows = 3;
  const TensorValues given = test::random_values(program, rows, seed);
  Uniforms uniforms;
  uniforms.rows = rows;
  uniforms.step = 5;
  return evaluate(program, given, uniforms, Precision::all_f64).at("y").reals;
}

TEST(SimplifyRules, EveryRuleHasAnExample) {
  std::set<SimplifyRule> with_example;
  for (const RuleExample& example : rule_examples()) with_example.insert(example.rule);
  for (const SimplifyRuleRow& row : simplify_rules) {
    EXPECT_TRUE(with_example.contains(row.rule)) << "no example of rule " << row.name;
  }
}

TEST(SimplifyRules, NamesDiffer) {
  std::set<std::string_view> names;
  for (const SimplifyRuleRow& row : simplify_rules) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_EQ(&row - simplify_rules.data(), static_cast<ptrdiff_t>(row.rule));
  }
}

TEST(SimplifyRules, ExamplesBecomeWhatTheyShould) {
  for (const RuleExample& example : rule_examples()) {
    SCOPED_TRACE(fmt::format("{}: {}", simplify_rules.at(static_cast<size_t>(example.rule)).name,
                             example.before));
    const TensorProgram before = program_of(example.before);
    RuleCounts counts;
    const TensorProgram after = simplify(before, &counts);
    EXPECT_TRUE(verify(after).empty());
    EXPECT_EQ(test::statement_lines(after, 0), example.after);
    EXPECT_GT(counts.of(example.rule), 0);
    EXPECT_NE(counts_text(counts), "");

    const std::vector<double> expected = elements_of_y(before, 11);
    const std::vector<double> found = elements_of_y(after, 11);
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_NEAR(found[i], expected[i], 1e-12 * (1 + std::abs(expected[i]))) << "element " << i;
    }

    RuleCounts again;
    EXPECT_EQ(test::statement_lines(simplify(after, &again), 0), example.after);
    for (const SimplifyRuleRow& row : simplify_rules) {
      // The rules of normal forms also count where a question about one is asked.
      if (row.rule < SimplifyRule::integer_sum || row.rule > SimplifyRule::same_conversion) {
        EXPECT_EQ(again.of(row.rule), 0) << row.name << " in the second run";
      }
    }
  }
}

TEST(SimplifyRules, SecondRunChangesNothing) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    const TensorProgram forward =
        test::random_program(seed, test::RandomProgramOptions::for_seed(seed));
    auto differentiated = differentiate(forward);
    ASSERT_TRUE(differentiated);
    const TensorModule module = apply_update_rules({{test::random_init(forward), *differentiated}},
                                                   test::random_rules(forward, seed));
    for (const TensorProgram& program : module.programs) {
      const TensorProgram once = simplify(program);
      EXPECT_EQ(print(simplify(once)), print(once));
    }
  }
}

}  // namespace
}  // namespace fusegrad::ir
