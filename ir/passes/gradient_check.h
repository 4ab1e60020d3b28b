// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Gradients against differences of the loss, both by T's evaluator in f64.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ir/passes/passes.h"
#include "ir/support/result.h"
#include "ir/tensor/program.h"

namespace fusegrad::ir {

struct GradientCheckOptions {
  uint64_t seed = 1;        ///< of inputs, parameters and directions
  int64_t rows = 4;         ///< samples; at most the program's batch are taken
  int directions = 2;       ///< compared per parameter
  double tolerance = 1e-6;  ///< a direction with a larger error is looked at for a kink
};

/// What was found for one parameter.
struct ParameterGradient {
  std::string name;
  /// The largest |a - n| / max(|a|, |n|, s) over the directions, where a is <gradient, v>, n the
  /// best difference quotient and s = max(1e-4 * norm of the whole gradient, 1e-6 * |loss|), below
  /// which differences are rounding noise. NaN when nothing could be compared: every point was a
  /// kink or had a loss that is not finite.
  double error = 0;
  /// Directions that were given up because the loss has different slopes on the two sides.
  int kinks = 0;
  /// The loss depends on the parameter by some path without stop_gradient.
  bool has_gradient = true;
  /// A slope written by the user (`deriv` or `deriv!`) lies on the way to the loss. One that is
  /// wrong on purpose shows as an error here; T does not tell the two apart.
  bool through_custom = false;
};

struct GradientCheck {
  std::vector<ParameterGradient> parameters;  ///< in order of declaration
  /// The parameter with the largest error (NaN is the largest); null if there is no parameter.
  const ParameterGradient* worst() const;
};

/// Checks the gradient of the loss of `forward` (verified, not differentiated) with respect to
/// every parameter. Inputs are random within their declared ranges (u8 without one: 0..256, reals:
/// normal), parameters random and small, states near 1. Values under stop_gradient are held fixed
/// while parameters move, random numbers stay the same. Fails where differentiation fails.
Result<GradientCheck, DifferentiationError> check_gradients(
    const TensorProgram& forward, const GradientCheckOptions& options = {});

}  // namespace fusegrad::ir
