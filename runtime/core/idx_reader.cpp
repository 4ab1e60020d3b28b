// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Hand-written readers of such files keep having one bug: they believe the header. Here a size is
// only believed when the file's length agrees, and nothing is allocated before.
#include "runtime/core/idx_reader.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>

#include "runtime/core/content_stream.h"

namespace fusegrad::runtime {

namespace {

constexpr int64_t magic_bytes = 4;
constexpr int64_t largest_idx_header = magic_bytes + 4 * largest_rank;

struct IdxType {
  uint8_t code;
  const char* name;
  bool supported;
  ElementType element;
};

constexpr std::array<IdxType, 6> idx_types = {{{0x08, "u8", true, ElementType::u8},
                                               {0x09, "i8", false, ElementType::u8},
                                               {0x0b, "i16", false, ElementType::u8},
                                               {0x0c, "i32", true, ElementType::i32},
                                               {0x0d, "f32", true, ElementType::f32},
                                               {0x0e, "f64", true, ElementType::f64}}};

struct IdxHeader {
  ElementType element = ElementType::u8;
  std::vector<int64_t> shape;
  int64_t data_bytes = 0;
};

std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    if (!text.empty()) text += ' ';
    text += fmt::format("{:02x}", static_cast<unsigned>(byte));
  }
  return text;
}

uint32_t big_endian(const std::byte* bytes) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | static_cast<uint32_t>(bytes[i]);
  return value;
}

/// Leaves the stream behind the header.
Expected<IdxHeader, DataFailure> read_header(ContentStream& stream, const ReadLimits& limits) {
  const std::string& path = stream.file().path;
  std::array<std::byte, largest_idx_header> bytes = {};
  Expected<int64_t, DataFailure> count = stream.read(std::span(bytes).first(magic_bytes), limits);
  if (!count) return count.error();
  if (*count < magic_bytes) {
    return malformed(path, fmt::format("{}: the file ends inside the IDX header: expected at "
                                       "least {} bytes, found {}",
                                       stream.place(), magic_bytes, *count));
  }
  if (bytes[0] != std::byte{0} || bytes[1] != std::byte{0}) {
    return malformed(path, fmt::format("{}: expected 00 00 (IDX), found {}", stream.place(0),
                                       hex(std::span(bytes).first(2))));
  }
  const auto code = static_cast<uint8_t>(bytes[2]);
  const auto* type = std::find_if(idx_types.begin(), idx_types.end(),
                                  [&](const IdxType& known) { return known.code == code; });
  if (type == idx_types.end() || !type->supported) {
    return malformed(path, fmt::format("{}: expected element type 08 (u8), 0c (i32), 0d (f32) or "
                                       "0e (f64), found {:02x} ({})",
                                       stream.place(2), code,
                                       type == idx_types.end() ? "no IDX type" : type->name));
  }
  const auto rank = static_cast<int>(bytes[3]);
  if (rank < 1 || rank > largest_rank) {
    return malformed(path, fmt::format("{}: expected 1 to {} dimensions, found {}", stream.place(3),
                                       largest_rank, rank));
  }
  count = stream.read(std::span(bytes).subspan(magic_bytes, static_cast<size_t>(4 * rank)), limits);
  if (!count) return count.error();
  if (*count < 4 * rank) {
    return malformed(
        path, fmt::format("{}: the file ends inside the IDX header: expected {} "
                          "bytes for {} dimensions, found {}",
                          stream.place(), magic_bytes + 4 * rank, rank, magic_bytes + *count));
  }
  IdxHeader header;
  header.element = type->element;
  for (int dimension = 0; dimension < rank; ++dimension) {
    header.shape.push_back(big_endian(bytes.data() + magic_bytes + 4 * dimension));
  }
  const std::optional<int64_t> size = tensor_bytes(header.element, header.shape);
  if (!size || *size > limits.largest_bytes) {
    return too_large(path, stream.place(magic_bytes), type_text(header.element, header.shape), size,
                     limits);
  }
  header.data_bytes = *size;
  return header;
}

}  // namespace

Expected<Column, DataFailure> read_idx(const InputFile& file, const ReadLimits& limits) {
  // What is no IDX file at all is named with both formats that are possible here.
  std::array<std::byte, 4> magic;
  const int64_t count = read_at(file.descriptor, 0, magic);
  if (count == 0) {
    return malformed(file.path, fmt::format("{} is empty; expected 00 00 (IDX) or 1f 8b (gzip)",
                                            quoted(file.path)));
  }
  Expected<ContentStream, DataFailure> stream = ContentStream::open(file);
  if (!stream) return stream.error();
  if (!stream->is_packed() && count >= 2 &&
      (magic[0] != std::byte{0} || magic[1] != std::byte{0})) {
    return malformed(
        file.path,
        fmt::format("{}, byte 0: expected 00 00 (IDX) or 1f 8b (gzip), found {}", quoted(file.path),
                    hex(std::span(magic).first(static_cast<size_t>(count)))));
  }
  Expected<IdxHeader, DataFailure> header = read_header(*stream, limits);
  if (!header) return header.error();
  Expected<AlignedBytes, DataFailure> bytes =
      read_elements(*stream, header->data_bytes, type_text(header->element, header->shape), limits);
  if (!bytes) return bytes.error();
  Column column;
  column.element = header->element;
  column.shape = std::move(header->shape);
  column.bytes = std::move(*bytes);
  from_big_endian(column);
  return column;
}

Expected<Column, DataFailure> read_idx(const std::string& path, const ReadLimits& limits) {
  Expected<InputFile, DataFailure> file = open_input(path);
  if (!file) return file.error();
  return read_idx(*file, limits);
}

}  // namespace fusegrad::runtime
