// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The line of a buffer and the line of a result: the text that K and L share.
//   param dense.w: f32[784, 10] packed 1 by 8
//   input label: u8[rows] in 0..10
//   buffer g: f32[rows, 10] at 5120
//   derived label.starts: i32[11] = starts of label
//   result objective: f32[]
//   result loss = objective
#pragma once

#include <optional>
#include <string>

#include "ir/kernel/program.h"
#include "ir/text_reader.h"

namespace fusegrad::ir {

/// One line without a newline.
std::string print_buffer(const Buffer& buffer);

/// Whether a buffer's line begins here: its kind, a name, a colon.
bool at_buffer(const TextReader& reader);

/// Reads a buffer; `batch` is the value of rows. Checked beyond the form: the packed dimension
/// exists, its block is positive, the elements (padding included) fit 63 bits, an offset is a
/// multiple of 64 and stands on a temporary only, a range on an integer input only.
std::optional<Buffer> parse_buffer(TextReader& reader, int64_t batch);

/// `result metric accuracy = acc`, one line without a newline.
std::string print_result(const KernelResult& result);

/// Reads `result loss = objective`, the word `result` included.
std::optional<KernelResult> parse_kernel_result(TextReader& reader);

}  // namespace fusegrad::ir
