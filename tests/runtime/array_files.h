// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Builders of NPY files and zip archives with exact bytes, for the tests of their readers.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace fusegrad::runtime {

inline std::string little_endian_number(uint64_t value, int width) {
  std::string bytes;
  for (int i = 0; i < width; ++i, value >>= 8) bytes += static_cast<char>(value & 0xff);
  return bytes;
}

template <typename T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

/// A file with this header, ended and padded as NumPy does it.
inline std::string npy_file(std::string header, const std::string& payload, int version = 1) {
  const size_t fixed = version == 1 ? 10 : 12;
  while ((fixed + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  return std::string("\x93NUMPY") + static_cast<char>(version) + '\0' +
         little_endian_number(header.size(), version == 1 ? 2 : 4) + header + payload;
}

inline std::string npy_header(const std::string& descr, const std::string& shape,
                              const std::string& order = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }";
}

inline std::string npy(const std::string& descr, const std::string& shape,
                       const std::string& payload, int version = 1) {
  return npy_file(npy_header(descr, shape), payload, version);
}

/// Without the header of zlib or gzip.
inline std::string deflated(const std::string& bytes) {
  z_stream stream = {};
  if (deflateInit2(&stream, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK) std::abort();
  std::string result(deflateBound(&stream, bytes.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(result.data());
  stream.avail_out = static_cast<uInt>(result.size());
  if (deflate(&stream, Z_FINISH) != Z_STREAM_END) std::abort();
  result.resize(stream.total_out);
  deflateEnd(&stream);
  return result;
}

enum class ZipSizes {
  plain,       ///< in the local header
  numpy,       ///< 64 bits in the local header's extra field, as np.savez writes them
  descriptor,  ///< behind the data
  long_form,   ///< 64 bits in the directory too, and a zip64 end record
};

struct ZipFile {
  std::string name;
  std::string content;
  bool pack = false;
};

inline std::string zip_archive(const std::vector<ZipFile>& files,
                               ZipSizes sizes = ZipSizes::plain) {
  const auto number = little_endian_number;
  const bool is_long = sizes == ZipSizes::long_form;
  std::string bytes;
  std::string directory;
  for (const ZipFile& file : files) {
    const std::string data = file.pack ? deflated(file.content) : file.content;
    const uint32_t checksum =
        static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(file.content.data()),
                                    static_cast<uInt>(file.content.size())));
    const uint64_t flags = sizes == ZipSizes::descriptor ? 8 : 0;
    const std::string method = number(file.pack ? 8 : 0, 2);
    const std::string both = number(file.content.size(), 8) + number(data.size(), 8);
    const bool local_extra = sizes == ZipSizes::numpy || is_long;
    const std::string extra = local_extra ? number(1, 2) + number(16, 2) + both : "";
    const size_t begin = bytes.size();
    bytes += number(0x04034b50, 4) + number(45, 2) + number(flags, 2) + method + number(0, 4);
    if (flags != 0) {
      bytes += number(0, 12);
    } else {
      bytes += number(checksum, 4) + number(local_extra ? 0xffffffff : data.size(), 4) +
               number(local_extra ? 0xffffffff : file.content.size(), 4);
    }
    bytes += number(file.name.size(), 2) + number(extra.size(), 2) + file.name + extra + data;
    if (flags != 0) {
      bytes += number(0x08074b50, 4) + number(checksum, 4) + number(data.size(), 4) +
               number(file.content.size(), 4);
    }
    const std::string long_extra =
        is_long ? number(1, 2) + number(24, 2) + both + number(begin, 8) : "";
    directory += number(0x02014b50, 4) + number(0x031e, 2) + number(45, 2) + number(flags, 2) +
                 method + number(0, 4) + number(checksum, 4) +
                 number(is_long ? 0xffffffff : data.size(), 4) +
                 number(is_long ? 0xffffffff : file.content.size(), 4) +
                 number(file.name.size(), 2) + number(long_extra.size(), 2) + number(0, 4) +
                 number(0, 6) + number(is_long ? 0xffffffff : begin, 4) + file.name + long_extra;
  }
  const size_t begin = bytes.size();
  bytes += directory;
  if (is_long) {
    const size_t record = bytes.size();
    bytes += number(0x06064b50, 4) + number(44, 8) + number(45, 2) + number(45, 2) + number(0, 8) +
             number(files.size(), 8) + number(files.size(), 8) + number(directory.size(), 8) +
             number(begin, 8);
    bytes += number(0x07064b50, 4) + number(0, 4) + number(record, 8) + number(1, 4);
  }
  bytes += number(0x06054b50, 4) + number(0, 4) + number(is_long ? 0xffff : files.size(), 2) +
           number(is_long ? 0xffff : files.size(), 2) +
           number(is_long ? 0xffffffff : directory.size(), 4) +
           number(is_long ? 0xffffffff : begin, 4) + number(0, 2);
  return bytes;
}

}  // namespace fusegrad::runtime
