// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Lifting keeps expressions small when adjoints would repeat large ones, and holds values fixed in
// gradient checks.
#include "ir/passes/differentiate_lift.h"

#include <map>
#include <set>
#include <utility>

#include "ir/passes/fold.h"

namespace fusegrad::ir {
ExprRef zero_of(Type type) {
  if (is_real(type.scalar)) return make_real(0, type.scalar);
  return type.scalar == ScalarType::boolean ? make_boolean(false) : make_integer(0, type.scalar);
}

std::optional<LiftedPart> lift_part(const TensorStatement& from, const ExprRef& e,
                                    const std::vector<PathLiteral>& path, const std::string& name,
                                    int64_t batch) {
  ExprRef value = e;
  for (size_t i = path.size(); i-- > 0;) {
    value = make_select(to_expr(path[i]), value, zero_of(e->type));
  }
  if (from.condition != nullptr) {
    value = make_select(strip_marks(from.condition), value, zero_of(e->type));
  }
  const std::set<std::string> used = free_indices(value);
  LiftedPart part;
  std::map<std::string, ExprRef> shifted;
  std::vector<ExprRef> where;
  for (const auto* list : {&from.indices, &from.binders}) {
    for (IndexRange range : *list) {
      if (!used.contains(range.name)) continue;
      ExprRef index = make_index(range.name);
      if (range.begin == 0) {
        where.push_back(index);
      } else if (range.end.depends_on_rows()) {
        return std::nullopt;
      } else {
        ExprRef begin = make_integer(range.begin);
        where.push_back(make_binary(Op::subtract, index, begin));
        shifted[range.name] = make_binary(Op::add, index, begin);
        range.end.maximum -= range.begin;
        range.begin = 0;
      }
      part.statement.indices.push_back(range);
    }
  }
  part.statement.name = name;
  part.statement.type = e->type.scalar;
  part.statement.origin = from.origin;
  part.statement.value =
      simplify_indices(substitute(value, shifted), ranges_of(part.statement.indices, {}, batch));
  part.read = make_read(name, part.statement.type, std::move(where));
  return part;
}

}  // namespace fusegrad::ir
