// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Random training programs: what a model could have come from, with every statement form and every
// kind of index map that the gradient's index solver knows.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "ir/tensor/evaluate.h"
#include "ir/tensor/program.h"
#include "ir/update_rule.h"

namespace fusegrad::test {

/// Sizes of dimensions: 1 to 7, or around the widths of vectors and tiles (1 to 33: primes, powers
/// of two and their neighbours).
enum class RandomSizes : uint8_t { small, around_tiles };

/// What may occur. Everything else about a program follows from the seed.
struct RandomProgramOptions {
  ir::ScalarType real = ir::ScalarType::f32;
  RandomSizes sizes = RandomSizes::small;
  int64_t batch = 3;           ///< rows of a full batch
  int statements = 5;          ///< at most, without the ones that make the loss
  int64_t points = 20000;      ///< of the loops of one statement, at most
  int plain_indices = 35;      ///< percent of the reads' indices that are kept simple
  bool gathers = true;         ///< reads of integer tensors as indices
  bool masks = true;           ///< `where` conditions and `if`s
  bool reductions = true;      ///< max, min, argmax, any, all besides sum
  bool random_numbers = true;  ///< rand and normal
  bool kinks = true;           ///< max, min and abs of reals
  bool marks = true;           ///< stop_gradient and slopes given by hand
  bool outputs = true;         ///< results besides the loss

  /// Options drawn from the seed: small programs with wild indices, where differences are exact and
  /// cheap, take turns with larger and tamer ones, where statements meet in kernels and loops have
  /// tails.
  static RandomProgramOptions for_seed(uint64_t seed);
};

/// A verified program `train`: inputs (reals, and integers with a range), parameters of rank 0 to
/// 3, statements over random index maps (strides, offsets, windows with `else`, reversed reads,
/// diagonals, reshapes, repeats, flattened batches, gathers), and a loss that depends on all real
/// tensors that a parameter moves. Values are moderate, slopes finite. The same for the same seed
/// and options everywhere.
ir::TensorProgram random_program(uint64_t seed, const RandomProgramOptions& options = {});

/// A random optimizer for every parameter of `forward`: plain, with momentum, or with two averages
/// like Adam's, some with decay, some that leave the parameter alone.
std::map<std::string, ir::UpdateRule> random_rules(const ir::TensorProgram& forward, uint64_t seed);

/// A program `init` that gives every parameter of `forward` random numbers, for
/// apply_update_rules().
ir::TensorProgram random_init(const ir::TensorProgram& forward);

/// Values for all declarations, within their ranges; reals are f32 numbers of moderate size.
ir::TensorValues random_values(const ir::TensorProgram& program, int64_t rows, uint64_t seed);

}  // namespace fusegrad::test
