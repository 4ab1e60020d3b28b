// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Everything that must hold for a training program, from text to machine code.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "ir/tensor/program.h"
#include "runtime/core/thread_team.h"
#include "tests/programs/coverage.h"

namespace fusegrad::test {

/// What did not hold.
struct ProgramFailure {
  std::string check;    ///< the same words for the same kind of failure: "machine code, 3 threads"
  std::string message;  ///< names, numbers and the text of the stage
};

/// Checks, for a forward program with its optimizer (random_rules of the seed):
///   every level prints to text that parses back to itself; every stage keeps its verifier's rules
///   the gradient agrees with f64 differences (where the program is small enough to afford it)
///   each rewrite of T, and all of them, stay within f64's rounding of what was written
///   simplified programs are not changed by simplifying again
///   what backward computes again, not stores, leaves every bit of a step as it was
///   K in f64 equals T in f64, and grouped programs equal those with a kernel for every statement
///   for some steps, with full and short batches: L's evaluator stays within the computed bound on
///   f32's error, with and without fusion; machine code equals it bit for bit with 1 and with 3
///   threads
class ProgramChecker {
 public:
  ProgramChecker();
  /// The first thing that does not hold; counts forms, rules and moves.
  std::optional<ProgramFailure> check(const ir::TensorProgram& forward, uint64_t seed,
                                      Coverage& coverage);
  /// Counts forms, rules and moves without running anything.
  void count(const ir::TensorProgram& forward, uint64_t seed, Coverage& coverage);

 private:
  std::unique_ptr<runtime::ThreadTeam> one_thread_;
  std::unique_ptr<runtime::ThreadTeam> three_threads_;
};

/// The program of a seed, with the options of that seed.
ir::TensorProgram program_of_seed(uint64_t seed);

/// How to run one seed alone.
std::string replay_command(uint64_t seed);

}  // namespace fusegrad::test
