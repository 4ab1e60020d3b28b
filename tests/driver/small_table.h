// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The model of programs/small_table.fg and a table for it.
#pragma once

#include <cstdint>
#include <string>

#include "tests/driver/tool.h"

namespace fusegrad::test {

inline std::string small_table_model() {
  return repository_path("tests/driver/programs/small_table.fg");
}

/// Writes table.csv: 73 rows of six numbers and one of three kinds.
inline void write_small_table(const std::string& folder) {
  std::string text = "a,b,c,d,e,f,kind\n";
  uint32_t state = 3;
  const auto next = [&] { return (state = state * 1664525U + 1013904223U) >> 24; };
  for (int row = 0; row < 73; ++row) {
    const uint32_t kind = next() % 3;
    for (uint32_t column = 0; column < 6; ++column) {
      text += std::to_string(next() % 50 + (column % 3 == kind ? 40 : 0)) + ",";
    }
    text += std::to_string(kind) + "\n";
  }
  write_file(folder + "/table.csv", text);
}

}  // namespace fusegrad::test
