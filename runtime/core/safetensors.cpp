// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Weights are hours of work: written so that a full disk or a kill at any moment leaves the old
// file or the new one, and read as if the file came from an enemy.
#include "runtime/core/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <optional>

#include "runtime/core/exit_codes.h"
#include "runtime/core/file.h"
#include "runtime/core/replace_file.h"
#include "runtime/core/safetensors_header.h"

static_assert(std::endian::native == std::endian::little, "safetensors are little-endian");

namespace fusegrad::runtime {

namespace {

Failure cannot_save(const std::string& path, std::string_view why) {
  return {
      ExitCode::checkpoint, fmt::format("cannot write the weights {}: {}", quoted(path), why), {}};
}

/// The header's length as the file begins with it.
std::array<char, 8> length_bytes_of(std::string_view header) {
  const uint64_t length = header.size();
  std::array<char, 8> bytes;
  std::memcpy(bytes.data(), &length, bytes.size());
  return bytes;
}

unsigned long add_to_checksum(unsigned long sum, std::span<const std::byte> bytes) {
  return crc32_z(sum, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
}

/// Of the file with this header and these tensors, where the header's own digits are zeros.
std::string checksum_of(const std::string& header, const std::vector<NamedTensor>& tensors) {
  const std::array<char, 8> length_bytes = length_bytes_of(header);
  unsigned long sum = add_to_checksum(0, std::as_bytes(std::span(length_bytes)));
  sum = add_to_checksum(sum, std::as_bytes(std::span(header)));
  for (const NamedTensor& tensor : tensors) sum = add_to_checksum(sum, tensor.bytes);
  return fmt::format("{:08x}", sum);
}

/// Returns 0 or the error number of the first call that failed. Models with many small tensors are
/// common, so small pieces go together.
int write_content(int descriptor, const std::string& header,
                  const std::vector<NamedTensor>& tensors) {
  constexpr size_t enough = size_t{1} << 20;
  const std::array<char, 8> length_bytes = length_bytes_of(header);
  std::string pending(length_bytes.data(), length_bytes.size());
  pending += header;
  for (const NamedTensor& tensor : tensors) {
    const std::string_view bytes(reinterpret_cast<const char*>(tensor.bytes.data()),
                                 tensor.bytes.size());
    if (pending.size() + bytes.size() <= enough) {
      pending += bytes;
      continue;
    }
    if (const int error = write_all(descriptor, pending)) return error;
    pending.clear();
    if (const int error = write_all(descriptor, bytes)) return error;
  }
  return write_all(descriptor, pending);
}

std::optional<ElementType> element_of(const std::string& dtype) {
  for (const ElementType element : {ElementType::boolean, ElementType::u8, ElementType::i32,
                                    ElementType::f32, ElementType::f64}) {
    if (dtype == dtype_name(element)) return element;
  }
  return std::nullopt;
}

}  // namespace

Expected<Unit> check_save_target(const std::string& path) {
  if (path.empty() || path.find('\0') != std::string::npos) {
    return cannot_save(path, "this is no file name");
  }
  const std::string target = follow_links(path);
  struct stat status = {};
  if (stat(target.c_str(), &status) == 0) {
    if (S_ISCHR(status.st_mode)) return Unit{};
    if (!S_ISREG(status.st_mode)) {
      return cannot_save(path, fmt::format("it is {}", file_kind(status.st_mode)));
    }
  } else if (errno != ENOENT || target.back() == '/') {
    return cannot_save(path,
                       errno == ENOENT ? "it is the name of a folder" : system_message(errno));
  }
  const std::string folder = folder_of(target);
  if (stat(folder.c_str(), &status) != 0) {
    return cannot_save(path, fmt::format("folder {}: {}", quoted(folder), system_message(errno)));
  }
  if (!S_ISDIR(status.st_mode)) {
    return cannot_save(path, fmt::format("{} is no folder", quoted(folder)));
  }
  if (faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) != 0) {
    return cannot_save(path, fmt::format("folder {}: {}", quoted(folder), system_message(errno)));
  }
  return Unit{};
}

Expected<Unit> write_safetensors(const std::string& path, std::vector<NamedTensor> tensors,
                                 const Metadata& metadata, NonFinite non_finite) {
  std::sort(tensors.begin(), tensors.end(), [](const NamedTensor& left, const NamedTensor& right) {
    return left.name < right.name;
  });
  for (const NamedTensor& tensor : tensors) {
    Layout natural;
    natural.shape = tensor.shape;
    RUNTIME_CHECK(static_cast<int64_t>(tensor.bytes.size()) ==
                      natural.natural_elements() * element_size(tensor.element),
                  "{} has {} bytes", tensor.name, tensor.bytes.size());
    if (non_finite == NonFinite::refuse && !all_finite(tensor.bytes, tensor.element)) {
      return Failure{ExitCode::numbers,
                     fmt::format("the weights {} are not written: parameter {} holds a value that "
                                 "is not finite",
                                 quoted(path), quoted(tensor.name)),
                     {}};
    }
  }
  if (Expected<Unit> usable = check_save_target(path); !usable) return usable.error();

  Metadata all = metadata;
  all.emplace("format", "pt");
  all[checksum_key] = no_checksum;
  std::string header = header_text(tensors, all);
  const bool has_place = replace_checksum(header, checksum_of(header, tensors));
  RUNTIME_CHECK(has_place, "no place for the checksum");
  const auto failed = replace_file(
      path, [&](int descriptor) { return write_content(descriptor, header, tensors); });
  if (failed) return cannot_save(path, *failed);
  return Unit{};
}

const NamedTensor* WeightsFile::find(const std::string& name) const {
  const auto found = std::lower_bound(
      tensors.begin(), tensors.end(), name,
      [](const NamedTensor& tensor, const std::string& wanted) { return tensor.name < wanted; });
  return found != tensors.end() && found->name == name ? &*found : nullptr;
}

Expected<WeightsFile> read_safetensors(const std::string& path, const WeightsLimits& limits) {
  Expected<InputFile, DataFailure> file = open_input(path);
  if (!file) return Failure{ExitCode::checkpoint, file.error().message, {}};
  return read_safetensors(*file, limits);
}

Expected<WeightsFile> read_safetensors(const InputFile& file, const WeightsLimits& limits) {
  const auto fail = [&](std::string_view what) {
    return Failure{ExitCode::checkpoint,
                   fmt::format("cannot use the weights {}: {}", quoted(file.path), what),
                   {}};
  };
  const auto read = [&](int64_t offset, std::span<std::byte> bytes) -> std::optional<Failure> {
    const int64_t count = read_at(file.descriptor, offset, bytes);
    if (count < 0) return fail(fmt::format("byte {}: {}", offset, system_message(errno)));
    if (count < static_cast<int64_t>(bytes.size())) {
      return fail(
          fmt::format("byte {}: the file became shorter while it was read", offset + count));
    }
    return std::nullopt;
  };

  if (file.size < 8) {
    return fail(
        fmt::format("byte {}: expected 8 bytes of header length, found {}", file.size, file.size));
  }
  std::array<std::byte, 8> length_bytes;
  if (auto failure = read(0, length_bytes)) return *failure;
  uint64_t header_length = 0;
  std::memcpy(&header_length, length_bytes.data(), 8);
  const auto rest = static_cast<uint64_t>(file.size - 8);
  if (header_length > rest || header_length > static_cast<uint64_t>(limits.largest_header)) {
    return fail(fmt::format("byte 0: expected a header of at most {} bytes, found a length of {}",
                            std::min(rest, static_cast<uint64_t>(limits.largest_header)),
                            header_length));
  }
  std::string text(static_cast<size_t>(header_length), '\0');
  if (auto failure = read(8, std::as_writable_bytes(std::span(text)))) return *failure;

  WeightsFile weights;
  std::vector<HeaderEntry> entries;
  if (const HeaderProblem problem = read_header(text, weights.metadata, entries);
      !problem.text.empty()) {
    return fail(fmt::format("byte {} of the header: {}", problem.position, problem.text));
  }

  const uint64_t data_bytes = rest - header_length;
  if (data_bytes > static_cast<uint64_t>(limits.largest_bytes)) {
    return fail(
        fmt::format("{} bytes of tensors; the limit is {}", data_bytes, limits.largest_bytes));
  }
  // By place in the file; tensors without elements come before the one that begins where they do.
  std::stable_sort(entries.begin(), entries.end(),
                   [](const HeaderEntry& left, const HeaderEntry& right) {
                     return left.offsets < right.offsets;
                   });
  uint64_t expected_begin = 0;
  for (const HeaderEntry& entry : entries) {
    const std::optional<ElementType> element = element_of(entry.dtype);
    if (!element) {
      return fail(fmt::format("tensor {}: expected dtype BOOL, U8, I32, F32 or F64, found {}",
                              quoted(entry.name), quoted(entry.dtype)));
    }
    const uint64_t begin = entry.offsets[0];
    const uint64_t end = entry.offsets[1];
    if (begin != expected_begin || end < begin || end > data_bytes) {
      return fail(fmt::format("tensor {}: expected data from byte {} to at most {}, found {} to {}",
                              quoted(entry.name), expected_begin, data_bytes, begin, end));
    }
    auto size = static_cast<uint64_t>(element_size(*element));
    bool overflow = false;
    bool empty = false;
    NamedTensor tensor;
    for (const uint64_t extent : entry.shape) {
      overflow = overflow || __builtin_mul_overflow(size, extent, &size) || extent > INT64_MAX;
      empty = empty || extent == 0;
      tensor.shape.push_back(static_cast<int64_t>(extent));
    }
    if (empty) size = 0;
    if ((overflow && !empty) || size != end - begin) {
      return fail(
          fmt::format("tensor {}: {}[{}] does not take the {} bytes that its offsets give it",
                      quoted(entry.name), entry.dtype, fmt::join(entry.shape, ", "), end - begin));
    }
    tensor.name = entry.name;
    tensor.element = *element;
    weights.tensors.push_back(std::move(tensor));
    expected_begin = end;
  }
  if (expected_begin != data_bytes) {
    return fail(fmt::format("byte {}: {} bytes belong to no tensor",
                            8 + header_length + expected_begin, data_bytes - expected_begin));
  }
  // Only now is every size known to be in the file.
  for (size_t i = 0; i < entries.size(); ++i) {
    NamedTensor& tensor = weights.tensors[i];
    tensor.bytes.resize(static_cast<size_t>(entries[i].offsets[1] - entries[i].offsets[0]));
    const auto offset = static_cast<int64_t>(8 + header_length + entries[i].offsets[0]);
    if (auto failure = read(offset, tensor.bytes)) return *failure;
  }
  if (const auto sum = weights.metadata.find(checksum_key); sum != weights.metadata.end()) {
    if (!replace_checksum(text, no_checksum) || checksum_of(text, weights.tensors) != sum->second) {
      return fail("its checksum differs: it was damaged, or changed by another program");
    }
    weights.has_checksum = true;
    weights.metadata.erase(sum);
  }
  std::sort(
      weights.tensors.begin(), weights.tensors.end(),
      [](const NamedTensor& left, const NamedTensor& right) { return left.name < right.name; });
  return weights;
}

}  // namespace fusegrad::runtime
