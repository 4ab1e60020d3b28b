// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Scalar expressions as trees of small functions: one node each, chosen once, so that running them
// asks no questions about operators or types.
#include "ir/scalar_evaluate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "ir/expr_text.h"
#include "ir/philox.h"
#include "ir/support/check.h"

namespace fusegrad::ir {
namespace {

using RealNode = ScalarCode::RealNode;
using IntegerNode = ScalarCode::IntegerNode;
using RealPointer = std::unique_ptr<RealNode>;
using IntegerPointer = std::unique_ptr<IntegerNode>;

/// A node that is the function `f` of the index values.
template <typename F>
RealPointer real_node(F f) {
  struct Node : RealNode {
    explicit Node(F function) : f(std::move(function)) {}
    double value(const int64_t* indices) const override { return f(indices); }
    F f;
  };
  return std::make_unique<Node>(std::move(f));
}

template <typename F>
IntegerPointer integer_node(F f) {
  struct Node : IntegerNode {
    explicit Node(F function) : f(std::move(function)) {}
    int64_t value(const int64_t* indices) const override { return f(indices); }
    F f;
  };
  return std::make_unique<Node>(std::move(f));
}

/// Signed arithmetic that wraps.
int64_t wrapping(uint64_t value) { return static_cast<int64_t>(value); }

double maximum(double a, double b) { return a >= b || a != a ? a : b; }
double minimum(double a, double b) { return a <= b || a != a ? a : b; }

/// Rounds toward zero and saturates at the ends of `type`; NaN gives 0.
int64_t real_to_integer(ScalarType type, double value) {
  if (type == ScalarType::boolean) return value != 0.0;
  if (std::isnan(value)) return 0;
  int64_t least = std::numeric_limits<int64_t>::min();
  int64_t most = std::numeric_limits<int64_t>::max();
  if (type == ScalarType::i32) {
    least = std::numeric_limits<int32_t>::min();
    most = std::numeric_limits<int32_t>::max();
  } else if (type == ScalarType::u8) {
    least = 0;
    most = 255;
  }
  // As doubles both limits are exact, or (most of i64) the next power of two.
  if (value <= static_cast<double>(least)) return least;
  if (value >= static_cast<double>(most)) return most;
  return static_cast<int64_t>(value);
}

}  // namespace

TensorValue::TensorValue(ScalarType element_type, std::vector<int64_t> sizes)
    : type(element_type), shape(std::move(sizes)) {
  const size_t count = static_cast<size_t>(elements());
  if (ir::is_real(type)) {
    reals.assign(count, 0.0);
  } else {
    integers.assign(count, 0);
  }
}

int64_t TensorValue::elements() const {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  return count;
}

int64_t wrap_to(ScalarType type, int64_t value) {
  switch (type) {
    case ScalarType::boolean:
      return value != 0;
    case ScalarType::u8:
      return static_cast<uint8_t>(value);
    case ScalarType::i32:
      return static_cast<int32_t>(value);
    case ScalarType::i64:
      return value;
    case ScalarType::f32:
    case ScalarType::f64:
      break;
  }
  FG_UNREACHABLE("wrap_to({})", spelling(type));
}

double round_to(ScalarType type, Precision precision, double value) {
  const bool narrow = type == ScalarType::f32 && precision == Precision::as_typed;
  return narrow ? static_cast<double>(static_cast<float>(value)) : value;
}

class ScalarCompiler {
 public:
  ScalarCompiler(const ScalarScope& scope, const Uniforms& uniforms, Precision precision)
      : scope_(scope), uniforms_(uniforms), precision_(precision) {}

  ScalarCode compile(const ExprRef& e) const {
    ScalarCode code;
    if (is_real(e->type.scalar)) {
      code.real_ = real(*e);
    } else {
      code.integer_ = integer(*e);
    }
    return code;
  }

 private:
  RealPointer real_operand(const Expr& e, size_t i) const { return real(*e.operands[i]); }
  IntegerPointer integer_operand(const Expr& e, size_t i) const { return integer(*e.operands[i]); }

  // ---- Reals.

  /// f of the real operands, rounded to the type of `e`.
  template <typename F>
  RealPointer rounded(const Expr& e, F f) const {
    const bool narrow = e.type.scalar == ScalarType::f32 && precision_ == Precision::as_typed;
    if (e.operands.size() == 1) {
      return real_node([f, narrow, a = real_operand(e, 0)](const int64_t* indices) {
        const double result = f(a->value(indices), 0.0);
        return narrow ? static_cast<double>(static_cast<float>(result)) : result;
      });
    }
    return real_node(
        [f, narrow, a = real_operand(e, 0), b = real_operand(e, 1)](const int64_t* indices) {
          const double result = f(a->value(indices), b->value(indices));
          return narrow ? static_cast<double>(static_cast<float>(result)) : result;
        });
  }

  RealPointer real(const Expr& e) const {
    switch (e.op) {
      case Op::constant: {
        const double value = round_to(e.type.scalar, precision_, e.real);
        return real_node([value](const int64_t*) { return value; });
      }
      case Op::read:
        return real_read(e);
      case Op::negate:
        return rounded(e, [](double a, double) { return -a; });
      case Op::add:
        return rounded(e, [](double a, double b) { return a + b; });
      case Op::subtract:
        return rounded(e, [](double a, double b) { return a - b; });
      case Op::multiply:
        return rounded(e, [](double a, double b) { return a * b; });
      case Op::divide:
        return rounded(e, [](double a, double b) { return a / b; });
      case Op::power:
        return real_power(e);
      case Op::minimum:
        return rounded(e, minimum);
      case Op::maximum:
        return rounded(e, maximum);
      case Op::select:
        return real_node([condition = integer_operand(e, 0), a = real_operand(e, 1),
                          b = real_operand(e, 2)](const int64_t* indices) {
          return condition->value(indices) != 0 ? a->value(indices) : b->value(indices);
        });
      case Op::exp:
        return rounded(e, [](double a, double) { return std::exp(a); });
      case Op::log:
        return rounded(e, [](double a, double) { return std::log(a); });
      case Op::log1p:
        return rounded(e, [](double a, double) { return std::log1p(a); });
      case Op::expm1:
        return rounded(e, [](double a, double) { return std::expm1(a); });
      case Op::sqrt:
        return rounded(e, [](double a, double) { return std::sqrt(a); });
      case Op::rsqrt:
        return rounded(e, [](double a, double) { return 1.0 / std::sqrt(a); });
      case Op::tanh:
        return rounded(e, [](double a, double) { return std::tanh(a); });
      case Op::erf:
        return rounded(e, [](double a, double) { return std::erf(a); });
      case Op::sin:
        return rounded(e, [](double a, double) { return std::sin(a); });
      case Op::cos:
        return rounded(e, [](double a, double) { return std::cos(a); });
      case Op::abs:
        return rounded(e, [](double a, double) { return std::fabs(a); });
      case Op::floor:
        return rounded(e, [](double a, double) { return std::floor(a); });
      case Op::convert:
        return real_conversion(e);
      case Op::rand:
      case Op::normal:
        return real_random(e);
      case Op::stop_gradient:
      case Op::custom:  // its first operand is the value
        return real_operand(e, 0);
      case Op::index:
      case Op::uniform:
      case Op::variable:
      case Op::floor_divide:
      case Op::modulo:
      case Op::less:
      case Op::less_equal:
      case Op::greater:
      case Op::greater_equal:
      case Op::equal:
      case Op::not_equal:
      case Op::logical_and:
      case Op::logical_or:
      case Op::logical_not:
      case Op::fma:
      case Op::splat:
      case Op::lane:
      case Op::iota:
      case Op::bit_cast:
      case Op::bit_and:
      case Op::bit_or:
      case Op::bit_xor:
      case Op::shift_left:
      case Op::shift_right:
      case Op::vector_sum:
        break;
    }
    FG_UNREACHABLE("`{}` has no value of type {} on T or K", spelling(e.op), spelling(e.type));
  }

  RealPointer real_power(const Expr& e) const {
    if (is_real(e.operands[1]->type.scalar)) {
      return rounded(e, [](double a, double b) { return std::pow(a, b); });
    }
    return real_node([type = e.type.scalar, precision = precision_, a = real_operand(e, 0),
                      n = integer_operand(e, 1)](const int64_t* indices) {
      const double exponent = static_cast<double>(n->value(indices));
      return round_to(type, precision, std::pow(a->value(indices), exponent));
    });
  }

  RealPointer real_conversion(const Expr& e) const {
    if (is_real(e.operands[0]->type.scalar)) {
      return rounded(e, [](double a, double) { return a; });
    }
    // Rounded once: through double an i64 could be rounded twice.
    const bool narrow = e.type.scalar == ScalarType::f32 && precision_ == Precision::as_typed;
    return real_node([narrow, a = integer_operand(e, 0)](const int64_t* indices) {
      const int64_t value = a->value(indices);
      return narrow ? static_cast<double>(static_cast<float>(value)) : static_cast<double>(value);
    });
  }

  RealPointer real_random(const Expr& e) const {
    return real_node([type = e.type.scalar, precision = precision_, stream = e.integer,
                      seed = uniforms_.seed, step = uniforms_.step, normal = e.op == Op::normal,
                      position = integer_operand(e, 0)](const int64_t* indices) {
      const PhiloxBlock block = random_block(seed, step, stream, position->value(indices));
      return round_to(type, precision, normal ? normal_number(block) : uniform_number(block));
    });
  }

  // ---- Integers and bools.

  template <typename F>
  IntegerPointer of_integers(const Expr& e, F f) const {
    return integer_node(
        [f, a = integer_operand(e, 0), b = integer_operand(e, 1)](const int64_t* indices) {
          return static_cast<int64_t>(f(a->value(indices), b->value(indices)));
        });
  }

  /// A comparison of reals, integers or bools.
  template <typename F>
  IntegerPointer comparison(const Expr& e, F f) const {
    if (!is_real(e.operands[0]->type.scalar)) return of_integers(e, f);
    return integer_node(
        [f, a = real_operand(e, 0), b = real_operand(e, 1)](const int64_t* indices) {
          return static_cast<int64_t>(f(a->value(indices), b->value(indices)));
        });
  }

  IntegerPointer integer(const Expr& e) const {
    switch (e.op) {
      case Op::constant:
        return constant(e.integer);
      case Op::index: {
        const int slot = slot_of(e);
        return integer_node([slot](const int64_t* indices) { return indices[slot]; });
      }
      case Op::uniform:
        return constant(uniform(e.name));
      case Op::read:
        return integer_read(e);
      case Op::negate:
        return integer_node([a = integer_operand(e, 0)](const int64_t* indices) {
          return wrapping(0 - static_cast<uint64_t>(a->value(indices)));
        });
      case Op::add:
        return of_integers(e, [](uint64_t a, uint64_t b) { return wrapping(a + b); });
      case Op::subtract:
        return of_integers(e, [](uint64_t a, uint64_t b) { return wrapping(a - b); });
      case Op::multiply:
        return of_integers(e, [](uint64_t a, uint64_t b) { return wrapping(a * b); });
      case Op::floor_divide:
        return of_integers(e, floor_divide);
      case Op::modulo:
        return of_integers(e, floor_modulo);
      case Op::minimum:
        return of_integers(e, [](int64_t a, int64_t b) { return std::min(a, b); });
      case Op::maximum:
        return of_integers(e, [](int64_t a, int64_t b) { return std::max(a, b); });
      case Op::abs:
        return integer_node([a = integer_operand(e, 0)](const int64_t* indices) {
          const int64_t value = a->value(indices);
          return value < 0 ? wrapping(0 - static_cast<uint64_t>(value)) : value;
        });
      case Op::less:
        return comparison(e, [](auto a, auto b) { return a < b; });
      case Op::less_equal:
        return comparison(e, [](auto a, auto b) { return a <= b; });
      case Op::greater:
        return comparison(e, [](auto a, auto b) { return a > b; });
      case Op::greater_equal:
        return comparison(e, [](auto a, auto b) { return a >= b; });
      case Op::equal:
        return comparison(e, [](auto a, auto b) { return a == b; });
      case Op::not_equal:
        return comparison(e, [](auto a, auto b) { return a != b; });
      case Op::logical_and:
        return integer_node(
            [a = integer_operand(e, 0), b = integer_operand(e, 1)](const int64_t* indices) {
              return static_cast<int64_t>(a->value(indices) != 0 && b->value(indices) != 0);
            });
      case Op::logical_or:
        return integer_node(
            [a = integer_operand(e, 0), b = integer_operand(e, 1)](const int64_t* indices) {
              return static_cast<int64_t>(a->value(indices) != 0 || b->value(indices) != 0);
            });
      case Op::logical_not:
        return integer_node([a = integer_operand(e, 0)](const int64_t* indices) {
          return static_cast<int64_t>(a->value(indices) == 0);
        });
      case Op::select:
        return integer_node([condition = integer_operand(e, 0), a = integer_operand(e, 1),
                             b = integer_operand(e, 2)](const int64_t* indices) {
          return condition->value(indices) != 0 ? a->value(indices) : b->value(indices);
        });
      case Op::convert:
        return integer_conversion(e);
      case Op::stop_gradient:
        return integer_operand(e, 0);
      case Op::variable:
      case Op::divide:
      case Op::power:
      case Op::exp:
      case Op::log:
      case Op::log1p:
      case Op::expm1:
      case Op::sqrt:
      case Op::rsqrt:
      case Op::tanh:
      case Op::erf:
      case Op::sin:
      case Op::cos:
      case Op::floor:
      case Op::rand:
      case Op::normal:
      case Op::custom:
      case Op::fma:
      case Op::splat:
      case Op::lane:
      case Op::iota:
      case Op::bit_cast:
      case Op::bit_and:
      case Op::bit_or:
      case Op::bit_xor:
      case Op::shift_left:
      case Op::shift_right:
      case Op::vector_sum:
        break;
    }
    FG_UNREACHABLE("`{}` has no value of type {} on T or K", spelling(e.op), spelling(e.type));
  }

  int slot_of(const Expr& index) const {
    const int slot = scope_.index(index.name);
    FG_CHECK(slot >= 0, "there is no index `{}`", index.name);
    return slot;
  }

  static IntegerPointer constant(int64_t value) {
    return integer_node([value](const int64_t*) { return value; });
  }

  int64_t uniform(std::string_view name) const {
    if (name == "rows") return uniforms_.rows;
    if (name == "step") return uniforms_.step;
    if (name == "epoch") return uniforms_.epoch;
    if (name == "steps") return uniforms_.steps;
    FG_CHECK(name == "seed", "there is no uniform `{}`", name);
    return uniforms_.seed;
  }

  IntegerPointer integer_conversion(const Expr& e) const {
    const ScalarType type = e.type.scalar;
    if (is_real(e.operands[0]->type.scalar)) {
      return integer_node([type, a = real_operand(e, 0)](const int64_t* indices) {
        return real_to_integer(type, a->value(indices));
      });
    }
    return integer_node([type, a = integer_operand(e, 0)](const int64_t* indices) {
      return wrap_to(type, a->value(indices));
    });
  }

  // ---- Reads.

  /// Computes the position of the element that is read.
  struct Address {
    /// Most indices are bare; those are looked up without a call.
    struct Dimension {
      int slot = -1;
      IntegerPointer code;
      int64_t extent = 0;
    };
    const TensorValue* tensor = nullptr;
    std::string name;
    std::vector<Dimension> dimensions;

    /// The row-major position, or -1 if an index is out of range.
    int64_t position(const int64_t* at) const {
      int64_t result = 0;
      for (const Dimension& dimension : dimensions) {
        const int64_t index = dimension.slot >= 0 ? at[dimension.slot] : dimension.code->value(at);
        if (index < 0 || index >= dimension.extent) return -1;
        result = result * dimension.extent + index;
      }
      return result;
    }
    size_t position_inside(const int64_t* at) const {
      const int64_t result = position(at);
      FG_CHECK(result >= 0, "a read of `{}` is out of range", name);
      return static_cast<size_t>(result);
    }
  };

  Address address(const Expr& e) const {
    Address result;
    result.tensor = scope_.tensor(e.name);
    result.name = e.name;
    FG_CHECK(result.tensor != nullptr, "there is no tensor `{}`", e.name);
    FG_CHECK(result.tensor->shape.size() == e.index_count(), "`{}` has another rank", e.name);
    for (size_t d = 0; d < e.index_count(); ++d) {
      const ExprRef& index = e.operands[d];
      Address::Dimension dimension;
      dimension.extent = result.tensor->shape[d];
      if (is_index(index)) {
        dimension.slot = slot_of(*index);
      } else {
        dimension.code = integer(*index);
      }
      result.dimensions.push_back(std::move(dimension));
    }
    return result;
  }

  RealPointer real_read(const Expr& e) const {
    if (!e.has_else) {
      return real_node([from = address(e)](const int64_t* indices) {
        return from.tensor->reals[from.position_inside(indices)];
      });
    }
    return real_node([from = address(e),
                      other = real_operand(e, e.operands.size() - 1)](const int64_t* indices) {
      const int64_t position = from.position(indices);
      return position >= 0 ? from.tensor->reals[static_cast<size_t>(position)]
                           : other->value(indices);
    });
  }

  IntegerPointer integer_read(const Expr& e) const {
    if (!e.has_else) {
      return integer_node([from = address(e)](const int64_t* indices) {
        return from.tensor->integers[from.position_inside(indices)];
      });
    }
    return integer_node([from = address(e), other = integer_operand(e, e.operands.size() - 1)](
                            const int64_t* indices) {
      const int64_t position = from.position(indices);
      return position >= 0 ? from.tensor->integers[static_cast<size_t>(position)]
                           : other->value(indices);
    });
  }

  const ScalarScope& scope_;
  const Uniforms& uniforms_;
  const Precision precision_;
};

ScalarCode compile_scalar(const ExprRef& e, const ScalarScope& scope, const Uniforms& uniforms,
                          Precision precision) {
  return ScalarCompiler(scope, uniforms, precision).compile(e);
}

}  // namespace fusegrad::ir
