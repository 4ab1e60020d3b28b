// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reading K from text.
#pragma once

#include <cstdint>
#include <optional>

#include "ir/kernel/program.h"
#include "ir/support/diagnostics.h"
#include "ir/support/source.h"

namespace fusegrad::ir {

/// Parses file `file` of `sources`, the text that print() of a module gives. Names are resolved and
/// types checked: a local is defined before it is read, buffers stand before launches. All other
/// rules are the verifier's. The origin of a statement is its place in this file. On an error: one
/// diagnostic E0901, nothing is returned.
std::optional<KernelModule> parse_kernel_module(const SourceManager& sources, uint32_t file,
                                                Diagnostics& diagnostics);

}  // namespace fusegrad::ir
