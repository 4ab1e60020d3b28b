// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Running one statement of T or K, element by element.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ir/scalar_evaluate.h"
#include "ir/tensor/statement_text.h"

namespace fusegrad::ir {

/// The range [begin, end) of an index whose value stands at `slot` of the array of indices.
struct IndexLoop {
  int slot = 0;
  int64_t begin = 0;
  int64_t end = 0;
};

/// Calls `body` for every point of the box, last loop fastest; `indices` holds the point.
template <typename Body>
void for_each_point(const std::vector<IndexLoop>& loops, int64_t* indices, Body body) {
  for (const IndexLoop& loop : loops) {
    if (loop.begin >= loop.end) return;
    indices[loop.slot] = loop.begin;
  }
  while (true) {
    body();
    size_t d = loops.size();
    while (d > 0 && ++indices[loops[d - 1].slot] == loops[d - 1].end) {
      indices[loops[d - 1].slot] = loops[d - 1].begin;
      --d;
    }
    if (d == 0) return;
  }
}

/// One element: `real` of a tensor of reals, `integer` of all others.
struct ElementValue {
  double real = 0;
  int64_t integer = 0;
};

/// The right side of a statement, ready to compute elements.
class StatementCode {
 public:
  /// `indices` are the names in scope around the binders, in the order of their slots; binders get
  /// the slots behind them. `tensors` finds what is read.
  StatementCode(const RightSide& right_side, ScalarType type,
                const std::vector<std::string>& indices,
                const std::function<const TensorValue*(std::string_view)>& tensors,
                const Uniforms& uniforms, Precision precision);

  /// Number of slots that `indices` of compute() must have.
  size_t slots() const { return slots_; }
  /// The element at the index values that `indices` holds; slots of binders are overwritten.
  ElementValue compute(int64_t* indices) const;

 private:
  ElementValue map(const int64_t* indices) const;
  ElementValue sum(int64_t* indices) const;
  ElementValue extreme(int64_t* indices) const;
  ElementValue position_of_extreme(int64_t* indices) const;
  ElementValue any_or_all(int64_t* indices) const;
  template <typename Body>
  void for_each_term(int64_t* indices, Body body) const;

  Reduction reduction_ = Reduction::none;
  ScalarType type_ = ScalarType::f32;
  Precision precision_ = Precision::as_typed;
  bool has_condition_ = false;
  std::vector<IndexLoop> binders_;
  ScalarCode condition_;
  ScalarCode value_;
  size_t slots_ = 0;
};

/// Stores `value` at `position` of the tensor.
void store(TensorValue& tensor, int64_t position, const ElementValue& value);

}  // namespace fusegrad::ir
