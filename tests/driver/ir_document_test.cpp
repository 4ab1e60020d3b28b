// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// docs/ir.md against the code: what the compiler has a table of, the page has, row by row.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "driver/commands.h"
#include "driver/stages.h"
#include "ir/kernel/program.h"
#include "ir/simplify_rules.h"
#include "ir/tensor/program.h"
#include "tests/driver/tool.h"

namespace fusegrad::test {
namespace {

std::string page() { return read_file(repository_path("docs/ir.md")); }

/// The section whose heading begins so, up to the next one.
std::string section(const std::string& heading) {
  const std::string text = page();
  const size_t begin = text.find("## " + heading);
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find("\n## ", begin) - begin);
}

/// The section's table has these rows, in this order, and no others.
void expect_table(const std::string& heading, const std::string& columns,
                  const std::vector<std::string>& rows) {
  std::string table = columns + "\n| --- | --- |\n";
  for (const std::string& row : rows) table += row + "\n";
  std::string found;
  std::istringstream lines(section(heading));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("|")) found += line + "\n";
  }
  EXPECT_EQ(found, table) << "in the section `" << heading << "` of docs/ir.md";
}

void expect_word(const std::string& text, std::string_view word) {
  EXPECT_NE(text.find(fmt::format("`{}`", word)), std::string::npos) << word;
}

TEST(IrDocument, HasEveryPass) {
  std::vector<std::string> rows;
  std::istringstream lines(driver::opt_pass_list());
  std::string line;
  std::getline(lines, line);  // the heading
  while (std::getline(lines, line)) {
    const size_t colon = line.find(": ");
    rows.push_back(fmt::format("| `{}` | {} |", line.substr(0, colon), line.substr(colon + 2)));
  }
  EXPECT_GE(rows.size(), 10U);
  expect_table("Passes of `opt`", "| Pass | From, to |", rows);
}

TEST(IrDocument, HasEveryRule) {
  std::vector<std::string> rows;
  for (const ir::SimplifyRuleRow& row : ir::simplify_rules) {
    rows.push_back(fmt::format("| `{}` | {} |", row.name, row.meaning));
  }
  expect_table("Rules of the simplifier", "| Rule | What becomes what |", rows);
}

TEST(IrDocument, HasEveryScheduleAttributeAndStorage) {
  const std::string kernels = section("K: kernels");
  using Kind = ir::ScheduleAttribute::Kind;
  for (const Kind kind : {Kind::tile, Kind::vector, Kind::lanes, Kind::unroll}) {
    expect_word(kernels, fmt::format("{} I N", spelling(kind)));
  }
  EXPECT_EQ(static_cast<int>(Kind::unroll), 3) << "another attribute?";
  for (const ir::Storage storage : {ir::Storage::local, ir::Storage::out, ir::Storage::inplace}) {
    expect_word(kernels, spelling(storage));
  }
}

TEST(IrDocument, HasEveryReductionStatementAndStage) {
  const std::string tensors = section("T: tensor statements");
  for (int i = 1; i <= static_cast<int>(ir::Reduction::all); ++i) {
    const std::string name(spelling(static_cast<ir::Reduction>(i)));
    EXPECT_NE(tensors.find(name), std::string::npos) << name;
  }
  const std::string loops = section("L: loops");
  for (const char* word : {"let", "var", "stack", "store", "for", "if"}) expect_word(loops, word);
  for (const driver::StageName& stage : driver::stage_names) expect_word(page(), stage.name);
}

}  // namespace
}  // namespace fusegrad::test
