// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Printing and parsing the lines that K and L have in common.
#include "ir/kernel/buffer_text.h"

#include <fmt/format.h>

#include <utility>

#include "ir/tensor/statement_text.h"

namespace fusegrad::ir {
namespace {

constexpr BufferKind buffer_kinds[] = {BufferKind::input,     BufferKind::parameter,
                                       BufferKind::state,     BufferKind::result,
                                       BufferKind::temporary, BufferKind::derived};

/// Whether the elements, padding included, and their bytes fit 63 bits.
bool fits(const Buffer& buffer) {
  int64_t bytes = byte_size(buffer.type);
  for (size_t d = 0; d < buffer.shape.size(); ++d) {
    int64_t extent = buffer.shape[d].maximum;
    if (static_cast<int>(d) == buffer.packed_dimension) {
      const std::optional<int64_t> padded = checked_add(extent, buffer.packed_block - 1);
      if (!padded) return false;
      extent = *padded / buffer.packed_block * buffer.packed_block;
    }
    const std::optional<int64_t> product = checked_multiply(bytes, extent);
    if (!product) return false;
    bytes = *product;
  }
  return true;
}

}  // namespace

std::string print_buffer(const Buffer& buffer) {
  std::string text =
      fmt::format("{} {}: {}[", spelling(buffer.kind), buffer.name, spelling(buffer.type));
  for (size_t d = 0; d < buffer.shape.size(); ++d) {
    if (d != 0) text += ", ";
    text += spelling(buffer.shape[d]);
  }
  text += ']';
  if (buffer.range) text += fmt::format(" in {}..{}", buffer.range->begin, buffer.range->end);
  if (buffer.packed_dimension >= 0) {
    text += fmt::format(" packed {} by {}", buffer.packed_dimension, buffer.packed_block);
  }
  if (buffer.kind == BufferKind::derived) {
    text += fmt::format(" = {} of {}", spelling(buffer.derivation), buffer.source);
  }
  if (buffer.offset >= 0) text += fmt::format(" at {}", buffer.offset);
  return text;
}

bool at_buffer(const TextReader& reader) {
  if (!reader.at_name(1) || !reader.at(":", 2)) return false;
  for (BufferKind kind : buffer_kinds) {
    if (reader.at(spelling(kind))) return true;
  }
  return false;
}

std::optional<Buffer> parse_buffer(TextReader& reader, int64_t batch) {
  Buffer buffer;
  bool found = false;
  for (BufferKind kind : buffer_kinds) {
    if (found || !reader.accept(spelling(kind))) continue;
    buffer.kind = kind;
    found = true;
  }
  if (!found) {
    reader.error_expected("input, param, state, result, buffer or derived");
    return std::nullopt;
  }
  const Span span = reader.peek().span;
  buffer.name = reader.take_name("the name of a buffer");
  if (!reader.expect(":")) return std::nullopt;
  const std::optional<ScalarType> type = reader.take_scalar_type();
  if (!type) return std::nullopt;
  buffer.type = *type;
  std::optional<Shape> shape = reader.take_shape(batch);
  if (!shape) return std::nullopt;
  buffer.shape = std::move(*shape);
  if (reader.at("in")) {
    const Span range_span = reader.take().span;
    if (buffer.kind != BufferKind::input || !is_integer(buffer.type)) {
      reader.error(range_span, "only an input of integers has a range");
      return std::nullopt;
    }
    buffer.range = parse_integer_range(reader);
    if (!buffer.range) return std::nullopt;
  }
  if (reader.accept("packed")) {
    const Span packed_span = reader.peek().span;
    const std::optional<int64_t> dimension = reader.take_integer("a dimension");
    if (!dimension || !reader.expect("by")) return std::nullopt;
    const std::optional<int64_t> block = reader.take_integer("a block size");
    if (!block) return std::nullopt;
    if (*dimension < 0 || *dimension >= static_cast<int64_t>(buffer.shape.size()) || *block < 1) {
      reader.error(packed_span, fmt::format("`{}` has no dimension {} to pack by {}", buffer.name,
                                            *dimension, *block));
      return std::nullopt;
    }
    buffer.packed_dimension = static_cast<int>(*dimension);
    buffer.packed_block = *block;
  }
  if (!fits(buffer)) {
    reader.error(span, "the number of elements does not fit 63 bits");
    return std::nullopt;
  }
  if (buffer.kind == BufferKind::derived) {
    if (!reader.expect("=")) return std::nullopt;
    for (Derivation derivation : {Derivation::starts, Derivation::positions}) {
      if (buffer.derivation == Derivation::none && reader.accept(spelling(derivation))) {
        buffer.derivation = derivation;
      }
    }
    if (buffer.derivation == Derivation::none) {
      reader.error_expected("starts or positions");
      return std::nullopt;
    }
    if (!reader.expect("of")) return std::nullopt;
    buffer.source = reader.take_name("the name of an input");
    if (reader.failed()) return std::nullopt;
  }
  if (reader.at("at")) {
    const Span offset_span = reader.take().span;
    const std::optional<int64_t> offset = reader.take_integer("a position in bytes");
    if (!offset) return std::nullopt;
    if (buffer.kind != BufferKind::temporary || *offset < 0 || *offset % 64 != 0) {
      reader.error(offset_span,
                   "only a temporary has a position, and it is a multiple of 64, not negative");
      return std::nullopt;
    }
    buffer.offset = *offset;
  }
  return buffer;
}

std::string print_result(const KernelResult& result) {
  return result_text({result.kind, result.label, result.buffer});
}

std::optional<KernelResult> parse_kernel_result(TextReader& reader) {
  if (!reader.expect("result")) return std::nullopt;
  std::optional<TensorResult> result = parse_result(reader);
  if (!result) return std::nullopt;
  return KernelResult{result->kind, std::move(result->label), std::move(result->tensor)};
}

}  // namespace fusegrad::ir
