// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The editors' grammar knows every word of the language.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "frontend/token.h"

namespace fusegrad::frontend {
namespace {

TEST(Editor, GrammarHasEveryKeyword) {
  std::ifstream in(std::filesystem::path(FUSEGRAD_SOURCE_DIR) / "docs" / "editor" /
                   "fusegrad.tmLanguage.json");
  std::stringstream stream;
  stream << in.rdbuf();
  const std::string text = stream.str();
  ASSERT_FALSE(text.empty());
  const auto has_word = [&](std::string_view word) {
    for (const char before : {'(', '|'}) {
      for (const char after : {')', '|'}) {
        if (text.find(before + std::string(word) + after) != std::string::npos) return true;
      }
    }
    return false;
  };
#define FUSEGRAD_CHECK_WORD(enumerator, spelling) EXPECT_TRUE(has_word(spelling)) << spelling;
  FUSEGRAD_KEYWORDS(FUSEGRAD_CHECK_WORD)
#undef FUSEGRAD_CHECK_WORD
  EXPECT_FALSE(has_word("while"));
}

}  // namespace
}  // namespace fusegrad::frontend
