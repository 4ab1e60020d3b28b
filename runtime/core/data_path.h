// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Finds the file that a path in a model file means.
//
// A model file is data: it may name files to read beneath a few folders and nothing else. The
// folders come from the command line and the environment, never from the model file.
#pragma once

#include <string>
#include <vector>

#include "runtime/core/error.h"
#include "runtime/core/file.h"

namespace fusegrad::runtime {

/// The folders in which data are looked for, in this order.
struct DataSearch {
  std::string data_dir;    ///< --data; "" when not given
  std::string data_path;   ///< FUSEGRAD_DATA_PATH: folders separated by colons; "" when not set
  std::string model_file;  ///< its folder is searched
  std::string system_dir = "/usr/share/datasets";

  /// "" stands for the current folder (a model file without a folder in its path).
  std::vector<std::string> folders() const;
};

/// Opens the file that `path`, as written in the model file, means. In each folder first the plain
/// name, then NAME.gz (not for a NAME that ends in .gz). The first that exists is the one: when it
/// cannot be opened or is no regular file, that is the error. `InputFile::path` is the file chosen.
///
/// Refused (path_refused): empty, absolute, a `..` component, a NUL byte, more than 4096 bytes, and
/// a file that lies outside the folder because of a symbolic link. Not found: the message lists
/// every place looked at. A --data folder that is not there is an error of its own.
Expected<InputFile, DataFailure> find_data(const std::string& path, const DataSearch& search);

}  // namespace fusegrad::runtime
