// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Gradients of written and of random programs against differences; and that the check can fail.
#include "ir/passes/gradient_check.h"

#include <gtest/gtest.h>

#include <set>

#include "ir/tensor/print.h"
#include "ir/tensor/verify.h"
#include "tests/support/random_program.h"
#include "tests/support/tensor_text.h"

namespace fusegrad::ir {
namespace {

TEST(GradientCheck, RandomPrograms) {
  int parameters = 0;
  int kinks = 0;
  std::set<uint64_t> unproved;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    const TensorProgram program = test::random_program(seed);
    Result<TensorProgram, DifferentiationError> gradient = differentiate(program);
    ASSERT_TRUE(gradient) << gradient.error().message;
    for (const std::string& violation : verify(*gradient, tensor_rules_at("tensor.grad"))) {
      // Interval analysis does not see every consequence of a guard (-q // 2 - i from -q - 2*i);
      // anything but a bound that it cannot prove is a mistake.
      if (violation.find("may be") == std::string::npos) {
        ADD_FAILURE() << "seed " << seed << ": " << violation << "\n" << print(*gradient);
      }
      unproved.insert(seed);
    }
    GradientCheckOptions options;
    options.seed = seed;
    Result<GradientCheck, DifferentiationError> check = check_gradients(program, options);
    ASSERT_TRUE(check);
    for (const ParameterGradient& parameter : check->parameters) {
      ++parameters;
      kinks += parameter.kinks;
      if (!(parameter.error <= 1e-6)) {
        ADD_FAILURE() << "seed " << seed << ": " << parameter.name << " " << parameter.error << "\n"
                      << print(*gradient);
      }
    }
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_LE(unproved.size(), 1U);
  EXPECT_GT(parameters, 600);
  RecordProperty("kinks", kinks);
}

}  // namespace
}  // namespace fusegrad::ir
