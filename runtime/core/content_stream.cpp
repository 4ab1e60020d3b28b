// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every format can come packed. What unpacks and what allocates for it stands here once: a few
// bytes can unpack to terabytes, so nothing is believed before it has been unpacked.
#include "runtime/core/content_stream.h"

#include <algorithm>
#include <array>
#include <cerrno>

namespace fusegrad::runtime {

namespace {

constexpr int64_t input_piece = int64_t{256} << 10;
constexpr int64_t output_piece = int64_t{4} << 20;
constexpr int64_t first_allocation = int64_t{64} << 20;

DataFailure read_error(const std::string& path, int64_t offset, int error) {
  return data_failure(
      DataFailureKind::unreadable, path,
      fmt::format("{}, byte {}: cannot read: {}", quoted(path), offset, system_message(error)));
}

DataFailure file_shrank(const InputFile& file, int64_t offset) {
  return data_failure(DataFailureKind::unreadable, file.path,
                      fmt::format("{}, byte {}: the file became shorter while it was read: "
                                  "expected {} bytes",
                                  quoted(file.path), offset, file.size));
}

}  // namespace

void ContentStream::EndInflate::operator()(z_stream* stream) const {
  inflateEnd(stream);
  delete stream;
}

Expected<ContentStream, DataFailure> ContentStream::open(const InputFile& file) {
  std::array<std::byte, 2> magic = {};
  const int64_t count = read_at(file.descriptor, 0, magic);
  if (count < 0) return read_error(file.path, 0, errno);
  const bool packed = count == 2 && magic[0] == std::byte{0x1f} && magic[1] == std::byte{0x8b};
  return ContentStream(file, packed ? Packing::gzip : Packing::plain);
}

ContentStream::ContentStream(const InputFile& file, Packing packing)
    : file_(&file), next_(0), end_(file.size), packing_(packing) {}

ContentStream::ContentStream(const InputFile& file, int64_t begin, int64_t end, Packing packing,
                             std::string member, MemberPromise promise)
    : file_(&file),
      next_(begin),
      end_(end),
      packing_(packing),
      member_(std::move(member)),
      promise_(promise) {}

std::optional<int64_t> ContentStream::size() const {
  if (is_packed()) return std::nullopt;
  return position_ + end_ - next_;
}

std::string ContentStream::file_text() const {
  return member_.empty() ? quoted(file_->path)
                         : fmt::format("{}, member {}", quoted(file_->path), quoted(member_));
}

std::string ContentStream::place(int64_t position) const {
  return fmt::format("{}, {} {}", file_text(), is_packed() ? "unpacked byte" : "byte", position);
}

std::string ContentStream::has_text() const {
  return fmt::format("the {} {}", member_.empty() ? "file" : "member",
                     is_packed() ? "unpacks to" : "has");
}

int64_t ContentStream::packed_position() const {
  return next_ - (stream_ ? static_cast<int64_t>(stream_->avail_in) : 0);
}

std::optional<DataFailure> ContentStream::start() {
  std::optional<AlignedBytes> input =
      AlignedBytes::unwritten(std::clamp<int64_t>(end_ - next_, 1, input_piece));
  if (!input) return no_memory_for(file_->path, input_piece);
  input_ = std::move(*input);
  auto stream = std::make_unique<z_stream>();
  *stream = {};
  // 15: the largest window; + 16: gzip and nothing else; negative: bare deflate data.
  if (inflateInit2(stream.get(), packing_ == Packing::gzip ? 15 + 16 : -15) != Z_OK) {
    return no_memory_for(file_->path, input_piece);
  }
  stream_.reset(stream.release());
  return std::nullopt;
}

std::optional<DataFailure> ContentStream::refill() {
  const int64_t piece = std::min(input_.size(), end_ - next_);
  if (piece <= 0) return std::nullopt;
  const int64_t count =
      read_at(file_->descriptor, next_, {input_.data(), static_cast<size_t>(piece)});
  if (count < 0) return read_error(file_->path, next_, errno);
  if (count < piece) return file_shrank(*file_, next_ + count);
  next_ += count;
  stream_->next_in = reinterpret_cast<Bytef*>(input_.data());
  stream_->avail_in = static_cast<uInt>(count);
  return std::nullopt;
}

std::optional<DataFailure> ContentStream::check_promise() const {
  if (!promise_) return std::nullopt;
  if (position_ != promise_->size) {
    return malformed(file_->path,
                     fmt::format("{}: expected {} bytes, as the archive's directory says; {} {}",
                                 place(), promise_->size, has_text(), position_));
  }
  if (checksum_ != promise_->checksum) {
    return malformed(file_->path,
                     fmt::format("{}: expected the CRC-32 {:08x}, found {:08x}: the data are "
                                 "damaged",
                                 file_text(), promise_->checksum, checksum_));
  }
  return std::nullopt;
}

Expected<int64_t, DataFailure> ContentStream::read(std::span<std::byte> output,
                                                   const ReadLimits& limits) {
  if (output.empty() || ended_) return int64_t{0};
  Expected<int64_t, DataFailure> count =
      is_packed() ? unpack(output, limits) : read_plain(output, limits);
  if (!count) return count;
  position_ += *count;
  if (promise_) {
    for (int64_t done = 0; done < *count; done += output_piece) {
      const int64_t piece = std::min(output_piece, *count - done);
      checksum_ = static_cast<uint32_t>(crc32(checksum_,
                                              reinterpret_cast<const Bytef*>(output.data() + done),
                                              static_cast<uInt>(piece)));
    }
    if (position_ > promise_->size) return *check_promise();
  }
  if (*count < static_cast<int64_t>(output.size())) {
    ended_ = true;
    if (std::optional<DataFailure> problem = check_promise()) return *problem;
  }
  return count;
}

Expected<int64_t, DataFailure> ContentStream::read_plain(std::span<std::byte> output,
                                                         const ReadLimits& limits) {
  const int64_t wanted = std::min(static_cast<int64_t>(output.size()), end_ - next_);
  for (int64_t done = 0; done < wanted;) {
    if (limits.stopped()) return interrupted(file_->path);
    const int64_t piece = std::min(output_piece, wanted - done);
    const int64_t count =
        read_at(file_->descriptor, next_, {output.data() + done, static_cast<size_t>(piece)});
    if (count < 0) return read_error(file_->path, next_, errno);
    if (count < piece) return file_shrank(*file_, next_ + count);
    done += piece;
    next_ += piece;
  }
  return wanted;
}

Expected<int64_t, DataFailure> ContentStream::unpack(std::span<std::byte> output,
                                                     const ReadLimits& limits) {
  if (!stream_) {
    if (std::optional<DataFailure> problem = start()) return *problem;
  }
  const char* format = packing_ == Packing::gzip ? "gzip" : "deflate";
  int64_t done = 0;
  const auto wanted = static_cast<int64_t>(output.size());
  while (done < wanted) {
    if (stream_->avail_in == 0) {
      if (limits.stopped()) return interrupted(file_->path);
      if (std::optional<DataFailure> problem = refill()) return *problem;
      if (stream_->avail_in == 0) {
        if (between_members_) return done;
        return malformed(file_->path,
                         fmt::format("{}, byte {}: the {} data are cut off: they end after {} "
                                     "unpacked bytes without their {}",
                                     file_text(), end_, format, position_ + done,
                                     packing_ == Packing::gzip ? "checksum" : "last block"));
      }
    }
    if (between_members_) {
      // A member of gzip data may be followed by another one and by nothing else.
      if (packing_ != Packing::gzip || *stream_->next_in != 0x1f ||
          inflateReset(stream_.get()) != Z_OK) {
        return malformed(file_->path,
                         fmt::format("{}, byte {}: {} bytes follow the end of the {} data, "
                                     "found {:02x}",
                                     file_text(), packed_position(), end_ - packed_position(),
                                     format, *stream_->next_in));
      }
      between_members_ = false;
    }
    // The signal is also looked at while a little input unpacks to a lot.
    if (limits.stopped()) return interrupted(file_->path);
    const int64_t piece = std::min<int64_t>(wanted - done, output_piece);
    stream_->next_out = reinterpret_cast<Bytef*>(output.data() + done);
    stream_->avail_out = static_cast<uInt>(piece);
    const uInt input_before = stream_->avail_in;
    const int status = inflate(stream_.get(), Z_NO_FLUSH);
    const int64_t written = piece - static_cast<int64_t>(stream_->avail_out);
    done += written;
    if (status == Z_STREAM_END) {
      between_members_ = true;
    } else if (status == Z_MEM_ERROR) {
      return no_memory_for(file_->path, input_piece);
    } else if ((status != Z_OK && status != Z_BUF_ERROR) ||
               (written == 0 && stream_->avail_in == input_before)) {
      return malformed(file_->path,
                       fmt::format("{}, near byte {}: the {} data are damaged: {}", file_text(),
                                   packed_position(), format,
                                   stream_->msg != nullptr ? stream_->msg : "no valid data"));
    }
  }
  return done;
}

Expected<AlignedBytes, DataFailure> read_elements(ContentStream& stream, int64_t data_bytes,
                                                  const std::string& type,
                                                  const ReadLimits& limits) {
  const std::string& path = stream.file().path;
  const int64_t header_bytes = stream.position();
  const int64_t expected_size = header_bytes + data_bytes;
  const auto content_text = [&] {
    return fmt::format("{} takes {} bytes with its header", type, expected_size);
  };
  const auto ends_early = [&](int64_t size) {
    return malformed(
        path, fmt::format("{}: the file ends too early: {}, {} {} ({} missing)", stream.place(size),
                          content_text(), stream.has_text(), size, expected_size - size));
  };
  int64_t capacity = std::min(data_bytes, std::max(first_allocation, 4 * stream.file().size));
  if (const std::optional<int64_t> size = stream.size()) {
    if (*size < expected_size) return ends_early(*size);
    if (*size > expected_size) {
      return malformed(path, fmt::format("{}: {} more bytes follow the data: {}, {} {}",
                                         stream.place(expected_size), *size - expected_size,
                                         content_text(), stream.has_text(), *size));
    }
    capacity = data_bytes;
  }
  std::optional<AlignedBytes> bytes = AlignedBytes::unwritten(capacity);
  if (!bytes) return no_memory_for(path, capacity);
  int64_t done = 0;
  while (true) {
    Expected<int64_t, DataFailure> count =
        stream.read({bytes->data() + done, static_cast<size_t>(capacity - done)}, limits);
    if (!count) return count.error();
    done += *count;
    if (done < capacity || capacity == data_bytes) break;
    capacity = capacity > data_bytes / 2 ? data_bytes : 2 * capacity;
    if (!bytes->resize(capacity)) return no_memory_for(path, capacity);
  }
  if (done < data_bytes) return ends_early(header_bytes + done);
  // One byte more, which also makes zlib compare the checksum.
  std::byte extra;
  Expected<int64_t, DataFailure> count = stream.read({&extra, 1}, limits);
  if (!count) return count.error();
  if (*count != 0) {
    return malformed(path, fmt::format("{}: more bytes follow the data: {}",
                                       stream.place(expected_size), content_text()));
  }
  return std::move(*bytes);
}

Expected<AlignedBytes, DataFailure> read_rest(ContentStream& stream, const ReadLimits& limits) {
  const std::string& path = stream.file().path;
  const auto beyond_limit = [&] {
    return data_failure(
        DataFailureKind::too_large, path,
        fmt::format("{}: {} more than the limit of {} bytes", stream.place(limits.largest_bytes),
                    stream.has_text(), limits.largest_bytes));
  };
  int64_t capacity = std::min(limits.largest_bytes, first_allocation);
  if (const std::optional<int64_t> size = stream.size()) {
    capacity = *size - stream.position();
    if (capacity > limits.largest_bytes) return beyond_limit();
  }
  std::optional<AlignedBytes> bytes = AlignedBytes::unwritten(capacity);
  if (!bytes) return no_memory_for(path, capacity);
  int64_t done = 0;
  while (true) {
    if (done == capacity) {
      std::byte extra;
      Expected<int64_t, DataFailure> more = stream.read({&extra, 1}, limits);
      if (!more) return more.error();
      if (*more == 0) break;
      if (capacity >= limits.largest_bytes) return beyond_limit();
      capacity = capacity > limits.largest_bytes / 2 ? limits.largest_bytes : 2 * capacity;
      if (!bytes->resize(capacity)) return no_memory_for(path, capacity);
      bytes->data()[done++] = extra;
    }
    Expected<int64_t, DataFailure> count =
        stream.read({bytes->data() + done, static_cast<size_t>(capacity - done)}, limits);
    if (!count) return count.error();
    done += *count;
    if (done < capacity) break;
  }
  if (!bytes->resize(done)) return no_memory_for(path, done);
  return std::move(*bytes);
}

}  // namespace fusegrad::runtime
