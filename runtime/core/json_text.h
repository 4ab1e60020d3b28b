// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The few pieces of JSON that the runtime writes.
#pragma once

#include <string>
#include <string_view>

namespace fusegrad::runtime {

/// With quotes and escapes; bytes that are not UTF-8 become U+FFFD, so the result is always valid
/// JSON.
std::string json_string(std::string_view text);

/// The shortest text that reads back as the same double; null for NaN and the infinities.
std::string json_number(double value);

/// Length in bytes of the UTF-8 sequence that `text` begins with; 0 when it begins with none
/// (overlong forms, surrogates and values beyond U+10FFFF included). `text` is not empty.
size_t utf8_length(std::string_view text);

}  // namespace fusegrad::runtime
