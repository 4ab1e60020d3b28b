// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// An object file without code: bytes and a table of functions that other objects define.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fusegrad::codegen {

/// Names of the four constants that the object defines: `NAME` is the bytes, `NAME_size` (i64)
/// their number, `NAME_functions` the addresses of `functions`, `NAME_function_count` (i64) their
/// number.
struct DataObject {
  std::string name;
  std::string_view bytes;
  std::vector<std::string> functions;  ///< external symbols
};

}  // namespace fusegrad::codegen
