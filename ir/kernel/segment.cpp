// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The form of segment sums, and derived buffers.
#include "ir/kernel/segment.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace fusegrad::ir {
namespace {

/// The operands of `and`, in order.
void add_conjuncts(const ExprRef& condition, std::vector<ExprRef>& parts) {
  if (condition->op != Op::logical_and) {
    parts.push_back(condition);
    return;
  }
  for (const ExprRef& operand : condition->operands) add_conjuncts(operand, parts);
}

bool is_index_of_kernel(const KernelStatement& statement, std::string_view name) {
  return std::none_of(statement.binders.begin(), statement.binders.end(),
                      [&](const IndexRange& binder) { return binder.name == name; });
}

/// Whether an address in `e` depends on the index.
bool addresses_with(const ExprRef& e, std::string_view index) {
  bool found = false;
  walk(e, [&](const Expr& node) {
    if (node.op != Op::read) return;
    for (size_t d = 0; d < node.index_count(); ++d) {
      found = found || mentions_index(node.operands[d], index);
    }
  });
  return found;
}

/// The position in the list of binders where those of the read begin.
std::optional<size_t> first_binder(const KernelStatement& statement, const Expr& read,
                                   const Buffer& input) {
  if (read.op != Op::read || read.name != input.name || read.has_else || read.operands.empty() ||
      read.operands.size() != input.shape.size()) {
    return std::nullopt;
  }
  const std::vector<IndexRange>& binders = statement.binders;
  for (size_t first = 0; first + read.operands.size() <= binders.size(); ++first) {
    bool fits = true;
    for (size_t d = 0; d < read.operands.size() && fits; ++d) {
      const IndexRange& binder = binders[first + d];
      fits = is_index(read.operands[d]) && read.operands[d]->name == binder.name &&
             binder.begin == 0 && binder.end == input.shape[d];
    }
    if (fits) return first;
  }
  return std::nullopt;
}

}  // namespace

std::optional<SegmentSum> segment_form(const KernelStatement& statement, const Buffer& input,
                                       std::string_view index) {
  if (statement.reduction != Reduction::sum || statement.condition == nullptr ||
      input.kind != BufferKind::input || !is_index_of_kernel(statement, index) ||
      addresses_with(statement.value, index)) {
    return std::nullopt;
  }
  std::vector<ExprRef> parts;
  add_conjuncts(statement.condition, parts);
  std::optional<SegmentSum> form;
  ExprRef rest;
  for (const ExprRef& part : parts) {
    if (!form && part->op == Op::equal) {
      for (size_t side = 0; side < 2 && !form; ++side) {
        const ExprRef& other = part->operands[1 - side];
        if (!is_index(other) || other->name != index) continue;
        if (std::optional<size_t> first = first_binder(statement, *part->operands[side], input)) {
          form = SegmentSum{input.name, std::string(index), *first, input.shape.size(), nullptr};
        }
      }
      if (form) continue;
    }
    if (addresses_with(part, index)) return std::nullopt;
    rest = rest == nullptr ? part : make_binary(Op::logical_and, rest, part);
  }
  if (form) form->condition = std::move(rest);
  return form;
}

std::vector<SegmentSum> segment_forms(const std::vector<Buffer>& buffers,
                                      const KernelStatement& statement) {
  std::vector<SegmentSum> forms;
  if (statement.reduction != Reduction::sum || statement.condition == nullptr) return forms;
  std::vector<ExprRef> parts;
  add_conjuncts(statement.condition, parts);
  for (const ExprRef& part : parts) {
    if (part->op != Op::equal) continue;
    for (size_t side = 0; side < 2; ++side) {
      const ExprRef& read = part->operands[side];
      const ExprRef& index = part->operands[1 - side];
      if (read->op != Op::read || !is_index(index)) continue;
      auto input = std::find_if(buffers.begin(), buffers.end(),
                                [&](const Buffer& buffer) { return buffer.name == read->name; });
      if (input == buffers.end()) continue;
      if (auto form = segment_form(statement, *input, index->name)) {
        forms.push_back(std::move(*form));
      }
    }
  }
  return forms;
}

std::optional<SegmentSum> segment_of(const std::vector<Buffer>& buffers, const Kernel& kernel,
                                     const KernelStatement& statement) {
  for (const ScheduleAttribute& attribute : kernel.schedule) {
    if (attribute.kind != ScheduleAttribute::Kind::segment) continue;
    for (const Buffer& buffer : buffers) {
      if (buffer.name != attribute.input) continue;
      if (auto form = segment_form(statement, buffer, attribute.index)) return form;
    }
  }
  return std::nullopt;
}

const Buffer* find_derived(const std::vector<Buffer>& buffers, Derivation derivation,
                           std::string_view source) {
  for (const Buffer& buffer : buffers) {
    if (buffer.kind == BufferKind::derived && buffer.derivation == derivation &&
        buffer.source == source) {
      return &buffer;
    }
  }
  return nullptr;
}

std::optional<IntegerRange> declared_values(const Buffer& input) {
  if (input.range) return input.range;
  if (input.type == ScalarType::u8) return IntegerRange{0, 256};
  return std::nullopt;
}

std::vector<std::string> derivation_mistakes(const std::vector<Buffer>& buffers,
                                             const Buffer& buffer) {
  std::vector<std::string> mistakes;
  if (buffer.kind != BufferKind::derived) {
    if (buffer.derivation != Derivation::none || !buffer.source.empty()) {
      mistakes.push_back("only derived buffers follow from others");
    }
    return mistakes;
  }
  if (buffer.derivation == Derivation::none) return {"a derived buffer that follows from nothing"};
  if (buffer.type != ScalarType::i32 || buffer.shape.size() != 1 || buffer.packed_dimension != -1) {
    return {"a derived buffer has one dimension of i32, not packed"};
  }
  if (find_derived(buffers, buffer.derivation, buffer.source) != &buffer) {
    mistakes.push_back(
        fmt::format("`{}` has {} already", buffer.source, spelling(buffer.derivation)));
  }
  auto source = std::find_if(buffers.begin(), buffers.end(),
                             [&](const Buffer& other) { return other.name == buffer.source; });
  if (source == buffers.end() || source->kind != BufferKind::input || source->shape.empty() ||
      (source->type != ScalarType::u8 && source->type != ScalarType::i32)) {
    mistakes.push_back(fmt::format("`{}` is no input of u8 or i32", buffer.source));
    return mistakes;
  }
  const std::optional<int64_t> places = element_count(source->shape);
  if (!places || *places > INT32_MAX) {
    mistakes.push_back(fmt::format("`{}` has more places than an i32 counts", buffer.source));
    return mistakes;
  }
  const Extent size = buffer.shape[0];
  if (buffer.derivation == Derivation::positions) {
    const int64_t in_a_row = source->shape[0].maximum == 0 ? 0 : *places / source->shape[0].maximum;
    if (size.per_row != in_a_row || size.maximum != *places) {
      mistakes.push_back(fmt::format("`{}` has {} places in a row", buffer.source, in_a_row));
    }
  } else {
    const std::optional<IntegerRange> values = declared_values(*source);
    if (size.depends_on_rows() || !values || values->begin < 0 || values->end > size.maximum - 1) {
      mistakes.push_back(fmt::format(
          "the values of `{}` are not declared to be below the last start", buffer.source));
    }
  }
  return mistakes;
}

IntegerRange values_of_derived(const std::vector<Buffer>& buffers, const Buffer& buffer) {
  int64_t places = 0;
  for (const Buffer& source : buffers) {
    if (source.name == buffer.source) places = element_count(source.shape).value_or(INT32_MAX);
  }
  return {0, buffer.derivation == Derivation::starts ? places + 1 : places};
}

std::vector<int64_t> derived_elements(const Buffer& buffer, const std::vector<int64_t>& values) {
  std::vector<int64_t> result;
  if (buffer.derivation == Derivation::positions) {
    result.resize(values.size());
    std::iota(result.begin(), result.end(), int64_t{0});
    std::stable_sort(result.begin(), result.end(), [&](int64_t a, int64_t b) {
      return values[static_cast<size_t>(a)] < values[static_cast<size_t>(b)];
    });
    return result;
  }
  std::vector<int64_t> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  for (int64_t value = 0; value < buffer.shape[0].maximum; ++value) {
    result.push_back(std::lower_bound(sorted.begin(), sorted.end(), value) - sorted.begin());
  }
  return result;
}

}  // namespace fusegrad::ir
