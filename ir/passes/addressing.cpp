// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Row-major and packed positions.
#include "ir/passes/addressing.h"

#include "ir/support/check.h"

namespace fusegrad::ir {
namespace {

ExprRef times(const ExprRef& e, int64_t factor) {
  return factor == 1 ? e : make_binary(Op::multiply, e, make_integer(factor));
}

}  // namespace

ElementPosition element_position(const Buffer& buffer, const std::vector<ExprRef>& indices) {
  FG_CHECK(indices.size() == buffer.shape.size(), "`{}` has rank {} and {} indices", buffer.name,
           buffer.shape.size(), indices.size());
  ElementPosition result{nullptr, 0, make_integer(0)};
  size_t first = 0;
  if (buffer.kind == BufferKind::input) {
    result.row = indices[0];
    first = 1;
  }
  int64_t stride = 1;
  auto add_dimension = [&](const ExprRef& index, int64_t extent) {
    result.position = make_binary(Op::add, times(index, stride), result.position);
    std::optional<int64_t> next = checked_multiply(stride, extent);
    FG_CHECK(next.has_value(), "size of `{}` overflows", buffer.name);
    stride = *next;
  };
  if (buffer.packed_dimension >= 0) {
    ExprRef block = make_integer(buffer.packed_block);
    add_dimension(
        make_binary(Op::modulo, indices[static_cast<size_t>(buffer.packed_dimension)], block),
        buffer.packed_block);
  }
  for (size_t d = buffer.shape.size(); d-- > first;) {
    int64_t extent = buffer.shape[d].maximum;
    ExprRef index = indices[d];
    if (static_cast<int>(d) == buffer.packed_dimension) {
      extent = (extent + buffer.packed_block - 1) / buffer.packed_block;
      index = make_binary(Op::floor_divide, index, make_integer(buffer.packed_block));
    }
    add_dimension(index, extent);
  }
  result.row_size = stride;
  return result;
}

}  // namespace fusegrad::ir
