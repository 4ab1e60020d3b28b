// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The C side of a library: its header, and the functions that it declares.
#pragma once

#include <string>

#include "runtime/core/job_table.h"

namespace fusegrad::driver {

/// A name of the model as a C identifier: letters, digits and `_`, no word of C or C++.
std::string c_name(const std::string& name);

/// The header: types with a field for each input, output and metric, with shapes in comments, and
/// the declarations of functions that begin with the model's name. C99 and C++.
std::string library_header(const runtime::JobTable& table);

/// C99 that defines these functions by those of runtime/core/library.h. `symbol` is the name of the
/// job's data object. Needs no headers.
std::string library_stub(const runtime::JobTable& table, const std::string& symbol);

/// For pkg-config; header and library lie in its folder.
std::string library_pkg_config(const runtime::JobTable& table, const std::string& library);

}  // namespace fusegrad::driver
