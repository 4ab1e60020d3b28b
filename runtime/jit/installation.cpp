// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The tool finds its own files by where its executable is.
#include "runtime/jit/installation.h"

#include <filesystem>
#include <system_error>

#include "runtime/core/file.h"

namespace fusegrad::runtime {

namespace fs = std::filesystem;

std::vector<std::string> installation_folders() {
  std::error_code ignored;
  const fs::path own = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  return {own.string(), (own.parent_path() / "lib" / "fusegrad").string()};
}

std::string find_in_folders(const std::vector<std::string>& folders, const std::string& name) {
  std::error_code ignored;
  for (const std::string& folder : folders) {
    const fs::path file = fs::path(folder) / name;
    if (fs::is_regular_file(file, ignored)) return file.string();
  }
  return "";
}

std::string folder_list(const std::vector<std::string>& folders) {
  std::string text;
  for (const std::string& folder : folders) {
    text += (text.empty() ? "" : " and ") + runtime::quoted(folder);
  }
  return text;
}

}  // namespace fusegrad::runtime
