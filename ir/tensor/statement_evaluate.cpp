// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Maps and reductions, one element at a time.
#include "ir/tensor/statement_evaluate.h"

#include <algorithm>
#include <limits>

#include "ir/support/check.h"

namespace fusegrad::ir {
namespace {

int64_t smallest(ScalarType type) {
  if (type == ScalarType::u8) return 0;
  return type == ScalarType::i32 ? std::numeric_limits<int32_t>::min()
                                 : std::numeric_limits<int64_t>::min();
}

int64_t largest(ScalarType type) {
  if (type == ScalarType::u8) return 255;
  return type == ScalarType::i32 ? std::numeric_limits<int32_t>::max()
                                 : std::numeric_limits<int64_t>::max();
}

}  // namespace

StatementCode::StatementCode(const RightSide& right_side, ScalarType type,
                             const std::vector<std::string>& indices,
                             const std::function<const TensorValue*(std::string_view)>& tensors,
                             const Uniforms& uniforms, Precision precision)
    : reduction_(right_side.reduction), type_(type), precision_(precision) {
  std::vector<std::string> names = indices;
  for (const IndexRange& binder : right_side.binders) {
    binders_.push_back(
        {static_cast<int>(names.size()), binder.begin, binder.end.at(uniforms.rows)});
    names.push_back(binder.name);
  }
  slots_ = names.size();
  ScalarScope scope;
  scope.index = [&](std::string_view name) {
    auto found = std::find(names.begin(), names.end(), name);
    return found == names.end() ? -1 : static_cast<int>(found - names.begin());
  };
  scope.tensor = tensors;
  value_ = compile_scalar(right_side.value, scope, uniforms, precision);
  has_condition_ = right_side.condition != nullptr;
  if (has_condition_) {
    condition_ = compile_scalar(right_side.condition, scope, uniforms, precision);
  }
}

ElementValue StatementCode::compute(int64_t* indices) const {
  switch (reduction_) {
    case Reduction::none:
      return map(indices);
    case Reduction::sum:
      return sum(indices);
    case Reduction::max:
    case Reduction::min:
      return extreme(indices);
    case Reduction::argmax:
    case Reduction::argmin:
      return position_of_extreme(indices);
    case Reduction::any:
    case Reduction::all:
      return any_or_all(indices);
  }
  FG_UNREACHABLE("reduction {}", static_cast<int>(reduction_));
}

/// Points of the binders where the condition holds.
template <typename Body>
void StatementCode::for_each_term(int64_t* indices, Body body) const {
  for_each_point(binders_, indices, [&] {
    if (!has_condition_ || condition_.integer(indices) != 0) body();
  });
}

ElementValue StatementCode::map(const int64_t* indices) const {
  if (value_.is_real()) return {value_.real(indices), 0};
  return {0, wrap_to(type_, value_.integer(indices))};
}

ElementValue StatementCode::sum(int64_t* indices) const {
  if (value_.is_real()) {
    double total = 0;
    for_each_term(indices,
                  [&] { total = round_to(type_, precision_, total + value_.real(indices)); });
    return {total, 0};
  }
  uint64_t total = 0;
  for_each_term(indices, [&] { total += static_cast<uint64_t>(value_.integer(indices)); });
  return {0, wrap_to(type_, static_cast<int64_t>(total))};
}

ElementValue StatementCode::extreme(int64_t* indices) const {
  const bool wants_largest = reduction_ == Reduction::max;
  if (value_.is_real()) {
    double best = std::numeric_limits<double>::infinity() * (wants_largest ? -1.0 : 1.0);
    for_each_term(indices, [&] {
      const double value = value_.real(indices);
      const bool keep = (wants_largest ? best >= value : best <= value) || best != best;
      if (!keep) best = value;
    });
    return {best, 0};
  }
  int64_t best = wants_largest ? smallest(type_) : largest(type_);
  for_each_term(indices, [&] {
    const int64_t value = value_.integer(indices);
    best = wants_largest ? std::max(best, value) : std::min(best, value);
  });
  return {0, wrap_to(type_, best)};
}

ElementValue StatementCode::position_of_extreme(int64_t* indices) const {
  const bool wants_largest = reduction_ == Reduction::argmax;
  bool found = false;
  double best_real = 0;
  int64_t best_integer = 0;
  int64_t best_position = 0;
  int64_t position = -1;
  for_each_point(binders_, indices, [&] {
    ++position;  // points that the condition leaves out count too
    if (has_condition_ && condition_.integer(indices) == 0) return;
    bool better = !found;
    if (value_.is_real()) {
      const double value = value_.real(indices);
      // The first NaN beats every number, and nothing beats it.
      better = better || (wants_largest ? value > best_real : value < best_real) ||
               (value != value && best_real == best_real);
      if (better) best_real = value;
    } else {
      const int64_t value = value_.integer(indices);
      better = better || (wants_largest ? value > best_integer : value < best_integer);
      if (better) best_integer = value;
    }
    if (better) best_position = position;
    found = true;
  });
  return {0, best_position};
}

ElementValue StatementCode::any_or_all(int64_t* indices) const {
  const bool wants_any = reduction_ == Reduction::any;
  bool result = !wants_any;
  for_each_term(indices, [&] {
    const bool value = value_.integer(indices) != 0;
    result = wants_any ? result || value : result && value;
  });
  return {0, result};
}

void store(TensorValue& tensor, int64_t position, const ElementValue& value) {
  const size_t at = static_cast<size_t>(position);
  if (is_real(tensor.type)) {
    tensor.reals.at(at) = value.real;
  } else {
    tensor.integers.at(at) = value.integer;
  }
}

}  // namespace fusegrad::ir
