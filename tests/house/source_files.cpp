// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Plain file reading: these tests need no more of the file system than names and contents.
#include "tests/house/source_files.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>

namespace fusegrad::house {

std::filesystem::path source_root() { return FUSEGRAD_SOURCE_DIR; }

std::vector<std::string> source_files(const std::vector<std::string>& folders) {
  std::vector<std::string> files;
  for (const std::string& folder : folders) {
    const std::filesystem::path top = source_root() / folder;
    if (!std::filesystem::is_directory(top)) continue;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(top)) {
      const std::string name = entry.path().filename().string();
      const bool is_source =
          name.ends_with(".h") || name.ends_with(".cpp") || name.ends_with(".cpp.in");
      if (entry.is_regular_file() && is_source) {
        files.push_back(entry.path().lexically_relative(source_root()).generic_string());
      }
    }
  }
  std::ranges::sort(files);
  return files;
}

std::string read_file(const std::string& path) {
  std::ifstream stream(source_root() / path, std::ios::binary);
  EXPECT_TRUE(stream.is_open()) << path;
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

}  // namespace fusegrad::house
