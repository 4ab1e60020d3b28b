// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which file a path means, and which paths mean none.
#include "runtime/core/data_path.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/runtime/runtime_test_support.h"

namespace fusegrad::runtime {
namespace {

using testing::HasSubstr;

class DataPath : public testing::Test {
 protected:
  DataPath() {
    search.data_dir = folder / "given";
    search.data_path = (folder / "first") + "::" + (folder / "second");
    search.model_file = folder / "models/m.fg";
    search.system_dir = folder / "system";
    for (const char* name : {"given", "first", "second", "models", "system"}) {
      std::filesystem::create_directory(folder / name);
    }
  }

  std::string found(const std::string& path) {
    Expected<InputFile, DataFailure> file = find_data(path, search);
    if (!file) return "";
    const std::string root = folder.path() + "/";
    return file->path.starts_with(root) ? file->path.substr(root.size()) : file->path;
  }

  DataFailure failure(const std::string& path) {
    Expected<InputFile, DataFailure> file = find_data(path, search);
    EXPECT_FALSE(file) << path;
    return file ? DataFailure{} : file.error();
  }

  TemporaryFolder folder;
  DataSearch search;
};

TEST_F(DataPath, SearchesTheFoldersInTheirOrder) {
  // Added from the last place to the first: each addition wins over what was there.
  for (const char* place :
       {"system/d/x.gz", "system/d/x", "models/d/x.gz", "models/d/x", "second/d/x.gz", "second/d/x",
        "first/d/x.gz", "first/d/x", "given/d/x.gz", "given/d/x"}) {
    write_file(folder / place, "content");
    EXPECT_EQ(found("d/x"), place);
  }
}

TEST_F(DataPath, KeepsThePathExact) {
  write_file(folder / "given/x", "content");
  EXPECT_EQ(failure("d/x").kind, DataFailureKind::not_found);
  write_file(folder / "given/y.gz", "content");
  EXPECT_EQ(found("y.gz"), "given/y.gz");
  EXPECT_EQ(found("./y.gz"), "given/./y.gz");
}

TEST_F(DataPath, AModelFileWithoutFolderMeansTheCurrentOne) {
  search = {};
  search.model_file = "m.fg";
  search.system_dir = "/sys-tem";
  EXPECT_EQ(search.folders(), (std::vector<std::string>{"", "/sys-tem"}));
  search.model_file = "/m.fg";
  EXPECT_EQ(search.folders()[0], "/");
}

TEST_F(DataPath, NotFoundListsEveryPlace) {
  const std::string message = failure("mnist/x").message;
  EXPECT_THAT(message, HasSubstr("cannot find the data file `mnist/x`"));
  size_t last = 0;
  for (const char* place :
       {"given/mnist/x`", "given/mnist/x.gz`", "first/mnist/x`", "first/mnist/x.gz`",
        "second/mnist/x`", "second/mnist/x.gz`", "models/mnist/x`", "models/mnist/x.gz`",
        "system/mnist/x`", "system/mnist/x.gz`"}) {
    const size_t position = message.find("`" + (folder / place));
    ASSERT_NE(position, std::string::npos) << place << " not in " << message;
    EXPECT_GT(position, last);
    last = position;
  }
}

TEST_F(DataPath, HelpMayBePastedWithoutHarm) {
  const auto package_help = [&](const std::string& path) {
    for (const std::string& help : failure(path).helps) {
      if (help.find("apt-get") != std::string::npos) return help;
    }
    return std::string();
  };
  EXPECT_THAT(package_help("fashion-mnist/x"), HasSubstr("apt-get install dataset-fashion-mnist"));
  EXPECT_EQ(package_help("$(reboot)/x"), "");
  EXPECT_EQ(package_help("x"), "");
}

TEST_F(DataPath, RefusesPathsThatLeaveTheFolder) {
  write_file(folder / "secret", "content");
  for (const std::string& path :
       {folder / "secret", std::string("../secret"), std::string("a/../../secret"),
        std::string("a/.."), std::string(), std::string("a\0b", 3), std::string(5000, 'a'),
        std::string("/dev/zero"), std::string("/proc/self/mem")}) {
    EXPECT_EQ(failure(path).kind, DataFailureKind::path_refused) << path;
  }
  // Two dots inside a name are a name.
  write_file(folder / "given/a..b", "content");
  EXPECT_EQ(found("a..b"), "given/a..b");
}

TEST_F(DataPath, LinksMayNotLeaveTheFolder) {
  write_file(folder / "secret", "content");
  std::filesystem::create_symlink("../secret", folder / "given/link");
  EXPECT_EQ(failure("link").kind, DataFailureKind::path_refused);
  EXPECT_THAT(failure("link").message, HasSubstr("through a symbolic link"));
  std::filesystem::create_symlink(folder.path(), folder / "given/up");
  EXPECT_EQ(failure("up/secret").kind, DataFailureKind::path_refused);
  std::filesystem::create_symlink("/proc/self", folder / "given/proc");
  EXPECT_EQ(failure("proc/mem").kind, DataFailureKind::path_refused);
  std::filesystem::create_symlink("loop", folder / "given/loop");
  EXPECT_EQ(failure("loop").kind, DataFailureKind::path_refused);
  // The folder itself may be a link: the person at the command line named it.
  write_file(folder / "real/x", "content");
  std::filesystem::create_directory_symlink(folder / "real", folder / "named");
  search.data_dir = folder / "named";
  EXPECT_EQ(found("x"), "named/x");
}

TEST_F(DataPath, WhatIsThereButUnusableIsTheError) {
  // A later folder must not silently stand in for a file that was meant.
  write_file(folder / "system/x", "content");
  std::filesystem::create_directory(folder / "given/x");
  EXPECT_THAT(failure("x").message, HasSubstr("is a folder"));
  ASSERT_EQ(mkfifo((folder / "given/p").c_str(), 0600), 0);
  write_file(folder / "system/p", "content");
  EXPECT_THAT(failure("p").message, HasSubstr("is a named pipe"));
}

TEST_F(DataPath, DataFolderMustExist) {
  write_file(folder / "system/x", "content");
  search.data_dir = folder / "absent";
  EXPECT_THAT(failure("x").message, HasSubstr("given with --data, is no folder"));
}

TEST_F(DataPath, LongNamesAreRefusedBySystemOrFound) {
  EXPECT_EQ(failure(std::string(4096, 'a')).kind, DataFailureKind::unreadable);
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += "d/";
  write_file(folder / ("given/" + deep + "x"), "content");
  EXPECT_EQ(found(deep + "x"), "given/" + deep + "x");
}

}  // namespace
}  // namespace fusegrad::runtime
