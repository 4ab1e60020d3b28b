// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the documents show of the tool is what it prints: every fenced block that starts with
// `$ fusegrad ...` is run, and its other lines must come in this order; `...` stands for any number
// of lines.
#include <gtest/gtest.h>

#include <filesystem>
#include <optional>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "tests/driver/tool.h"

namespace fusegrad::test {
namespace {

struct Shown {
  std::string file;
  int line = 0;  ///< of the command
  std::vector<std::string> arguments;
  std::vector<std::string> output;
};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

/// Places in the library move with every definition that is added to it.
std::vector<std::string> without_places(std::vector<std::string> lines) {
  const std::regex place("library\\.fg:[0-9]+:[0-9]+");
  for (std::string& line : lines) line = std::regex_replace(line, place, "library.fg");
  return lines;
}

std::vector<Shown> shown_in(const std::string& file) {
  const std::string prompt = "$ fusegrad ";
  std::vector<Shown> blocks;
  std::optional<Shown> open;
  bool fenced = false;
  int number = 0;
  for (const std::string& line : lines_of(read_file(repository_path(file)))) {
    ++number;
    if (line.starts_with("```")) {
      fenced = !fenced;
      if (!fenced && open) blocks.push_back(*std::exchange(open, std::nullopt));
    } else if (fenced && line.starts_with(prompt)) {
      if (open) blocks.push_back(*open);
      open = Shown{file, number, {}, {}};
      std::istringstream words(line.substr(prompt.size()));
      for (std::string word; words >> word;) {
        const bool is_ours = std::filesystem::exists(repository_path(word));
        open->arguments.push_back(is_ours ? repository_path(word) : word);
      }
    } else if (open) {
      open->output.push_back(line);
    }
  }
  return blocks;
}

/// The first shown line that is not where it should be.
std::optional<std::string> first_difference(const std::vector<std::string>& shown,
                                            const std::vector<std::string>& printed) {
  size_t at = 0;
  bool anywhere = false;
  for (const std::string& line : shown) {
    if (line == "...") {
      anywhere = true;
      continue;
    }
    while (anywhere && at < printed.size() && printed[at] != line) ++at;
    if (at >= printed.size() || printed[at] != line) return line;
    ++at;
    anywhere = false;
  }
  if (!anywhere && at < printed.size()) return "(more is printed) " + printed[at];
  return std::nullopt;
}

TEST(Documents, ShowWhatTheToolPrints) {
  std::vector<std::string> files = {"README.md"};
  for (const auto& entry : std::filesystem::recursive_directory_iterator(repository_path("docs"))) {
    if (entry.path().extension() == ".md") {
      files.push_back(std::filesystem::relative(entry.path(), repository_path("")).string());
    }
  }
  int checked = 0;
  for (const std::string& file : files) {
    for (const Shown& block : shown_in(file)) {
      const ToolRun run = run_tool(block.arguments);
      const std::string place = file + ":" + std::to_string(block.line);
      EXPECT_EQ(run.exit_code, 0) << place << "\n" << run.errors;
      ++checked;
      // Instructions follow the processor that the documents were written on.
      bool is_assembly = false;
      for (const std::string& word : block.arguments) is_assembly |= word == "--stage=asm";
      if (is_assembly) continue;
      const std::optional<std::string> difference = first_difference(
          without_places(block.output), without_places(lines_of(run.output + run.errors)));
      EXPECT_FALSE(difference) << place << " shows a line that is not printed there:\n"
                               << difference.value_or("");
    }
  }
  EXPECT_GE(checked, 3);
}

}  // namespace
}  // namespace fusegrad::test
