// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reads IDX files, plain or gzip-compressed: the format of MNIST and its relatives.
//
// IDX (yann.lecun.com/exdb/mnist): bytes 00 00, an element type, the number of dimensions; each
// dimension as a 4-byte big-endian number; then the elements, row-major, big-endian.
#pragma once

#include <string>

#include "runtime/core/column.h"
#include "runtime/core/file.h"

namespace fusegrad::runtime {

/// Reads a whole file. gzip is recognised by its first two bytes, never by the name, and may have
/// several members. Accepts element types u8 (0x08), i32 (0x0c), f32 (0x0d) and f64 (0x0e), 1 to 8
/// dimensions. Refuses with one line that names file, position, what was expected and what was
/// found: an unknown type, sizes that do not multiply to the file's length (in either direction),
/// more than the limit, damaged or cut gzip data. Memory: as `read_elements` says, whatever the
/// header says. A stop signal ends reading with kind interrupted.
Expected<Column, DataFailure> read_idx(const InputFile& file, const ReadLimits& limits = {});
Expected<Column, DataFailure> read_idx(const std::string& path, const ReadLimits& limits = {});

}  // namespace fusegrad::runtime
