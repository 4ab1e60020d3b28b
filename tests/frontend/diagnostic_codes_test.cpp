// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The table of codes is complete and true: each code is explained, its examples do what they claim,
// docs/errors.md is what the tool prints, and each code has a test of its message.
#include "frontend/diagnostic_codes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "tests/frontend/elaborate_support.h"

namespace fusegrad::frontend {
namespace {

using ::testing::HasSubstr;

const std::filesystem::path source_folder = FUSEGRAD_SOURCE_DIR;

/// A file without a train block is checked as a model by itself, as `fusegrad check` does.
Elaborated elaborate_example(std::string_view text) {
  ElaborateOptions options;
  options.needs_train_block = false;
  return elaborate_text(text, options);
}

size_t sentences(std::string_view paragraph) {
  size_t count = 0;
  for (size_t i = 0; i < paragraph.size(); ++i) {
    const bool ends = paragraph[i] == '.' || paragraph[i] == '?';
    count += ends && (i + 1 == paragraph.size() || paragraph[i + 1] == ' ') ? 1 : 0;
  }
  return count;
}

TEST(DiagnosticCodes, AreSortedUniqueAndExplained) {
  std::string_view previous;
  std::set<std::string_view> unique;
  for (const DiagnosticCode& entry : diagnostic_codes) {
    EXPECT_EQ(entry.code.size(), 5U);
    EXPECT_TRUE(unique.insert(entry.code).second) << entry.code;
    EXPECT_LE(previous.substr(previous.empty() ? 0 : 1), entry.code.substr(1));  // after the E or W
    previous = entry.code;
    EXPECT_FALSE(entry.title.empty());
    EXPECT_EQ(entry.title.find('\n'), std::string_view::npos) << entry.code;
    EXPECT_GE(sentences(entry.explanation), 2U) << entry.code;
    EXPECT_LE(sentences(entry.explanation), 5U) << entry.code;
    EXPECT_EQ(entry.explanation.find("  "), std::string_view::npos) << entry.code;
    EXPECT_EQ(std::count(entry.explanation.begin(), entry.explanation.end(), '`') % 2, 0)
        << entry.code;
    EXPECT_EQ(entry.wrong.empty(), entry.right.empty()) << entry.code;
    for (std::string_view example : {entry.wrong, entry.right}) {
      EXPECT_TRUE(example.empty() || (example.front() == '\n' && example.back() == '\n'));
    }
  }
}

TEST(DiagnosticCodes, TheExamplesDoWhatTheyClaim) {
  for (const DiagnosticCode& entry : diagnostic_codes) {
    if (entry.wrong.empty()) continue;
    const std::string mark = "[" + std::string(entry.code) + "]";
    // E0503 is found by differentiation; the tool's tests look at it.
    if (entry.code != "E0503") {
      EXPECT_THAT(elaborate_example(entry.wrong).messages(), HasSubstr(mark));
    }
    Elaborated right = elaborate_example(entry.right);
    EXPECT_TRUE(right.job) << entry.code;
    EXPECT_EQ(right.messages(), "") << entry.code;
  }
}

TEST(DiagnosticCodes, EachMessageHasATest) {
  // What no model file shows by itself, and the test that looks at it.
  const std::map<std::string_view, std::string_view> elsewhere = {
      {"E0010", "tests/frontend/diagnostics_test.cpp"},
      {"E0503", "tests/driver/check_test.cpp"},
      {"E0702", "tests/driver/train_test.cpp"},
      {"E0709", "tests/driver/check_test.cpp"},
      {"E0901", "tests/ir/loop_text_test.cpp"},
      {"E0904", "tests/driver/stage_file_test.cpp"},
  };
  std::set<std::string> with_file;
  for (const auto& file :
       std::filesystem::directory_iterator(source_folder / "tests" / "frontend" / "errors")) {
    with_file.insert(file.path().stem().string().substr(0, 5));
  }
  for (const DiagnosticCode& entry : diagnostic_codes) {
    const auto other = elsewhere.find(entry.code);
    if (other == elsewhere.end()) {
      EXPECT_TRUE(with_file.contains(std::string(entry.code)))
          << "tests/frontend/errors has no file for " << entry.code;
      continue;
    }
    std::ifstream in(source_folder / other->second);
    std::stringstream text;
    text << in.rdbuf();
    EXPECT_THAT(text.str(), HasSubstr(std::string(entry.code))) << other->second;
  }
}

// Whatever stands in quotes like "E0123" in the sources is a code, and codes are said nowhere else.
TEST(DiagnosticCodes, TheSourcesUseNoOthers) {
  std::set<std::string> used;
  for (const char* folder : {"frontend", "driver", "ir", "runtime", "codegen"}) {
    for (const auto& file : std::filesystem::recursive_directory_iterator(source_folder / folder)) {
      const std::string extension = file.path().extension().string();
      if (extension != ".cpp" && extension != ".h") continue;
      std::ifstream in(file.path());
      std::stringstream buffer;
      buffer << in.rdbuf();
      const std::string text = buffer.str();
      for (size_t at = text.find('"'); at != std::string::npos; at = text.find('"', at + 1)) {
        if (at + 6 >= text.size() || text[at + 6] != '"') continue;
        const bool is_code = (text[at + 1] == 'E' || text[at + 1] == 'W') &&
                             std::all_of(text.begin() + static_cast<std::ptrdiff_t>(at) + 2,
                                         text.begin() + static_cast<std::ptrdiff_t>(at) + 6,
                                         [](char c) { return c >= '0' && c <= '9'; });
        if (is_code) used.insert(text.substr(at + 1, 5));
      }
    }
  }
  std::set<std::string> known;
  for (const DiagnosticCode& entry : diagnostic_codes) known.insert(std::string(entry.code));
  EXPECT_EQ(used, known);
}

TEST(DiagnosticCodes, ThePageIsWhatTheToolPrints) {
  std::ifstream in(source_folder / "docs" / "errors.md");
  std::stringstream page;
  page << in.rdbuf();
  // After a change of the table: fusegrad explain --all > docs/errors.md
  EXPECT_EQ(page.str(), explain_all());
}

TEST(DiagnosticCodes, AreFoundHoweverTheirLetterIsWritten) {
  ASSERT_NE(find_diagnostic_code("E0203"), nullptr);
  EXPECT_EQ(find_diagnostic_code("e0203"), find_diagnostic_code("E0203"));
  EXPECT_EQ(find_diagnostic_code("E9999"), nullptr);
  EXPECT_EQ(find_diagnostic_code(""), nullptr);
  EXPECT_EQ(explain(*find_diagnostic_code("W0111")),
            "warning[W0111]: value that is hidden before it is used\n"
            "\n"
            "A later definition of the same name hides this one, and nothing in between reads\n"
            "it: the value is computed for nobody. Probably the later statement was to read\n"
            "it, or one of the two should have another name. This is a warning; training goes\n"
            "on.\n"
            "\n"
            "Wrong:\n"
            "\n"
            "    model m {\n"
            "      input x: f32[B, 4]\n"
            "      h = relu(x)\n"
            "      h = exp(x)\n"
            "      loss = mean(h)\n"
            "    }\n"
            "\n"
            "Right:\n"
            "\n"
            "    model m {\n"
            "      input x: f32[B, 4]\n"
            "      h = relu(x)\n"
            "      h = exp(h)\n"
            "      loss = mean(h)\n"
            "    }\n");
}

}  // namespace
}  // namespace fusegrad::frontend
