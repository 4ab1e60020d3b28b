// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The bytes that a data file means, as they lie there or unpacked.
#pragma once

#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "runtime/core/aligned_bytes.h"
#include "runtime/core/column.h"
#include "runtime/core/error.h"
#include "runtime/core/file.h"

namespace fusegrad::runtime {

enum class Packing : uint8_t { plain, gzip, deflate };

/// What an archive says about one of its members; compared when the member has been read.
struct MemberPromise {
  int64_t size = 0;
  uint32_t checksum = 0;  ///< CRC-32
};

/// Reads a file or a part of it from the beginning to the end. Memory: 256 KiB and zlib's window,
/// whatever the file holds.
class ContentStream {
 public:
  /// The whole file, which must outlive the stream. gzip is recognised by its first two bytes,
  /// never by the name, and may have several members.
  static Expected<ContentStream, DataFailure> open(const InputFile& file);
  /// The whole file as it is said to be packed.
  ContentStream(const InputFile& file, Packing packing);
  /// A member of an archive: bytes [begin, end) of the file.
  ContentStream(const InputFile& file, int64_t begin, int64_t end, Packing packing,
                std::string member, MemberPromise promise);

  /// Fills `output` unless the content ends before; returns how many bytes it wrote. Damaged, cut
  /// and trailing data are failures with their place, and so is a member that breaks its promise;
  /// all are found at the latest when a read meets the content's end.
  Expected<int64_t, DataFailure> read(std::span<std::byte> output, const ReadLimits& limits);

  bool is_packed() const { return packing_ != Packing::plain; }
  /// Bytes of the content; unknown while it is packed.
  std::optional<int64_t> size() const;
  /// Bytes read so far.
  int64_t position() const { return position_; }
  /// Names a byte of the content: "`a.npz`, member `x.npy`, unpacked byte 12".
  std::string place(int64_t position) const;
  std::string place() const { return place(position_); }
  /// "the file has" or "the member unpacks to".
  std::string has_text() const;
  const InputFile& file() const { return *file_; }

 private:
  struct EndInflate {
    void operator()(z_stream* stream) const;
  };

  /// Begins to unpack. Nothing to do for plain content.
  std::optional<DataFailure> start();
  std::optional<DataFailure> refill();
  std::optional<DataFailure> check_promise() const;
  Expected<int64_t, DataFailure> read_plain(std::span<std::byte> output, const ReadLimits& limits);
  Expected<int64_t, DataFailure> unpack(std::span<std::byte> output, const ReadLimits& limits);
  /// Of the next packed byte in the file.
  int64_t packed_position() const;
  std::string file_text() const;

  const InputFile* file_;
  int64_t next_;  ///< position in the file of the first byte that has not been taken from it
  int64_t end_;
  Packing packing_;
  std::string member_;
  std::optional<MemberPromise> promise_;
  uint32_t checksum_ = 0;
  AlignedBytes input_;
  std::unique_ptr<z_stream, EndInflate> stream_;
  bool between_members_ = false;
  bool ended_ = false;
  int64_t position_ = 0;
};

/// Reads the `data_bytes` bytes of elements that follow `stream.position()` bytes of header, and
/// demands that the content ends there. `type` names them: "u8[3, 2]". Plain content is measured
/// before anything is allocated. Packed content may lie about its size: memory follows what has
/// really been unpacked, at most twice as much beyond 64 MiB.
Expected<AlignedBytes, DataFailure> read_elements(ContentStream& stream, int64_t data_bytes,
                                                  const std::string& type,
                                                  const ReadLimits& limits);

/// All that follows, up to the limit.
Expected<AlignedBytes, DataFailure> read_rest(ContentStream& stream, const ReadLimits& limits);

}  // namespace fusegrad::runtime
