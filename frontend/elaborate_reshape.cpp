// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Index maps of reshape, as small as the shapes allow.
#include "frontend/elaborate_reshape.h"

#include "frontend/elaborate_value.h"

namespace fusegrad::frontend {

using ir::ExprRef;
using ir::Extent;
using ir::Op;

namespace {

/// A run of dimensions of one shape.
struct Run {
  const ir::Shape* shape = nullptr;
  size_t begin = 0;
  size_t end = 0;
  Extent count = Extent::number(1);

  bool can_grow() const { return end < shape->size(); }
  bool grow(int64_t batch) {
    SizeResult product =
        size_arithmetic(ast::BinaryOperator::multiply, count, (*shape)[end], batch);
    if (product.mistake != SizeMistake::none) return false;
    count = product.value;
    ++end;
    return true;
  }
  bool is_at_one() const { return can_grow() && (*shape)[end] == Extent::number(1); }
};

/// Whether the number of rows stands only where it is neither a stride nor a divisor: first among
/// the sizes that are not 1.
bool rows_lead(const Run& run) {
  bool is_first = true;
  for (size_t d = run.begin; d < run.end; ++d) {
    const Extent extent = (*run.shape)[d];
    if (extent == Extent::number(1)) continue;
    if (extent.depends_on_rows() && !is_first) return false;
    is_first = false;
  }
  return true;
}

/// Fills in the indices of `from` for a pair of runs with equal counts.
bool map_run(const Run& from, const Run& to, const std::vector<ExprRef>& indices,
             std::vector<ExprRef>& out) {
  if (!rows_lead(from) || !rows_lead(to)) return false;
  ExprRef position = ir::make_integer(0);
  for (size_t d = to.begin; d < to.end; ++d) {
    const Extent extent = (*to.shape)[d];
    if (extent == Extent::number(1)) continue;
    // The first factor is 0 where the size could depend on rows.
    position = fold_binary(Op::multiply, position, ir::make_integer(extent.maximum));
    position = fold_binary(Op::add, position, indices[d]);
  }
  size_t first = from.begin;
  while (first < from.end && (*from.shape)[first] == Extent::number(1)) ++first;
  for (size_t d = from.end; d > from.begin; --d) {
    const Extent extent = (*from.shape)[d - 1];
    if (extent == Extent::number(1)) {
      out[d - 1] = ir::make_integer(0);
    } else if (d - 1 == first) {
      out[d - 1] = position;
    } else {
      out[d - 1] = fold_binary(Op::modulo, position, ir::make_integer(extent.maximum));
      position = fold_binary(Op::floor_divide, position, ir::make_integer(extent.maximum));
    }
  }
  return true;
}

}  // namespace

std::optional<std::vector<ExprRef>> reshaped_indices(const ir::Shape& from, const ir::Shape& to,
                                                     const std::vector<ExprRef>& indices,
                                                     int64_t batch) {
  std::vector<ExprRef> out(from.size());
  Run a = {&from, 0, 0, Extent::number(1)};
  Run b = {&to, 0, 0, Extent::number(1)};
  while (a.can_grow() || b.can_grow()) {
    a = {&from, a.end, a.end, Extent::number(1)};
    b = {&to, b.end, b.end, Extent::number(1)};
    if (a.can_grow() && !a.grow(batch)) return std::nullopt;
    if (b.can_grow() && !b.grow(batch)) return std::nullopt;
    while (!(a.count == b.count)) {
      // The smaller side grows; one without rows is taken for smaller than one with them.
      std::optional<int> order = compare_sizes(a.count, b.count);
      const bool grow_a = order ? *order < 0 : !a.count.depends_on_rows();
      Run& run = grow_a ? (a.can_grow() ? a : b) : (b.can_grow() ? b : a);
      if (!run.can_grow() || !run.grow(batch)) return std::nullopt;
    }
    while (a.is_at_one()) a.grow(batch);
    while (b.is_at_one()) b.grow(batch);
    if (!map_run(a, b, indices, out)) return std::nullopt;
  }
  return out;
}

}  // namespace fusegrad::frontend
