// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// fusegrad fmt as people and editors call it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "tests/driver/tool.h"

namespace fusegrad::test {
namespace {

using ::testing::HasSubstr;

TEST(Fmt, RewritesFilesAndFolders) {
  const std::string folder = make_folder("models");
  std::filesystem::create_directories(folder + "/inner");
  write_file(folder + "/b.fg", "fn f( x )=x\n");
  write_file(folder + "/inner/a.fg", "fn g(x) = x\n");
  write_file(folder + "/notes.txt", "fn h( x )=x\n");
  ASSERT_EQ(chmod((folder + "/b.fg").c_str(), 0600), 0);

  ToolRun checked = run_tool({"fmt", "--check", folder});
  EXPECT_EQ(checked.exit_code, 1);
  EXPECT_EQ(checked.output, folder + "/b.fg\n");
  EXPECT_EQ(read_file(folder + "/b.fg"), "fn f( x )=x\n");

  EXPECT_EQ(run_tool({"fmt", folder}).exit_code, 0);
  EXPECT_EQ(read_file(folder + "/b.fg"), "fn f(x) = x\n");
  EXPECT_EQ(read_file(folder + "/notes.txt"), "fn h( x )=x\n");
  EXPECT_EQ(run_tool({"fmt", "--check", folder}).exit_code, 0);
  struct stat status = {};
  ASSERT_EQ(stat((folder + "/b.fg").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
}

TEST(Fmt, IsAFilter) {
  const ToolRun run = run_tool({"fmt", "-"}, "fn f( x )=x # y\n");
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(run.output, "fn f(x) = x  # y\n");
}

TEST(Fmt, LeavesFilesWithMistakesAlone) {
  const std::string folder = make_folder("models");
  write_file(folder + "/bad.fg", "fn f( x )= =x\n");
  write_file(folder + "/good.fg", "fn f( x )=x\n");
  const ToolRun run = run_tool({"fmt", folder});
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_THAT(run.errors, HasSubstr("bad.fg:1:12"));
  EXPECT_EQ(read_file(folder + "/bad.fg"), "fn f( x )= =x\n");
  EXPECT_EQ(read_file(folder + "/good.fg"), "fn f(x) = x\n");
  EXPECT_EQ(run_tool({"fmt", folder + "/missing.fg"}).exit_code, 3);
}

}  // namespace
}  // namespace fusegrad::test
