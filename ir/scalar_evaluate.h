// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The meaning of scalar expressions of T and K, executed. Never optimised; what the compiler makes
// is compared with it.
//
// Numbers. With Precision::as_typed every operation of type f32 is rounded to f32 (it is computed
// in double and rounded once, which for + - * / and sqrt is the IEEE 754 result), f64 stays f64.
// With Precision::all_f64 every real operation is in double and f32(x) does not round. Integers
// wrap at 64 bits; a conversion to a narrower integer wraps; real to integer rounds toward zero and
// saturates, NaN gives 0. max(a, b) is `if a >= b or a != a then a else b`, min likewise with `<=`.
// Only the taken branch of an `if` is evaluated, `and` and `or` stop early.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "ir/expr.h"
#include "ir/types.h"

namespace fusegrad::ir {

enum class Precision : uint8_t { as_typed, all_f64 };

/// The values that are equal for all elements of a run.
struct Uniforms {
  int64_t rows = 1;  ///< samples in this batch
  int64_t step = 0;
  int64_t epoch = 0;
  int64_t steps = 0;
  int64_t seed = 0;
};

/// Elements of a tensor, row-major. Reals (f32 values too) are in `reals`, all others in `integers`
/// (bool as 0 or 1).
struct TensorValue {
  ScalarType type = ScalarType::f32;
  std::vector<int64_t> shape;
  std::vector<double> reals;
  std::vector<int64_t> integers;

  /// All zero.
  TensorValue(ScalarType element_type, std::vector<int64_t> sizes);
  TensorValue() = default;
  int64_t elements() const;
  bool operator==(const TensorValue&) const = default;
};

/// `value` as an element of the integer type `type`: wraps.
int64_t wrap_to(ScalarType type, int64_t value);
/// `value` as a number of the real type `type` under `precision`.
double round_to(ScalarType type, Precision precision, double value);

/// An expression made ready to run. Values of indices come in one array, each at its own position.
class ScalarCode {
 public:
  struct RealNode {
    virtual ~RealNode() = default;
    virtual double value(const int64_t* indices) const = 0;
  };
  struct IntegerNode {
    virtual ~IntegerNode() = default;
    virtual int64_t value(const int64_t* indices) const = 0;
  };

  bool is_real() const { return real_ != nullptr; }
  /// Of a real expression.
  double real(const int64_t* indices) const { return real_->value(indices); }
  /// Of an integer or bool expression (0 or 1).
  int64_t integer(const int64_t* indices) const { return integer_->value(indices); }

 private:
  friend class ScalarCompiler;
  std::unique_ptr<RealNode> real_;
  std::unique_ptr<IntegerNode> integer_;
};

/// What names stand for. Both functions give our bug (null, -1) for names that are not there.
struct ScalarScope {
  /// Position of the index in the array of indices.
  std::function<int(std::string_view)> index;
  /// The tensor, which must stay where it is while the code is used; its elements may change.
  std::function<const TensorValue*(std::string_view)> tensor;
};

/// Makes `e` (of T or K, verified) ready to run. A read out of range without `else` is our bug and
/// ends the process when it happens.
ScalarCode compile_scalar(const ExprRef& e, const ScalarScope& scope, const Uniforms& uniforms,
                          Precision precision);

}  // namespace fusegrad::ir
