// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Hand-written readers of such files keep having one bug: they believe the header. Here a size is
// only believed when the file's length agrees, and nothing is allocated before.
#include "runtime/core/idx_reader.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <span>

namespace fusegrad::runtime {

namespace {

constexpr int largest_rank = 8;
constexpr int64_t magic_bytes = 4;
constexpr int64_t largest_header = magic_bytes + 4 * largest_rank;
constexpr int64_t read_piece = int64_t{4} << 20;
constexpr int64_t first_allocation = int64_t{64} << 20;

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
                                               {0x0e, "f64", false, ElementType::u8}}};

struct IdxHeader {
  ElementType element = ElementType::u8;
  std::vector<int64_t> shape;
  int64_t header_bytes = 0;
  int64_t data_bytes = 0;
};

DataFailure failure(DataFailureKind kind, const std::string& path, std::string message) {
  DataFailure result;
  result.kind = kind;
  result.path = path;
  result.message = std::move(message);
  return result;
}

DataFailure malformed(const std::string& path, std::string message) {
  return failure(DataFailureKind::malformed, path, std::move(message));
}

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

/// Reads the header out of the first bytes of the (unpacked) content: at most largest_header of
/// them, fewer when the content is shorter. `where` is "byte" or "unpacked byte".
Expected<IdxHeader, DataFailure> parse_header(std::span<const std::byte> bytes,
                                              const std::string& path, const char* where,
                                              const ReadLimits& limits) {
  const auto available = static_cast<int64_t>(bytes.size());
  if (available < magic_bytes) {
    return malformed(path,
                     fmt::format("{}, {} {}: the file ends inside the IDX header: expected at "
                                 "least {} bytes, found {}",
                                 quoted(path), where, available, magic_bytes, available));
  }
  if (bytes[0] != std::byte{0} || bytes[1] != std::byte{0}) {
    return malformed(path, fmt::format("{}, {} 0: expected 00 00 (IDX), found {}", quoted(path),
                                       where, hex(bytes.first(2))));
  }
  const auto code = static_cast<uint8_t>(bytes[2]);
  const auto* type = std::find_if(idx_types.begin(), idx_types.end(),
                                  [&](const IdxType& known) { return known.code == code; });
  if (type == idx_types.end() || !type->supported) {
    return malformed(
        path, fmt::format("{}, {} 2: expected element type 08 (u8), 0c (i32) or 0d (f32), found "
                          "{:02x} ({})",
                          quoted(path), where, code,
                          type == idx_types.end() ? "no IDX type" : type->name));
  }
  const auto rank = static_cast<int>(bytes[3]);
  if (rank < 1 || rank > largest_rank) {
    return malformed(path, fmt::format("{}, {} 3: expected 1 to {} dimensions, found {}",
                                       quoted(path), where, largest_rank, rank));
  }
  IdxHeader header;
  header.element = type->element;
  header.header_bytes = magic_bytes + 4 * rank;
  if (available < header.header_bytes) {
    return malformed(
        path, fmt::format("{}, {} {}: the file ends inside the IDX header: expected {} bytes "
                          "for {} dimensions, found {}",
                          quoted(path), where, available, header.header_bytes, rank, available));
  }
  bool empty = false;
  bool overflow = false;
  int64_t product = element_size(header.element);
  for (int dimension = 0; dimension < rank; ++dimension) {
    const int64_t extent = big_endian(bytes.data() + magic_bytes + 4 * dimension);
    header.shape.push_back(extent);
    empty = empty || extent == 0;
    overflow = overflow || __builtin_mul_overflow(product, extent, &product);
  }
  if (empty) product = 0;
  if ((overflow && !empty) || product > limits.largest_bytes) {
    const std::string size =
        overflow ? std::string("more than 2^63 bytes") : fmt::format("{} bytes", product);
    return failure(DataFailureKind::too_large, path,
                   fmt::format("{}, {} 4: the header announces {}, which takes {}; the limit is {} "
                               "bytes",
                               quoted(path), where, type_text(header.element, header.shape), size,
                               limits.largest_bytes));
  }
  header.data_bytes = product;
  return header;
}

DataFailure no_memory(const std::string& path, int64_t size) {
  return failure(DataFailureKind::no_memory, path,
                 fmt::format("{}: no memory for its {} bytes", quoted(path), size));
}

DataFailure interrupted(const std::string& path) {
  return failure(DataFailureKind::interrupted, path, "interrupted");
}

bool stopped(const ReadLimits& limits) {
  return limits.stop != nullptr && limits.stop->load(std::memory_order_relaxed) != 0;
}

DataFailure read_error(const std::string& path, int64_t offset, int error) {
  return failure(
      DataFailureKind::unreadable, path,
      fmt::format("{}, byte {}: cannot read: {}", quoted(path), offset, system_message(error)));
}

DataFailure file_shrank(const InputFile& file, int64_t offset) {
  return failure(DataFailureKind::unreadable, file.path,
                 fmt::format("{}, byte {}: the file became shorter while it was read: expected {} "
                             "bytes",
                             quoted(file.path), offset, file.size));
}

std::string content_text(const IdxHeader& header) {
  return fmt::format("{} takes {} bytes with its header", type_text(header.element, header.shape),
                     header.header_bytes + header.data_bytes);
}

Expected<Column, DataFailure> read_plain(const InputFile& file, const ReadLimits& limits) {
  std::array<std::byte, largest_header> start = {};
  const int64_t available = read_at(file.descriptor, 0, start);
  if (available < 0) return read_error(file.path, 0, errno);
  Expected<IdxHeader, DataFailure> header = parse_header(
      std::span(start).first(static_cast<size_t>(available)), file.path, "byte", limits);
  if (!header) return header.error();
  const int64_t expected_size = header->header_bytes + header->data_bytes;
  if (file.size < expected_size) {
    return malformed(file.path,
                     fmt::format("{}, byte {}: the file ends too early: {}, the file has "
                                 "{} ({} missing)",
                                 quoted(file.path), file.size, content_text(*header), file.size,
                                 expected_size - file.size));
  }
  if (file.size > expected_size) {
    return malformed(file.path,
                     fmt::format("{}, byte {}: {} more bytes follow the data: {}, the file "
                                 "has {}",
                                 quoted(file.path), expected_size, file.size - expected_size,
                                 content_text(*header), file.size));
  }
  std::optional<AlignedBytes> bytes = AlignedBytes::unwritten(header->data_bytes);
  if (!bytes) return no_memory(file.path, header->data_bytes);
  for (int64_t done = 0; done < header->data_bytes;) {
    if (stopped(limits)) return interrupted(file.path);
    const int64_t piece = std::min(read_piece, header->data_bytes - done);
    const int64_t offset = header->header_bytes + done;
    const int64_t count =
        read_at(file.descriptor, offset, {bytes->data() + done, static_cast<size_t>(piece)});
    if (count < 0) return read_error(file.path, offset, errno);
    if (count < piece) return file_shrank(file, offset + count);
    done += piece;
  }
  Column column;
  column.element = header->element;
  column.shape = std::move(header->shape);
  column.bytes = std::move(*bytes);
  return column;
}

/// Unpacks a gzip file piece by piece.
class GzipStream {
 public:
  explicit GzipStream(const InputFile& file) : file_(file) {}
  ~GzipStream() {
    if (open_) inflateEnd(&stream_);
  }
  GzipStream(const GzipStream&) = delete;
  GzipStream& operator=(const GzipStream&) = delete;

  /// Fills `output` unless the content ends before; returns how many bytes it wrote.
  Expected<int64_t, DataFailure> read(std::span<std::byte> output, const ReadLimits& limits) {
    if (!open_) {
      std::optional<AlignedBytes> input =
          AlignedBytes::unwritten(std::clamp<int64_t>(file_.size, 1, input_piece));
      if (!input) return no_memory(file_.path, input_piece);
      input_ = std::move(*input);
      // 15: the largest window; + 16: gzip and nothing else.
      if (inflateInit2(&stream_, 15 + 16) != Z_OK) return no_memory(file_.path, input_piece);
      open_ = true;
    }
    int64_t done = 0;
    const auto wanted = static_cast<int64_t>(output.size());
    while (done < wanted && !ended_) {
      if (stream_.avail_in == 0) {
        if (stopped(limits)) return interrupted(file_.path);
        std::optional<DataFailure> problem = refill();
        if (problem) return *problem;
        if (stream_.avail_in == 0) {
          if (between_members_) {
            ended_ = true;
            break;
          }
          return malformed(file_.path,
                           fmt::format("{}, byte {}: the gzip data are cut off: they end after {} "
                                       "unpacked bytes without their checksum",
                                       quoted(file_.path), file_.size, unpacked_ + done));
        }
      }
      if (between_members_) {
        // A member may be followed by another one and by nothing else.
        if (*stream_.next_in != 0x1f || inflateReset(&stream_) != Z_OK) {
          return malformed(file_.path,
                           fmt::format("{}, byte {}: {} bytes follow the end of the gzip data, "
                                       "found {:02x}",
                                       quoted(file_.path), position(), file_.size - position(),
                                       *stream_.next_in));
        }
        between_members_ = false;
      }
      const int64_t piece = std::min<int64_t>(wanted - done, read_piece);
      stream_.next_out = reinterpret_cast<Bytef*>(output.data() + done);
      stream_.avail_out = static_cast<uInt>(piece);
      const uInt input_before = stream_.avail_in;
      const int status = inflate(&stream_, Z_NO_FLUSH);
      const int64_t written = piece - static_cast<int64_t>(stream_.avail_out);
      done += written;
      if (status == Z_STREAM_END) {
        between_members_ = true;
      } else if (status == Z_MEM_ERROR) {
        return no_memory(file_.path, input_piece);
      } else if ((status != Z_OK && status != Z_BUF_ERROR) ||
                 (written == 0 && stream_.avail_in == input_before)) {
        return malformed(
            file_.path,
            fmt::format("{}, near byte {}: the gzip data are damaged: {}", quoted(file_.path),
                        position(), stream_.msg != nullptr ? stream_.msg : "no valid data"));
      }
    }
    unpacked_ += done;
    return done;
  }

 private:
  static constexpr int64_t input_piece = int64_t{256} << 10;

  /// Of the next compressed byte in the file.
  int64_t position() const { return read_ - static_cast<int64_t>(stream_.avail_in); }

  std::optional<DataFailure> refill() {
    const int64_t piece = std::min(input_.size(), file_.size - read_);
    if (piece <= 0) return std::nullopt;
    const int64_t count =
        read_at(file_.descriptor, read_, {input_.data(), static_cast<size_t>(piece)});
    if (count < 0) return read_error(file_.path, read_, errno);
    if (count < piece) return file_shrank(file_, read_ + count);
    read_ += count;
    stream_.next_in = reinterpret_cast<Bytef*>(input_.data());
    stream_.avail_in = static_cast<uInt>(count);
    return std::nullopt;
  }

  const InputFile& file_;
  AlignedBytes input_;
  z_stream stream_ = {};
  bool open_ = false;
  bool between_members_ = false;
  bool ended_ = false;
  int64_t read_ = 0;
  int64_t unpacked_ = 0;
};

Expected<Column, DataFailure> read_compressed(const InputFile& file, const ReadLimits& limits) {
  GzipStream stream(file);
  // The header's length is known after its first four bytes.
  std::array<std::byte, largest_header> start = {};
  Expected<int64_t, DataFailure> count = stream.read(std::span(start).first(magic_bytes), limits);
  if (!count) return count.error();
  int64_t available = *count;
  const auto rank = static_cast<int>(start[3]);
  if (available == magic_bytes && rank <= largest_rank) {
    count =
        stream.read(std::span(start).subspan(magic_bytes, static_cast<size_t>(4 * rank)), limits);
    if (!count) return count.error();
    available += *count;
  }
  Expected<IdxHeader, DataFailure> header = parse_header(
      std::span(start).first(static_cast<size_t>(available)), file.path, "unpacked byte", limits);
  if (!header) return header.error();

  // The header may lie: memory follows what has really been unpacked.
  int64_t capacity = std::min(header->data_bytes, std::max(first_allocation, 4 * file.size));
  std::optional<AlignedBytes> bytes = AlignedBytes::unwritten(capacity);
  if (!bytes) return no_memory(file.path, capacity);
  int64_t done = 0;
  while (true) {
    count = stream.read({bytes->data() + done, static_cast<size_t>(capacity - done)}, limits);
    if (!count) return count.error();
    done += *count;
    if (done < capacity || capacity == header->data_bytes) break;
    capacity = capacity > header->data_bytes / 2 ? header->data_bytes : 2 * capacity;
    if (!bytes->resize(capacity)) return no_memory(file.path, capacity);
  }
  if (done < header->data_bytes) {
    const int64_t size = header->header_bytes + done;
    return malformed(file.path,
                     fmt::format("{}, unpacked byte {}: the file ends too early: {}, the "
                                 "file unpacks to {} ({} missing)",
                                 quoted(file.path), size, content_text(*header), size,
                                 header->data_bytes - done));
  }
  // One byte more, which also makes zlib compare the checksum.
  std::byte extra;
  count = stream.read({&extra, 1}, limits);
  if (!count) return count.error();
  if (*count != 0) {
    return malformed(
        file.path,
        fmt::format("{}, unpacked byte {}: more bytes follow the data: {}", quoted(file.path),
                    header->header_bytes + header->data_bytes, content_text(*header)));
  }
  Column column;
  column.element = header->element;
  column.shape = std::move(header->shape);
  column.bytes = std::move(*bytes);
  return column;
}

void to_host_order(Column& column) {
  if (element_size(column.element) != 4 || std::endian::native == std::endian::big) return;
  std::byte* bytes = column.bytes.data();
  for (int64_t offset = 0; offset < column.bytes.size(); offset += 4) {
    uint32_t value = 0;
    std::memcpy(&value, bytes + offset, 4);
    value = __builtin_bswap32(value);
    std::memcpy(bytes + offset, &value, 4);
  }
}

}  // namespace

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

Expected<Column, DataFailure> read_idx(const InputFile& file, const ReadLimits& limits) {
  std::array<std::byte, 4> magic;
  const int64_t count = read_at(file.descriptor, 0, magic);
  if (count < 0) return read_error(file.path, 0, errno);
  if (count == 0) {
    return malformed(file.path, fmt::format("{} is empty; expected 00 00 (IDX) or 1f 8b (gzip)",
                                            quoted(file.path)));
  }
  const bool compressed = count >= 2 && magic[0] == std::byte{0x1f} && magic[1] == std::byte{0x8b};
  if (!compressed && count >= 2 && (magic[0] != std::byte{0} || magic[1] != std::byte{0})) {
    return malformed(
        file.path,
        fmt::format("{}, byte 0: expected 00 00 (IDX) or 1f 8b (gzip), found {}", quoted(file.path),
                    hex(std::span(magic).first(static_cast<size_t>(count)))));
  }
  Expected<Column, DataFailure> column =
      compressed ? read_compressed(file, limits) : read_plain(file, limits);
  if (column) to_host_order(*column);
  return column;
}

Expected<Column, DataFailure> read_idx(const std::string& path, const ReadLimits& limits) {
  Expected<InputFile, DataFailure> file = open_input(path);
  if (!file) return file.error();
  return read_idx(*file, limits);
}

}  // namespace fusegrad::runtime
