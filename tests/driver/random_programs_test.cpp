// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Random training programs through every level (tests/programs/check.h says what must hold), and
// what they consist of. A failing seed says how to replay and reduce it.
#include <gtest/gtest.h>

#include <iostream>

#include "ir/tensor/print.h"
#include "tests/programs/check.h"
#include "tests/programs/reduce.h"
#include "tests/support/repeats.h"
#include "tests/support/tensor_text.h"

namespace fusegrad::test {
namespace {

constexpr uint64_t seeds_per_part = repeats(60);  // 480 seeds in all

class RandomPrograms : public testing::TestWithParam<uint64_t> {};

TEST_P(RandomPrograms, MeanTheSameOnEveryLevel) {
  ProgramChecker checker;
  Coverage coverage;
  const uint64_t first = GetParam() * seeds_per_part;
  for (uint64_t seed = first; seed < first + seeds_per_part; ++seed) {
    const ir::TensorProgram program = program_of_seed(seed);
    // In a process of its own: a compiler that ends the process is a failure like others.
    if (auto failure = check_alone(program, seed, coverage)) {
      FAIL() << failure->check << ": " << failure->message << "\n"
             << ir::print(program) << "\nreplay and reduce: "
             << replay_command(seed);  // one program at a time is enough to read
    }
  }
}

// Parts that run side by side.
INSTANTIATE_TEST_SUITE_P(Seeds, RandomPrograms, testing::Range<uint64_t>(0, 8));

// Reduced from seeds that failed once; a text outlives a change of the generator.
struct PastFailure {
  const char* what;
  uint64_t seed;
  const char* text;
};

constexpr PastFailure past_failures[] = {
    {"a second row dimension over the batch: tasks beyond the actual rows", 2190,
     R"(program train batch 2 {
  input label: u8[rows, 2] in 0..5
  param p1: f32[]
  param p2: f32[1, 1]
  t1[i in 0..1]: f32 = sum(r in 0..rows, s in 0..rows where label[s, s] <= 2: p2[(r * 1 + 0) // 2 % 1, s * -2 // 1 else p1] / (min(exp(tanh(p1)), f32(0)) * min(exp(tanh(p1)), f32(0)) + 1.0))
  loss.t1: f32 = tanh(t1[0])
  loss: f32 = loss.t1
  result loss = loss
}
)"},
};

TEST(RandomPrograms, ThatFailedOnceHold) {
  for (const PastFailure& past : past_failures) {
    SCOPED_TRACE(past.what);
    Coverage coverage;
    const auto failure = check_alone(tensor_program(past.text), past.seed, coverage);
    EXPECT_FALSE(failure) << failure->check << ": " << failure->message;
  }
}

/// How many of 100 programs must contain it: about half of what the generator made when this was
/// written.
constexpr std::pair<const char*, int> floors[] = {
    {"form: `/`", 23},
    {"form: `^`", 9},
    {"form: `custom`", 5},
    {"form: `if`", 18},
    {"form: `max`", 8},
    {"form: `min`", 4},
    {"form: `normal`", 5},
    {"form: `rand`", 8},
    {"form: `stop_gradient`", 5},
    {"form: bare index", 50},
    {"form: bytes", 15},
    {"form: diagonal", 30},
    {"form: gather", 16},
    {"form: map", 50},
    {"form: read of rank 0", 50},
    {"form: read with else", 32},
    {"form: reduction all", 4},
    {"form: reduction any", 1},
    {"form: reduction argmax", 3},
    {"form: reduction argmin", 5},
    {"form: reduction max", 4},
    {"form: reduction min", 6},
    {"form: reduction sum", 49},
    {"form: reshape", 43},
    {"form: reversal", 21},
    {"form: rows", 44},
    {"form: several places a row", 7},
    {"form: shared parameter", 41},
    {"form: shift", 5},
    {"form: size 1", 28},
    {"form: size of whole vectors", 20},
    {"form: size with a tail", 25},
    {"form: state", 18},
    {"form: stride", 13},
    {"form: where", 21},
    {"form: window", 10},
    {"form: window with stride or dilation", 5},
    {"move: array of a row", 5},
    {"move: fused", 50},
    {"move: gradient and update in one kernel", 36},
    {"move: in place", 50},
    {"move: not fused", 49},
    {"move: not fused: old value of a parameter", 39},
    {"move: not fused: too few rows", 19},
    {"move: packed layout", 6},
    {"move: reduction of a row", 50},
    {"move: reused memory", 18},
    {"move: schedule lanes", 7},
    {"move: schedule segment", 6},
    {"move: schedule tile", 26},
    {"move: schedule vector", 26},
    {"move: several kernels in a launch", 48},
    {"move: several statements in a kernel", 50},
    {"move: value of a row", 50},
    {"rule: R1", 50},
    {"rule: R2", 31},
    {"rule: R3", 17},
    {"rule: R4", 23},
    {"rule: R5", 27},
    {"rule: R6", 45},
};

TEST(RandomProgramCoverage, MeetsEveryFormRuleAndMove) {
#if defined(FUSEGRAD_SANITIZED)
  GTEST_SKIP() << "the same in every build, and a sanitizer takes minutes";
#endif
  constexpr uint64_t programs = 400;
  ProgramChecker checker;
  Coverage coverage;
  for (uint64_t seed = 0; seed < programs; ++seed) {
    checker.count(program_of_seed(seed), seed, coverage);
  }
  std::cout << coverage.text();
  for (const auto& [what, percent] : floors) {
    EXPECT_GE(coverage.of(what) * 100, percent * static_cast<int64_t>(programs)) << what;
  }
}

}  // namespace
}  // namespace fusegrad::test
