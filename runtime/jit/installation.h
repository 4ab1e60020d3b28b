// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Files that belong to the tool.
#pragma once

#include <string>
#include <vector>

namespace fusegrad::runtime {

/// Where they are looked for, in this order, whatever the working folder is: the folder of this
/// executable (a build), and ../lib/fusegrad beside it (an installation).
std::vector<std::string> installation_folders();

/// The first of the folders that has a regular file of this name, with the name; "" for none.
std::string find_in_folders(const std::vector<std::string>& folders, const std::string& name);

/// The folders for a message: "`a` and `b`".
std::string folder_list(const std::vector<std::string>& folders);

}  // namespace fusegrad::runtime
