// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which formats there are.
#include "runtime/core/readers.h"

#include <algorithm>
#include <array>

#include "runtime/core/idx_reader.h"
#include "runtime/core/npy_reader.h"

namespace fusegrad::runtime {

namespace {

constexpr std::array<Reader, 6> all_readers = {{
    {"idx", [](const ReadRequest& request) { return read_idx(request.file, request.limits); }},
    {"npy", [](const ReadRequest& request) { return read_npy(request.file, request.limits); }},
    {"npz",
     [](const ReadRequest& request) {
       return read_npz(request.file,
                       argument_or<std::string>(request.arguments, "array", request.input.name),
                       request.limits);
     }},
    {"csv", read_csv},
    {"chars", read_chars},
    {"raw", read_raw},
}};

}  // namespace

std::span<const Reader> readers() { return all_readers; }

const Reader* find_reader(std::string_view name) {
  const auto* found = std::find_if(all_readers.begin(), all_readers.end(),
                                   [&](const Reader& reader) { return reader.name == name; });
  return found == all_readers.end() ? nullptr : found;
}

}  // namespace fusegrad::runtime
