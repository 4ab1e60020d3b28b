// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the fuzz targets of the readers share: any bytes become a file, and whatever a reader
// answers must be whole.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "runtime/core/readers.h"

namespace fusegrad::runtime {

/// Reads the bytes as a file with the reader of that name. Ends the process when what it answers is
/// neither a whole column nor one line that says what is wrong.
inline void fuzz_reader(const char* name, const InputEntry& input, const ReaderArguments& arguments,
                        std::string_view bytes, const char* path = "input") {
  FileDescriptor descriptor(memfd_create("fuzz", MFD_CLOEXEC));
  if (write_all(descriptor.number(), bytes) != 0) std::abort();
  Expected<InputFile, DataFailure> file = check_input(std::move(descriptor), path);
  if (!file) std::abort();
  ReadLimits limits;
  limits.largest_bytes = int64_t{4} << 20;
  Expected<Column, DataFailure> column = find_reader(name)->read({*file, input, arguments, limits});
  if (!column) {
    const std::string& message = column.error().message;
    if (message.empty() || message.find('\n') != std::string::npos) std::abort();
    return;
  }
  const std::optional<int64_t> size = tensor_bytes(column->element, column->shape);
  if (!size || column->shape.empty() || column->bytes.size() != *size) std::abort();
  // The address sanitizer looks at each element and at the zeros behind them.
  uint64_t sum = 0;
  for (int64_t i = 0; i < *size + AlignedBytes::padding; ++i) {
    const auto byte = static_cast<uint64_t>(column->bytes.data()[i]);
    if (i >= *size && byte != 0) std::abort();
    sum += byte;
  }
  if (sum == UINT64_MAX) std::abort();
}

inline std::string_view text_of(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

inline constexpr ElementType all_elements[] = {ElementType::u8, ElementType::i32, ElementType::f32,
                                               ElementType::f64, ElementType::boolean};

}  // namespace fusegrad::runtime
