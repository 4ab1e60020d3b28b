// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// docs/language.md lists what the code knows, no more and no less: keys of train blocks, readers,
// commands, reserved words, functions, exit codes. docs/library.md is what `list --markdown`
// prints.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "frontend/data_readers.h"
#include "frontend/elaborate_definitions.h"
#include "frontend/elaborate_training.h"
#include "frontend/library.h"
#include "frontend/parser.h"
#include "frontend/token.h"
#include "tests/driver/tool.h"

namespace fusegrad::test {
namespace {

using Words = std::set<std::string>;

const std::string& page() {
  static const std::string text = read_file(repository_path("docs/language.md"));
  return text;
}

/// The first words in quotes of a cell: "`batch`, `epochs`" has two, "`idx(path)`" has `idx`.
void add_words(const std::string& cell, Words& words) {
  for (size_t at = cell.find('`'); at != std::string::npos; at = cell.find('`', at)) {
    const size_t end = cell.find('`', at + 1);
    std::string word = cell.substr(at + 1, end - at - 1);
    if (word.starts_with("fusegrad ")) word = word.substr(9);
    words.insert(word.substr(0, word.find_first_of(" (")));
    at = end + 1;
  }
}

/// The first column of the table whose head begins like that.
Words first_column(const std::string& head) {
  Words words;
  const size_t begin = page().find("\n| " + head);
  EXPECT_NE(begin, std::string::npos) << head;
  std::istringstream lines(page().substr(begin + 1));
  std::string line;
  std::getline(lines, line);
  std::getline(lines, line);  // | --- |
  while (std::getline(lines, line) && line.starts_with("| ")) {
    add_words(line.substr(2, line.find(" |") - 2), words);
  }
  return words;
}

/// All words in quotes between two places of the page.
std::string between(const std::string& begin, const std::string& end) {
  const size_t from = page().find(begin);
  EXPECT_NE(from, std::string::npos) << begin;
  const size_t to = page().find(end, from + begin.size());
  EXPECT_NE(to, std::string::npos) << end;
  return page().substr(from + begin.size(), to - from - begin.size());
}

Words split(const std::string& text) {
  std::istringstream stream(text);
  Words words;
  for (std::string word; stream >> word;) words.insert(word);
  return words;
}

TEST(LanguagePage, ListsTheKeysOfTrainBlocks) {
  const std::vector<std::string> keys = frontend::train_keys();
  EXPECT_EQ(first_column("Key of `train`"), Words(keys.begin(), keys.end()));
}

TEST(LanguagePage, ListsTheReaders) {
  Words readers;
  for (const frontend::ReaderSignature& reader : frontend::reader_signatures()) {
    readers.insert(std::string(reader.name));
  }
  EXPECT_EQ(first_column("Reader"), readers);
}

TEST(LanguagePage, ListsTheCommands) {
  const ToolRun run = run_tool({"--help"});
  const size_t at = run.output.find("\nSubcommands:\n");
  ASSERT_NE(at, std::string::npos) << run.output;
  Words commands;
  std::istringstream lines(run.output.substr(at + 14));
  for (std::string line; std::getline(lines, line);) {
    if (line.size() > 2) commands.insert(line.substr(2, line.find(' ', 2) - 2));
  }
  EXPECT_EQ(first_column("Command |"), commands);
}

TEST(LanguagePage, ListsTheReservedWords) {
  Words keywords;
#define FUSEGRAD_WORD(enumerator, spelling) keywords.insert(spelling);
  FUSEGRAD_KEYWORDS(FUSEGRAD_WORD)
#undef FUSEGRAD_WORD
  EXPECT_EQ(split(between("- Reserved: `", "`.")), keywords);
}

TEST(LanguagePage, NamesFunctionsThatExist) {
  std::vector<std::string> known = frontend::builtin_function_names();
  std::string text = between("## Functions\n\n", " of two numbers");
  std::replace_if(text.begin(), text.end(), [](char c) { return c == '`' || c == ','; }, ' ');
  for (const std::string& word : split(text)) EXPECT_THAT(known, ::testing::Contains(word));
}

TEST(LibraryPage, IsWhatTheToolPrints) {
  const ToolRun run = run_tool({"list", "--markdown"});
  EXPECT_EQ(run.exit_code, 0);
  // After a change of the library: fusegrad list --markdown > docs/library.md
  EXPECT_EQ(read_file(repository_path("docs/library.md")), run.output);
}

TEST(LibraryPage, EveryDefinitionIsDocumented) {
  SourceManager sources;
  Diagnostics diagnostics;
  const uint32_t file = sources.add("library.fg", std::string(frontend::library_text()));
  size_t count = 0;
  for (const frontend::ast::Item& item : frontend::parse(sources, file, diagnostics).items) {
    std::visit(
        [&](const auto& definition) {
          if constexpr (requires { definition.documentation; }) {
            EXPECT_GE(definition.documentation.size(), 6U)
                << sources.text(definition.span).substr(0, 60);
            ++count;
          }
        },
        item);
  }
  EXPECT_GT(count, 40U);
}

}  // namespace
}  // namespace fusegrad::test
