// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Gradients of written and of random programs against differences; and that the check can fail.
#include "ir/passes/gradient_check.h"

#include <gtest/gtest.h>

#include "ir/tensor/print.h"
#include "ir/tensor/verify.h"
#include "tests/support/random_program.h"
#include "tests/support/tensor_text.h"

namespace fusegrad::ir {
namespace {

TEST(GradientCheck, RandomPrograms) {
  int parameters = 0;
  int kinks = 0;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    const TensorProgram program = test::random_program(seed);
    Result<TensorProgram, DifferentiationError> gradient = differentiate(program);
    ASSERT_TRUE(gradient) << gradient.error().message;
    for (const std::string& violation : verify(*gradient, tensor_rules_at("tensor.grad"))) {
      ADD_FAILURE() << "seed " << seed << ": " << violation << "\n" << print(*gradient);
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
  EXPECT_GT(parameters, 600);
  RecordProperty("kinks", kinks);
}

}  // namespace
}  // namespace fusegrad::ir
