// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The optimizer's `lr` is a setting of the run: the form of a rule follows from the model file
// alone, so that a number from the command line changes no bit of the code.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/frontend/elaborate_support.h"

namespace fusegrad::frontend {
namespace {

/// Elaborates a model of two parameters with this optimizer; `lr` as from the command line.
Elaborated with_optimizer(const std::string& call, const std::string& lr = "",
                          const std::string& items = "") {
  ElaborateOptions options;
  options.needs_data = false;
  if (!lr.empty()) options.train["lr"] = lr;
  return elaborate_text(items +
                            "model m {\n"
                            "  input x: f32[B, 3]\n"
                            "  param w: real[3] = 0 @head\n"
                            "  param c: real[3] = 0\n"
                            "  loss = mean(b: sum(i: x[b, i] * w[i] + c[i]))\n"
                            "}\n"
                            "train { batch = 4  epochs = 1  optimizer = " +
                            call + " }\n",
                        options);
}

constexpr const char* plain = "p <- p - f32(optimizer.lr) * g\n";

std::string with_schedule(const std::string& schedule) {
  return "p <- p - (if f32(optimizer.lr) < inf then f32(optimizer.lr) else " + schedule + ") * g\n";
}

TEST(LearningRate, ANumberIsReadFromTheSetting) {
  for (const char* lr : {"", "0.5", "2 * 0.25"}) {
    const Elaborated e = with_optimizer("sgd(lr = 0.1)", lr);
    EXPECT_EQ(rule_text(e, "w"), plain);
    EXPECT_EQ(rule_text(e, "c"), plain);
    ASSERT_TRUE(e.job && e.job->learning_rate) << e.messages();
    EXPECT_EQ(e.job->learning_rate->initial, *lr == 0 ? 0.1 : 0.5);
  }
  // The call may leave it to the command line, or to the definition.
  EXPECT_EQ(rule_text(with_optimizer("sgd()", "1"), "w"), plain);
  const Elaborated e =
      with_optimizer("mine()", "", "optimizer mine(lr = 0.25) for p, g { p <- p - lr * g }\n");
  EXPECT_EQ(rule_text(e, "w"), plain);
  EXPECT_EQ(e.job->learning_rate->initial, 0.25);
}

TEST(LearningRate, AScheduleHoldsUntilANumberIsSet) {
  const std::string rule = with_schedule("0.1 / f32(step)");
  const Elaborated e = with_optimizer("sgd(lr = 0.1 / step)");
  EXPECT_EQ(rule_text(e, "w"), rule);
  EXPECT_TRUE(std::isinf(e.job->learning_rate->initial));
  const Elaborated replaced = with_optimizer("sgd(lr = 0.1 / step)", "0.5");
  EXPECT_EQ(rule_text(replaced, "w"), rule);
  EXPECT_EQ(replaced.job->learning_rate->initial, 0.5);
  // A schedule from the command line is another program.
  const Elaborated other = with_optimizer("sgd(lr = 0.1)", "0.2 / step");
  EXPECT_EQ(rule_text(other, "w"), with_schedule("0.2 / f32(step)"));
  EXPECT_TRUE(std::isinf(other.job->learning_rate->initial));
}

TEST(LearningRate, ParametersMayHaveTheirOwn) {
  const std::string call = "sgd(lr = if tagged(\"head\") then 0.1 else 0.01)";
  const Elaborated e = with_optimizer(call);
  EXPECT_EQ(rule_text(e, "w"), with_schedule("0.1"));
  EXPECT_EQ(rule_text(e, "c"), with_schedule("0.01"));
  EXPECT_TRUE(std::isinf(e.job->learning_rate->initial));
  const Elaborated replaced = with_optimizer(call, "0.5");
  EXPECT_EQ(rule_text(replaced, "c"), with_schedule("0.01"));
  EXPECT_EQ(replaced.job->learning_rate->initial, 0.5);
}

TEST(LearningRate, OtherOptimizersAndTransformsHaveNone) {
  const Elaborated e = with_optimizer("mine(pace = 0.5)", "",
                                      "optimizer mine(pace) for p, g { p <- p - pace * g }\n");
  EXPECT_EQ(rule_text(e, "w"), "p <- p - 0.5 * g\n");
  EXPECT_FALSE(e.job->learning_rate);
  EXPECT_NE(with_optimizer("sgd(lr = true)").messages().find("E0402"), std::string::npos);
}

}  // namespace
}  // namespace fusegrad::frontend
