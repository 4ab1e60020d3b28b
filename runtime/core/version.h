// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The version that the tool, its trainers and their files carry.
#pragma once

namespace fusegrad::runtime {

inline constexpr const char* version_text = "0.1.0";

}  // namespace fusegrad::runtime
