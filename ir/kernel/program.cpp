// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Spellings and look-ups of K.
#include "ir/kernel/program.h"

#include <fmt/format.h>

#include <utility>

#include "ir/support/check.h"

namespace fusegrad::ir {

std::string_view spelling(BufferKind kind) {
  switch (kind) {
    case BufferKind::input:
      return "input";
    case BufferKind::parameter:
      return "param";
    case BufferKind::state:
      return "state";
    case BufferKind::result:
      return "result";
    case BufferKind::temporary:
      return "buffer";
    case BufferKind::derived:
      return "derived";
  }
  return "?";
}

std::string_view spelling(Derivation derivation) {
  switch (derivation) {
    case Derivation::none:
      return "none";
    case Derivation::starts:
      return "starts";
    case Derivation::positions:
      return "positions";
  }
  return "?";
}

std::string_view spelling(Storage storage) {
  switch (storage) {
    case Storage::local:
      return "local";
    case Storage::out:
      return "out";
    case Storage::inplace:
      return "inplace";
  }
  return "?";
}

std::string_view spelling(ScheduleAttribute::Kind kind) {
  switch (kind) {
    case ScheduleAttribute::Kind::tile:
      return "tile";
    case ScheduleAttribute::Kind::vector:
      return "vector";
    case ScheduleAttribute::Kind::lanes:
      return "lanes";
    case ScheduleAttribute::Kind::unroll:
      return "unroll";
    case ScheduleAttribute::Kind::segment:
      return "segment";
  }
  return "?";
}

std::string attribute_text(const ScheduleAttribute& attribute) {
  if (attribute.kind == ScheduleAttribute::Kind::segment) {
    return fmt::format("segment {} by {}", attribute.input, attribute.index);
  }
  return fmt::format("{} {} {}", spelling(attribute.kind), attribute.index, attribute.amount);
}

int64_t Buffer::physical_elements() const {
  int64_t count = 1;
  for (size_t d = 0; d < shape.size(); ++d) {
    int64_t extent = shape[d].maximum;
    if (static_cast<int>(d) == packed_dimension) {
      extent = (extent + packed_block - 1) / packed_block * packed_block;
    }
    std::optional<int64_t> product = checked_multiply(count, extent);
    FG_CHECK(product.has_value(), "size of buffer `{}` overflows", name);
    count = *product;
  }
  return count;
}

std::vector<IndexRange> KernelStatement::own_indices() const {
  std::vector<IndexRange> own;
  for (const KernelIndex& index : indices) {
    if (!index.is_row) own.push_back(index.range);
  }
  return own;
}

std::optional<int64_t> Kernel::attribute(ScheduleAttribute::Kind kind,
                                         std::string_view index) const {
  for (const ScheduleAttribute& attribute : schedule) {
    if (attribute.kind == kind && attribute.index == index) return attribute.amount;
  }
  return std::nullopt;
}

const Buffer* KernelProgram::find_buffer(std::string_view buffer) const {
  for (const Buffer& candidate : buffers) {
    if (candidate.name == buffer) return &candidate;
  }
  return nullptr;
}

Buffer* KernelProgram::find_buffer(std::string_view buffer) {
  return const_cast<Buffer*>(std::as_const(*this).find_buffer(buffer));
}

KernelProgram* KernelModule::find(std::string_view name) {
  for (KernelProgram& program : programs) {
    if (program.name == name) return &program;
  }
  return nullptr;
}

const KernelProgram* KernelModule::find(std::string_view name) const {
  return const_cast<KernelModule*>(this)->find(name);
}

}  // namespace fusegrad::ir
