// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a mistake in a model file looks like: each errors/NAME.fg against errors/NAME.expected.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/frontend/elaborate_support.h"

namespace fusegrad::frontend {
namespace {

using ::testing::HasSubstr;

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

}  // namespace
}  // namespace fusegrad::frontend
