// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Writing a file so that at any moment, also after a power cut, either the old content or the whole
// new one is there.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace fusegrad::runtime {

/// The folder of a path: "." for a name alone.
std::string folder_of(const std::string& path);

/// Where the bytes of a path have to go: a link's target, so that renaming does not replace the
/// link. The path itself where there is nothing yet.
std::string follow_links(const std::string& path);

/// Replaces the file, or makes it: a temporary file beside it, `write`, permissions of the old one,
/// fsync, rename, fsync of the folder. A character device (/dev/full, /dev/null) is written
/// directly. `write` gets the descriptor and returns 0 or the system's error number. Returns why it
/// failed; the old content is whole then, and no temporary file is left.
std::optional<std::string> replace_file(const std::string& path,
                                        const std::function<int(int descriptor)>& write);

}  // namespace fusegrad::runtime
