// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// T in f64 with, for every element, a bound on how far an f32 execution may be away: a first-order
// running error analysis. It needs no tolerance chosen by hand.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ir/tensor/evaluate.h"
#include "ir/tensor/program.h"

namespace fusegrad::test {

/// A real value in f64 and the bound on the error of its f32 computation. Infinite: a comparison
/// that rounding can tip decides it, so nothing is promised.
struct Bounded {
  double value = 0;
  double error = 0;
};

/// All elements of a tensor, row-major. Integers and bools are in `value`; their error is 0, or
/// infinite.
using BoundedTensor = std::vector<Bounded>;

/// Evaluates all statements. `given` holds all declared tensors (f32 values are exact). Rules, with
/// u = 2^-24:
///   a + b     Ea + Eb + u|r|            a * b   |a|Eb + |b|Ea + Ea Eb + u|r|
///   a / b     (Ea + |r|Eb) / (|b| - Eb) + u|r|
///   f(a)      largest change of f over a +- Ea, + 2 ulp
///   sum of n  sum of errors + n u sum of |x|     (any order, lanes or not)
std::map<std::string, BoundedTensor> evaluate_with_bounds(const ir::TensorProgram& program,
                                                          const ir::TensorValues& given,
                                                          const ir::Uniforms& uniforms);

/// Largest |ours - value| / (4 * error + smallest subnormal) over elements with a finite bound; NaN
/// where one is expected counts 0, and an unexpected NaN or infinity counts infinite.
double worst_ratio(const BoundedTensor& expected, const std::vector<double>& ours);

}  // namespace fusegrad::test
