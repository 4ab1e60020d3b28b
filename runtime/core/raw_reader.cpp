// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A file without a header says nothing about itself, so everything is compared with its length.
#include <array>

#include "runtime/core/content_stream.h"
#include "runtime/core/readers.h"

namespace fusegrad::runtime {

namespace {

std::optional<ElementType> element_named(std::string_view name) {
  for (const ElementType type : {ElementType::boolean, ElementType::u8, ElementType::i32,
                                 ElementType::f32, ElementType::f64}) {
    if (name == element_name(type)) return type;
  }
  return std::nullopt;
}

/// Leaves the stream behind the bytes in front of the elements.
std::optional<DataFailure> skip(ContentStream& stream, int64_t count, const ReadLimits& limits) {
  std::array<std::byte, 4096> bytes;
  while (stream.position() < count) {
    const int64_t piece = std::min(static_cast<int64_t>(bytes.size()), count - stream.position());
    Expected<int64_t, DataFailure> done =
        stream.read(std::span(bytes).first(static_cast<size_t>(piece)), limits);
    if (!done) return done.error();
    if (*done < piece) {
      return malformed(stream.file().path,
                       fmt::format("{}: expected `offset`, {} bytes, in front of the data; {} {}",
                                   stream.place(), count, stream.has_text(), stream.position()));
    }
  }
  return std::nullopt;
}

}  // namespace

Expected<Column, DataFailure> read_raw(const ReadRequest& request) {
  const InputFile& file = request.file;
  Column column;
  column.element = request.input.element;
  if (const auto* name = find_argument<std::string>(request.arguments, "type")) {
    const std::optional<ElementType> element = element_named(*name);
    RUNTIME_CHECK(element.has_value(), "element type {}", *name);
    column.element = *element;
  }
  // Any two bytes may begin such a file, those of gzip too; here the name has to decide.
  ContentStream stream(file, file.path.ends_with(".gz") ? Packing::gzip : Packing::plain);
  const auto offset = argument_or<int64_t>(request.arguments, "offset", 0);
  if (std::optional<int64_t> size = stream.size(); size && *size < offset) {
    return malformed(file.path,
                     fmt::format("{}: expected `offset`, {} bytes, in front of the data; the file "
                                 "has {}",
                                 stream.place(*size), offset, *size));
  }
  if (std::optional<DataFailure> problem = skip(stream, offset, request.limits)) return *problem;
  std::optional<AlignedBytes> bytes;
  if (const auto* shape = find_argument<std::vector<int64_t>>(request.arguments, "shape")) {
    column.shape = *shape;
    const std::string type = type_text(column.element, column.shape);
    const std::optional<int64_t> size = tensor_bytes(column.element, column.shape);
    if (!size || *size > request.limits.largest_bytes) {
      return too_large(file.path, quoted(file.path), type, size, request.limits);
    }
    Expected<AlignedBytes, DataFailure> content =
        read_elements(stream, *size, type, request.limits);
    if (!content) return content.error();
    bytes = std::move(*content);
  } else {
    const std::vector<int64_t>& row_shape = request.input.row_shape;
    const std::optional<int64_t> row_bytes = tensor_bytes(column.element, row_shape);
    const std::string type = type_text(column.element, row_shape);
    if (!row_bytes || *row_bytes == 0) {
      return data_failure(
          DataFailureKind::does_not_fit, file.path,
          fmt::format("{}: a record {} has no size that tells how many there are; give `shape`",
                      quoted(file.path), type));
    }
    Expected<AlignedBytes, DataFailure> content = read_rest(stream, request.limits);
    if (!content) return content.error();
    if (content->size() % *row_bytes != 0) {
      return malformed(file.path,
                       fmt::format("{}: expected whole records {} of {} bytes, found {} bytes, "
                                   "which is {} more than {} records",
                                   stream.place(), type, *row_bytes, content->size(),
                                   content->size() % *row_bytes, content->size() / *row_bytes));
    }
    column.shape = {content->size() / *row_bytes};
    column.shape.insert(column.shape.end(), row_shape.begin(), row_shape.end());
    bytes = std::move(*content);
  }
  column.bytes = std::move(*bytes);
  from_little_endian(column);
  if (const std::optional<int64_t> position = find_no_boolean(column)) {
    return malformed(file.path, fmt::format("{}: expected a bool, 00 or 01, found {:02x}",
                                            stream.place(offset + *position),
                                            static_cast<unsigned>(column.bytes.data()[*position])));
  }
  return column;
}

}  // namespace fusegrad::runtime
