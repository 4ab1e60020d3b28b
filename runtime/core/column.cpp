// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sizes are multiplied in one place, so that no reader can do it unchecked.
#include "runtime/core/column.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "runtime/core/exit_codes.h"
#include "runtime/core/file.h"

namespace fusegrad::runtime {

std::string type_text(ElementType element, const std::vector<int64_t>& shape) {
  std::string text = element_name(element);
  if (shape.empty()) return text;
  text += '[';
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i != 0) text += ", ";
    text += fmt::format("{}", shape[i]);
  }
  return text + ']';
}

std::optional<int64_t> tensor_bytes(ElementType element, const std::vector<int64_t>& shape) {
  bool empty = false;
  bool overflow = false;
  int64_t product = element_size(element);
  for (const int64_t extent : shape) {
    if (extent < 0) return std::nullopt;
    empty = empty || extent == 0;
    overflow = overflow || __builtin_mul_overflow(product, extent, &product);
  }
  // Decided by a size, never by a product: a product may wrap to 0.
  if (empty) return 0;
  if (overflow) return std::nullopt;
  return product;
}

DataFailure data_failure(DataFailureKind kind, const std::string& path, std::string message) {
  DataFailure result;
  result.kind = kind;
  result.path = path;
  result.message = std::move(message);
  return result;
}

DataFailure malformed(const std::string& path, std::string message) {
  return data_failure(DataFailureKind::malformed, path, std::move(message));
}

DataFailure no_memory_for(const std::string& path, int64_t size) {
  return data_failure(DataFailureKind::no_memory, path,
                      fmt::format("{}: no memory for its {} bytes", quoted(path), size));
}

DataFailure interrupted(const std::string& path) {
  return data_failure(DataFailureKind::interrupted, path, "interrupted");
}

Failure interrupted_failure(const ReadLimits& limits) {
  return {ExitCode::interrupted_by(limits.signal()), "interrupted", {}};
}

Failure to_failure(DataFailure failure, const ReadLimits& limits) {
  if (failure.kind == DataFailureKind::interrupted) return interrupted_failure(limits);
  return to_failure(std::move(failure));
}

DataFailure too_large(const std::string& path, const std::string& place, const std::string& type,
                      std::optional<int64_t> size, const ReadLimits& limits) {
  const std::string bytes =
      size ? fmt::format("{} bytes", *size) : std::string("more than 2^63 bytes");
  return data_failure(
      DataFailureKind::too_large, path,
      fmt::format("{}: the header announces {}, which takes {}; the limit is {} bytes", place, type,
                  bytes, limits.largest_bytes));
}

namespace {

void reverse_elements(Column& column) {
  const int64_t size = element_size(column.element);
  if (size == 1) return;
  std::byte* bytes = column.bytes.data();
  for (int64_t offset = 0; offset + size <= column.bytes.size(); offset += size) {
    std::reverse(bytes + offset, bytes + offset + size);
  }
}

}  // namespace

void from_little_endian(Column& column) {
  if (std::endian::native == std::endian::big) reverse_elements(column);
}

void from_big_endian(Column& column) {
  if (std::endian::native == std::endian::little) reverse_elements(column);
}

std::optional<int64_t> find_no_boolean(const Column& column) {
  if (column.element != ElementType::boolean) return std::nullopt;
  const std::byte* end = column.bytes.data() + column.bytes.size();
  const std::byte* found =
      std::find_if(column.bytes.data(), end, [](std::byte byte) { return byte > std::byte{1}; });
  if (found == end) return std::nullopt;
  return found - column.bytes.data();
}

}  // namespace fusegrad::runtime
