// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a mistake in a model file looks like: each errors/NAME.fg against errors/NAME.expected, and
// each code that elaboration may report has such a file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "frontend/diagnostic_codes.h"
#include "tests/frontend/elaborate_support.h"

namespace fusegrad::frontend {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::filesystem::path folder() {
  return std::filesystem::path(FUSEGRAD_SOURCE_DIR) / "tests" / "frontend" / "errors";
}

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<std::string> cases() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder())) {
    if (entry.path().extension() == ".fg") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// A file without a train block is checked like a model by itself.
ElaborateOptions options_for(const std::string& text) {
  ElaborateOptions options;
  if (text.find("\ntrain {") != std::string::npos) return options;
  options.train = {{"batch", "4"}};
  options.needs_data = false;
  options.needs_epochs = false;
  options.needs_optimizer = false;
  return options;
}

class Errors : public ::testing::TestWithParam<std::string> {};

TEST_P(Errors, LookAsExpected) {
  const std::string text = read(folder() / (GetParam() + ".fg"));
  Elaborated result = elaborate_text(text, options_for(text));
  const std::string messages = result.messages();
  // Run once with this variable set after a wanted change of messages, and read the difference.
  if (std::getenv("FUSEGRAD_UPDATE_EXPECTED") != nullptr) {
    std::ofstream(folder() / (GetParam() + ".expected"), std::ios::binary) << messages;
  }
  EXPECT_EQ(messages, read(folder() / (GetParam() + ".expected")));
  EXPECT_EQ(result.job.has_value(), GetParam().starts_with("W"));
  EXPECT_THAT(messages, HasSubstr("[" + GetParam().substr(0, 5) + "]"));
}

INSTANTIATE_TEST_SUITE_P(Files, Errors, ::testing::ValuesIn(cases()),
                         [](const auto& param) { return param.param; });

TEST(ErrorCodes, EachOfElaborationHasAFile) {
  const std::vector<std::string> names = cases();
  std::vector<std::string> missing;
  for (const DiagnosticCode& entry : diagnostic_codes) {
    const std::string code(entry.code);
    // Syntax errors (E00xx but E0004) are the parser's, the command line has no file.
    if ((code.starts_with("E00") && code != "E0004") || code == "E0709") continue;
    const bool found = std::any_of(names.begin(), names.end(),
                                   [&](const std::string& name) { return name.starts_with(code); });
    if (!found) missing.push_back(code);
  }
  EXPECT_THAT(missing, IsEmpty());
}

}  // namespace
}  // namespace fusegrad::frontend
