// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Finds the members of a zip archive.
//
// Zip (APPNOTE.TXT 6.3): members, each a local header and its data; the central directory, an entry
// for each member; the end record, which says where the directory lies. Numbers are little endian.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/core/content_stream.h"
#include "runtime/core/file.h"

namespace fusegrad::runtime {

struct ZipMember {
  std::string name;
  Packing packing = Packing::plain;  ///< plain or deflate
  int64_t begin = 0;                 ///< of its packed data in the file
  int64_t end = 0;
  int64_t size = 0;  ///< unpacked, as the directory says
  uint32_t checksum = 0;
};

/// Reads the directory, in the order of the data. Accepts what zip writers for arrays make: stored
/// and deflated members, sizes of 64 bits, data descriptors. Refuses, with file, position, expected
/// and found: encryption, other methods, several disks, comments of the archive, duplicate names,
/// names that are no text, more than 65535 members or 16 MiB of directory, and any byte of the file
/// that is not part of exactly one member, the directory or the end record.
Expected<std::vector<ZipMember>, DataFailure> read_zip_directory(const InputFile& file);

}  // namespace fusegrad::runtime
