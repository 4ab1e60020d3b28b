// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Texts come from anywhere: only regular files, never more than memory can take.
#include "driver/text_file.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <span>

#include "runtime/core/file.h"

namespace fusegrad::driver {
namespace {

constexpr int64_t maximum_bytes = int64_t{256} << 20;

}  // namespace

Result<std::string> read_text_file(const std::string& path) {
  auto file = runtime::open_input(path);
  if (!file) return Error{file.error().message};
  if (file->size > maximum_bytes) {
    return Error{fmt::format("{}: {} bytes, more than the limit of {}", runtime::quoted(path),
                             file->size, maximum_bytes)};
  }
  std::string text(static_cast<size_t>(file->size), '\0');
  const int64_t got =
      runtime::read_at(file->descriptor, 0, std::as_writable_bytes(std::span(text)));
  if (got < 0) {
    return Error{fmt::format("{}: {}", runtime::quoted(path), runtime::system_message(errno))};
  }
  text.resize(static_cast<size_t>(got));
  return text;
}

Result<std::string> read_standard_input() {
  std::string text;
  std::array<char, 65536> piece;
  while (size_t got = std::fread(piece.data(), 1, piece.size(), stdin)) {
    text.append(piece.data(), got);
    if (text.size() > static_cast<size_t>(maximum_bytes)) {
      return Error{fmt::format("standard input: more than {} bytes", maximum_bytes)};
    }
  }
  return text;
}

}  // namespace fusegrad::driver
