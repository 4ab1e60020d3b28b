// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a reader of the repository may rely on: a licence line on every source, no strays at the
// top.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "tests/house/source_files.h"

namespace fusegrad::house {
namespace {

using ::testing::IsEmpty;

constexpr std::string_view licence = "SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception";

TEST(Repository, EverySourceStartsWithItsLicence) {
  std::vector<std::string> without;
  const std::vector<std::string> files = source_files(
      {"frontend", "ir", "codegen", "runtime", "driver", "tests", "bench", "examples"});
  for (const std::string& file : files) {
    if (!read_file(file).starts_with("// " + std::string(licence) + "\n")) without.push_back(file);
  }
  EXPECT_THAT(without, IsEmpty());
  EXPECT_GT(files.size(), 0u);
}

TEST(Repository, EverySourceSaysAtItsTopWhyItExists) {
  std::vector<std::string> silent;
  for (const std::string& file :
       source_files({"frontend", "ir", "codegen", "runtime", "driver", "tests", "bench"})) {
    const std::string text = read_file(file);
    const std::vector<std::string_view> lines = lines_of(text);
    if (lines.size() < 2 || !lines[1].starts_with("// ")) silent.push_back(file);
  }
  EXPECT_THAT(silent, IsEmpty());
}

TEST(Repository, TopLevelHoldsOnlyWhatBelongsThere) {
  const std::set<std::string> rooms = {"frontend", "ir",     "codegen", "runtime", "examples",
                                       "tests",    "driver", "bench",   "docs"};
  const std::set<std::string> files = {"CMakeLists.txt", "CMakePresets.json", "README.md",
                                       "LICENSE",        "CHANGELOG.md",      ".clang-format",
                                       ".clang-tidy",    ".gitignore"};
  std::vector<std::string> strays;
  for (const auto& entry : std::filesystem::directory_iterator(source_root())) {
    const std::string name = entry.path().filename().string();
    // Hidden folders belong to editors and version control, and .git is a file in a linked work
    // tree.
    if (name == ".git" || (entry.is_directory() && name.starts_with("."))) continue;
    if (name == "build" || name.starts_with("build-")) continue;
    if (!(entry.is_directory() ? rooms : files).contains(name)) strays.push_back(name);
  }
  EXPECT_THAT(strays, IsEmpty());
}

}  // namespace
}  // namespace fusegrad::house
