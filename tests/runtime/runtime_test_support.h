// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the tests of the runtime share: temporary folders, files with exact bytes, IDX and gzip
// builders.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include <bit>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "runtime/core/file.h"

namespace fusegrad::runtime {

/// A folder that is there during one test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "fusegrad-runtime-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

  /// Names of the files in it, sorted.
  std::vector<std::string> names() const {
    std::vector<std::string> result;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      result.push_back(entry.path().filename().string());
    }
    std::sort(result.begin(), result.end());
    return result;
  }

 private:
  std::string path_;
};

inline void write_file(const std::string& path, const std::string& bytes) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

inline std::string file_content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A file in memory with exactly these bytes, opened as a data file.
inline InputFile memory_file(const std::string& bytes) {
  FileDescriptor descriptor(memfd_create("test", MFD_CLOEXEC));
  if (write_all(descriptor.number(), bytes) != 0) std::abort();
  Expected<InputFile, DataFailure> file = check_input(std::move(descriptor), "memory");
  if (!file) std::abort();
  return std::move(*file);
}

inline std::string big_endian_word(uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift);
  return bytes;
}

inline std::string idx_header(uint8_t type, const std::vector<uint32_t>& shape) {
  std::string bytes = {'\0', '\0', static_cast<char>(type), static_cast<char>(shape.size())};
  for (const uint32_t extent : shape) bytes += big_endian_word(extent);
  return bytes;
}

inline std::string idx_u8(const std::vector<uint32_t>& shape, const std::vector<uint8_t>& values) {
  return idx_header(0x08, shape) + std::string(values.begin(), values.end());
}

inline std::string idx_i32(const std::vector<uint32_t>& shape, const std::vector<int32_t>& values) {
  std::string bytes = idx_header(0x0c, shape);
  for (const int32_t value : values) bytes += big_endian_word(static_cast<uint32_t>(value));
  return bytes;
}

inline std::string idx_f32(const std::vector<uint32_t>& shape, const std::vector<float>& values) {
  std::string bytes = idx_header(0x0d, shape);
  for (const float value : values) bytes += big_endian_word(std::bit_cast<uint32_t>(value));
  return bytes;
}

inline std::string gzip(const std::string& bytes) {
  z_stream stream = {};
  if (deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) std::abort();
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

/// The elements of memory as values of a type.
template <typename T>
std::vector<T> values_of(const std::byte* memory, int64_t bytes) {
  std::vector<T> values(static_cast<size_t>(bytes) / sizeof(T));
  std::memcpy(values.data(), memory, values.size() * sizeof(T));
  return values;
}

}  // namespace fusegrad::runtime
