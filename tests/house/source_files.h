// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The project's own files as text, for the tests that keep the house in order.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace fusegrad::house {

/// The repository root.
std::filesystem::path source_root();

/// Every *.h, *.cpp and *.cpp.in below these folders of the root, as sorted paths from the root
/// ("ir/expr.h"). A folder that does not exist has no files.
std::vector<std::string> source_files(const std::vector<std::string>& folders);

/// The contents of a file named from the root; fails the running test if it cannot be read.
std::string read_file(const std::string& path);

/// The lines of a text, without line ends. The views live as long as the text.
std::vector<std::string_view> lines_of(std::string_view text);

}  // namespace fusegrad::house
