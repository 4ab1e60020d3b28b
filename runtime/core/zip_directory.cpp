// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A zip archive says most things twice. What it says is compared, and every byte must belong to
// something, so that two programs cannot read two different archives from one file.
#include "runtime/core/zip_directory.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <span>

namespace fusegrad::runtime {

namespace {

constexpr uint32_t local_signature = 0x04034b50;
constexpr uint32_t entry_signature = 0x02014b50;
constexpr uint32_t end_signature = 0x06054b50;
constexpr uint32_t long_end_signature = 0x06064b50;
constexpr uint32_t locator_signature = 0x07064b50;
constexpr uint32_t descriptor_signature = 0x08074b50;
constexpr int64_t end_bytes = 22;
constexpr int64_t long_end_bytes = 56;
constexpr int64_t locator_bytes = 20;
constexpr int64_t entry_bytes = 46;
constexpr int64_t local_bytes = 30;
constexpr int64_t largest_directory = int64_t{16} << 20;
constexpr int64_t most_members = 65535;
constexpr uint16_t encrypted_flag = 1;
constexpr uint16_t descriptor_flag = 8;
constexpr uint32_t in_extra = 0xffffffff;

/// Bytes of the file with a position. Reading beyond their end gives zeros and is remembered.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, int64_t file_position)
      : bytes_(bytes), file_position_(file_position) {}

  uint64_t number(int width) {
    uint64_t value = 0;
    const std::span<const std::byte> field = take(width);
    for (size_t i = field.size(); i-- > 0;) value = value << 8 | static_cast<uint64_t>(field[i]);
    return value;
  }
  uint16_t u16() { return static_cast<uint16_t>(number(2)); }
  uint32_t u32() { return static_cast<uint32_t>(number(4)); }
  std::span<const std::byte> take(int64_t count) {
    if (count > left()) {
      broken_ = true;
      position_ = bytes_.size();
      return {};
    }
    const std::span<const std::byte> field = bytes_.subspan(position_, static_cast<size_t>(count));
    position_ += static_cast<size_t>(count);
    return field;
  }
  std::string text(int64_t count) {
    const std::span<const std::byte> field = take(count);
    return {reinterpret_cast<const char*>(field.data()), field.size()};
  }
  int64_t left() const { return static_cast<int64_t>(bytes_.size() - position_); }
  int64_t file_position() const { return file_position_ + static_cast<int64_t>(position_); }
  bool broken() const { return broken_; }

 private:
  std::span<const std::byte> bytes_;
  int64_t file_position_;
  size_t position_ = 0;
  bool broken_ = false;
};

/// An entry of the central directory, with what the local header must repeat.
struct Entry {
  ZipMember member;
  uint16_t flags = 0;
  uint16_t method = 0;
  int64_t packed_size = 0;
  int64_t local_position = 0;
  int64_t entry_position = 0;
};

class DirectoryReader {
 public:
  explicit DirectoryReader(const InputFile& file) : file_(file) {}

  Expected<std::vector<ZipMember>, DataFailure> read() {
    std::vector<ZipMember> members;
    if (read_end() && read_entries() && read_members()) {
      for (Entry& entry : entries_) members.push_back(std::move(entry.member));
      return members;
    }
    return *failure_;
  }

 private:
  bool fail(int64_t position, std::string message) {
    failure_ = malformed(file_.path,
                         fmt::format("{}, byte {}: {}", quoted(file_.path), position, message));
    return false;
  }
  bool fail_signature(int64_t position, const char* what, uint32_t wanted, uint64_t found) {
    return fail(position, fmt::format("expected {} of a zip archive, {:08x}, found {:08x}", what,
                                      wanted, found));
  }

  /// Reads exactly these bytes, which the caller has checked against the file's length.
  bool read_bytes(int64_t position, std::span<std::byte> bytes) {
    const int64_t count = read_at(file_.descriptor, position, bytes);
    if (count == static_cast<int64_t>(bytes.size())) return true;
    failure_ =
        data_failure(DataFailureKind::unreadable, file_.path,
                     fmt::format("{}, byte {}: cannot read: {}", quoted(file_.path), position,
                                 count < 0 ? system_message(errno) : "the file shrank"));
    return false;
  }

  bool read_end() {
    if (file_.size < end_bytes) {
      return fail(file_.size, fmt::format("expected a zip archive, at least {} bytes, found {}",
                                          end_bytes, file_.size));
    }
    std::array<std::byte, end_bytes> bytes;
    const int64_t position = file_.size - end_bytes;
    if (!read_bytes(position, bytes)) return false;
    Cursor cursor(bytes, position);
    const uint32_t signature = cursor.u32();
    if (signature != end_signature) {
      return fail_signature(position, "the end record", end_signature, signature);
    }
    const uint32_t disks = cursor.u32();
    const uint16_t members_here = cursor.u16();
    const uint16_t members = cursor.u16();
    const uint32_t size = cursor.u32();
    const uint32_t begin = cursor.u32();
    const uint16_t comment = cursor.u16();
    if (disks != 0) return fail(position + 4, "expected an archive of one part, found several");
    if (members_here != members) {
      return fail(position + 8, fmt::format("expected the same count of members twice, found {} "
                                            "and {}",
                                            members_here, members));
    }
    if (comment != 0) {
      return fail(position + 20,
                  fmt::format("expected no comment, found one of {} bytes", comment));
    }
    directory_begin_ = begin;
    directory_end_ = position;
    member_count_ = members;
    int64_t directory_size = size;
    if (members == 0xffff || size == in_extra || begin == in_extra) {
      if (!read_long_end(position, directory_size)) return false;
    }
    if (directory_begin_ > directory_end_ || directory_size != directory_end_ - directory_begin_) {
      return fail(position + 12, fmt::format("expected the directory to end at byte {}, found {} "
                                             "bytes from byte {}",
                                             directory_end_, directory_size, directory_begin_));
    }
    if (directory_size > largest_directory) {
      return fail(position + 12, fmt::format("expected a directory of at most {} bytes, found {}",
                                             largest_directory, directory_size));
    }
    return true;
  }

  /// The end record of archives beyond 4 GiB, and its locator, stand in front of the short one.
  bool read_long_end(int64_t position, int64_t& directory_size) {
    std::array<std::byte, long_end_bytes + locator_bytes> bytes;
    const int64_t begin = position - long_end_bytes - locator_bytes;
    if (begin < 0) return fail(position, "expected a zip64 end record in front, found nothing");
    if (!read_bytes(begin, bytes)) return false;
    Cursor cursor(bytes, begin);
    const uint32_t signature = cursor.u32();
    if (signature != long_end_signature) {
      return fail_signature(begin, "the zip64 end record", long_end_signature, signature);
    }
    const uint64_t record_size = cursor.number(8);
    cursor.take(4);  // versions
    const uint64_t disks = cursor.number(8);
    const uint64_t members_here = cursor.number(8);
    const uint64_t members = cursor.number(8);
    const uint64_t size = cursor.number(8);
    const uint64_t directory_begin = cursor.number(8);
    const uint32_t locator = cursor.u32();
    const uint32_t locator_disk = cursor.u32();
    const uint64_t record_begin = cursor.number(8);
    const uint32_t parts = cursor.u32();
    if (locator != locator_signature) {
      return fail_signature(begin + long_end_bytes, "the zip64 locator", locator_signature,
                            locator);
    }
    const auto limit = static_cast<uint64_t>(begin);
    if (record_size != long_end_bytes - 12 || disks != 0 || members_here != members ||
        members > most_members || size > limit || directory_begin > limit || locator_disk != 0 ||
        record_begin != limit || parts > 1) {
      return fail(begin, fmt::format("expected a zip64 end record of one part with at most {} "
                                     "members, found another",
                                     most_members));
    }
    directory_begin_ = static_cast<int64_t>(directory_begin);
    directory_end_ = begin;
    directory_size = static_cast<int64_t>(size);
    member_count_ = static_cast<int64_t>(members);
    return true;
  }

  bool read_entries() {
    std::vector<std::byte> bytes(static_cast<size_t>(directory_end_ - directory_begin_));
    if (!read_bytes(directory_begin_, bytes)) return false;
    Cursor cursor(bytes, directory_begin_);
    if (member_count_ > cursor.left() / entry_bytes) {
      return fail(directory_begin_,
                  fmt::format("expected {} members, found a directory of {} bytes", member_count_,
                              cursor.left()));
    }
    for (int64_t i = 0; i < member_count_; ++i) {
      if (!read_entry(cursor)) return false;
    }
    if (cursor.left() != 0) {
      return fail(cursor.file_position(), fmt::format("expected the directory's end after {} "
                                                      "members, found {} more bytes",
                                                      member_count_, cursor.left()));
    }
    return true;
  }

  bool read_entry(Cursor& cursor) {
    Entry entry;
    entry.entry_position = cursor.file_position();
    const uint32_t signature = cursor.u32();
    cursor.take(4);  // versions
    entry.flags = cursor.u16();
    entry.method = cursor.u16();
    cursor.take(4);  // time
    entry.member.checksum = cursor.u32();
    const uint32_t packed_size = cursor.u32();
    const uint32_t size = cursor.u32();
    const uint16_t name_bytes = cursor.u16();
    const uint16_t extra_bytes = cursor.u16();
    const uint16_t comment_bytes = cursor.u16();
    const uint16_t disk = cursor.u16();
    cursor.take(6);  // attributes
    const uint32_t begin = cursor.u32();
    entry.member.name = cursor.text(name_bytes);
    Cursor extra(cursor.take(extra_bytes), 0);
    cursor.take(comment_bytes);
    if (signature != entry_signature) {
      return fail_signature(entry.entry_position, "a directory entry", entry_signature, signature);
    }
    if (cursor.broken()) {
      return fail(entry.entry_position, "expected a whole directory entry, found its beginning");
    }
    entry.packed_size = packed_size;
    entry.member.size = size;
    entry.local_position = begin;
    std::vector<int64_t*> long_fields;
    if (size == in_extra) long_fields.push_back(&entry.member.size);
    if (packed_size == in_extra) long_fields.push_back(&entry.packed_size);
    if (begin == in_extra) long_fields.push_back(&entry.local_position);
    if (!read_long_fields(extra, long_fields)) {
      return fail(entry.entry_position,
                  "expected sizes of 64 bits in the entry's extra field, "
                  "found none that are possible");
    }
    const std::string& name = entry.member.name;
    if (name.empty() || std::any_of(name.begin(), name.end(), [](char character) {
          return static_cast<unsigned char>(character) < 0x20 || character == 0x7f;
        })) {
      return fail(entry.entry_position + entry_bytes,
                  fmt::format("expected the name of a member, found {}", quoted(name)));
    }
    if ((entry.flags & encrypted_flag) != 0) {
      return fail(entry.entry_position + 8,
                  fmt::format("expected plain data, found {} encrypted", quoted(name)));
    }
    if (entry.method != 0 && entry.method != 8) {
      return fail(entry.entry_position + 10,
                  fmt::format("expected method 0 (stored) or 8 (deflated), found {} for {}",
                              entry.method, quoted(name)));
    }
    if (entry.method == 0 && entry.packed_size != entry.member.size) {
      return fail(entry.entry_position + 20,
                  fmt::format("expected equal sizes of the stored {}, found {} and {}",
                              quoted(name), entry.packed_size, entry.member.size));
    }
    if (disk != 0) return fail(entry.entry_position + 34, "expected part 0, found another");
    entry.member.packing = entry.method == 0 ? Packing::plain : Packing::deflate;
    entries_.push_back(std::move(entry));
    return true;
  }

  /// Fields that do not fit 32 bits follow in this order in the extra field 1. False when one is
  /// missing or has no 63 bits.
  static bool read_long_fields(Cursor extra, const std::vector<int64_t*>& fields) {
    while (!fields.empty()) {
      const uint16_t id = extra.u16();
      const uint16_t bytes = extra.u16();
      Cursor content(extra.take(bytes), 0);
      if (extra.broken()) return false;
      if (id != 1) continue;
      for (int64_t* field : fields) {
        const uint64_t value = content.number(8);
        if (content.broken() || value > static_cast<uint64_t>(INT64_MAX)) return false;
        *field = static_cast<int64_t>(value);
      }
      return true;
    }
    return true;
  }

  bool read_members() {
    std::sort(entries_.begin(), entries_.end(), [](const Entry& left, const Entry& right) {
      return left.local_position < right.local_position;
    });
    int64_t position = 0;
    for (Entry& entry : entries_) {
      if (entry.local_position != position) {
        return fail(entry.entry_position + 42,
                    fmt::format("expected member {} at byte {}, where the one before ends, found "
                                "{}",
                                quoted(entry.member.name), position, entry.local_position));
      }
      if (!read_local(entry)) return false;
      position = entry.member.end;
      if ((entry.flags & descriptor_flag) != 0 && !skip_descriptor(entry, position)) return false;
    }
    if (position != directory_begin_) {
      return fail(position, fmt::format("expected the directory behind the last member, found it "
                                        "at byte {}",
                                        directory_begin_));
    }
    std::vector<std::string> names;
    for (const Entry& entry : entries_) names.push_back(entry.member.name);
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice == names.end()) return true;
    return fail(directory_begin_,
                fmt::format("expected each name once, found {} twice", quoted(*twice)));
  }

  bool read_local(Entry& entry) {
    const int64_t begin = entry.local_position;
    std::array<std::byte, local_bytes> bytes;
    if (directory_begin_ - begin < local_bytes) {
      return fail(begin, fmt::format("expected the header of member {}, found the directory",
                                     quoted(entry.member.name)));
    }
    if (!read_bytes(begin, bytes)) return false;
    Cursor cursor(bytes, begin);
    const uint32_t signature = cursor.u32();
    cursor.take(2);  // version
    const uint16_t flags = cursor.u16();
    const uint16_t method = cursor.u16();
    cursor.take(4);  // time
    const uint32_t checksum = cursor.u32();
    const uint32_t packed_size = cursor.u32();
    const uint32_t size = cursor.u32();
    const uint16_t name_bytes = cursor.u16();
    const uint16_t extra_bytes = cursor.u16();
    if (signature != local_signature) {
      return fail_signature(begin, "a member", local_signature, signature);
    }
    const int64_t behind = directory_begin_ - begin - local_bytes;
    if (name_bytes + extra_bytes > behind ||
        entry.packed_size > behind - name_bytes - extra_bytes) {
      return fail(begin, fmt::format("expected {} bytes of member {} in front of the directory, "
                                     "found {}",
                                     entry.packed_size, quoted(entry.member.name),
                                     behind - name_bytes - extra_bytes));
    }
    std::vector<std::byte> rest(static_cast<size_t>(name_bytes) + extra_bytes);
    if (!read_bytes(begin + local_bytes, rest)) return false;
    Cursor rest_cursor(rest, begin + local_bytes);
    const std::string name = rest_cursor.text(name_bytes);
    int64_t local_size = size;
    int64_t local_packed = packed_size;
    std::vector<int64_t*> long_fields;
    if (size == in_extra) long_fields.push_back(&local_size);
    if (packed_size == in_extra) long_fields.push_back(&local_packed);
    const bool sizes_follow = (flags & descriptor_flag) != 0;
    const bool has_sizes = read_long_fields(Cursor(rest_cursor.take(extra_bytes), 0), long_fields);
    if (flags != entry.flags || method != entry.method || name != entry.member.name ||
        (!sizes_follow && (!has_sizes || checksum != entry.member.checksum ||
                           local_packed != entry.packed_size || local_size != entry.member.size))) {
      return fail(begin, fmt::format("expected what the directory says of member {}, found "
                                     "something else",
                                     quoted(entry.member.name)));
    }
    entry.member.begin = begin + local_bytes + name_bytes + extra_bytes;
    entry.member.end = entry.member.begin + entry.packed_size;
    return true;
  }

  /// Behind the data: perhaps a signature, the checksum, both sizes of 32 or 64 bits.
  bool skip_descriptor(const Entry& entry, int64_t& position) {
    std::array<std::byte, 24> bytes = {};
    const int64_t available =
        std::min<int64_t>(static_cast<int64_t>(bytes.size()), directory_begin_ - position);
    if (!read_bytes(position, std::span(bytes).first(static_cast<size_t>(available)))) return false;
    for (const bool with_signature : {true, false}) {
      for (const int width : {4, 8}) {
        Cursor cursor(std::span<const std::byte>(bytes).first(static_cast<size_t>(available)),
                      position);
        if (with_signature && cursor.u32() != descriptor_signature) continue;
        const bool equal = cursor.u32() == entry.member.checksum &&
                           cursor.number(width) == static_cast<uint64_t>(entry.packed_size) &&
                           cursor.number(width) == static_cast<uint64_t>(entry.member.size);
        if (!equal || cursor.broken()) continue;
        // What follows decides between widths when sizes are 0.
        if (cursor.left() >= 4) {
          Cursor next = cursor;
          const uint32_t signature = next.u32();
          if (signature != local_signature && signature != entry_signature) continue;
        }
        position = cursor.file_position();
        return true;
      }
    }
    return fail(position, fmt::format("expected checksum and sizes of member {} again, found "
                                      "something else",
                                      quoted(entry.member.name)));
  }

  const InputFile& file_;
  int64_t directory_begin_ = 0;
  int64_t directory_end_ = 0;
  int64_t member_count_ = 0;
  std::vector<Entry> entries_;
  std::optional<DataFailure> failure_;
};

}  // namespace

Expected<std::vector<ZipMember>, DataFailure> read_zip_directory(const InputFile& file) {
  return DirectoryReader(file).read();
}

}  // namespace fusegrad::runtime
