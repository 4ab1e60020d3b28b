// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The table of message codes, from diagnostic_codes.def.
#pragma once

#include <string_view>

namespace fusegrad::frontend {

/// A code such as "E0203" and what it is about, in one line.
struct DiagnosticCode {
  std::string_view code;
  std::string_view title;
};

inline constexpr DiagnosticCode diagnostic_codes[] = {
#define FUSEGRAD_DIAGNOSTIC(code, title) {#code, title},
#include "frontend/diagnostic_codes.def"
#undef FUSEGRAD_DIAGNOSTIC
};

}  // namespace fusegrad::frontend
