// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The header of a safetensors file as text, and back. Private to safetensors*.cpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/safetensors.h"

namespace fusegrad::runtime {

/// A tensor as the header announces it; nothing about it is checked.
struct HeaderEntry {
  std::string name;
  std::string dtype;
  std::vector<uint64_t> shape;
  std::vector<uint64_t> offsets;
};

/// What became of reading a header.
struct HeaderProblem {
  size_t position = 0;
  std::string text;  ///< "" if all is well
};

/// "F32"
const char* dtype_name(ElementType element);

/// The header for these tensors in this order, made up with spaces to a multiple of 8 bytes.
std::string header_text(const std::vector<NamedTensor>& tensors, const Metadata& metadata);

/// Reads exactly one JSON object with no key twice.
HeaderProblem read_header(std::string_view text, Metadata& metadata,
                          std::vector<HeaderEntry>& entries);

/// Under this key the metadata have the file's own checksum: CRC-32 of all its bytes, with these
/// eight digits as zeros.
inline constexpr const char* checksum_key = "fusegrad.checksum";
inline constexpr std::string_view no_checksum = "00000000";

/// Puts the digits into the header in place of those that are there. False if it has none.
bool replace_checksum(std::string& header, std::string_view digits);

}  // namespace fusegrad::runtime
