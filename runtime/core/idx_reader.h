// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reads IDX files, plain or gzip-compressed: the format of MNIST and its relatives.
//
// IDX (yann.lecun.com/exdb/mnist): bytes 00 00, an element type, the number of dimensions; each
// dimension as a 4-byte big-endian number; then the elements, row-major, big-endian.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/core/aligned_bytes.h"
#include "runtime/core/error.h"
#include "runtime/core/file.h"
#include "runtime/core/job_table.h"

namespace fusegrad::runtime {

/// 0, or the number of the signal that asks the job to stop. A signal handler may write it.
using StopSignal = std::atomic<int>;

struct ReadLimits {
  int64_t largest_bytes = int64_t{16} << 30;  ///< of the elements
  const StopSignal* stop = nullptr;           ///< polled while reading
};

/// A file's elements in their own type, in this machine's byte order, row-major.
struct Column {
  ElementType element = ElementType::u8;
  std::vector<int64_t> shape;  ///< shape[0] is the number of records
  AlignedBytes bytes;

  int64_t records() const { return shape.empty() ? 0 : shape[0]; }
};

/// "u8[60000, 28, 28]"
std::string type_text(ElementType element, const std::vector<int64_t>& shape);

/// Reads a whole file. gzip is recognised by its first two bytes, never by the name, and may have
/// several members. Accepts element types u8 (0x08), i32 (0x0c) and f32 (0x0d), 1 to 8 dimensions.
/// Refuses with one line that names file, position, what was expected and what was found: an
/// unknown type, sizes that do not multiply to the file's length (in either direction), more than
/// the limit, damaged or cut gzip data. Memory: the elements plus at most as much again while a
/// compressed file grows beyond 64 MiB; never more than the compressed data has really yielded
/// times two, whatever the header says. A stop signal ends reading with kind interrupted.
Expected<Column, DataFailure> read_idx(const InputFile& file, const ReadLimits& limits = {});
Expected<Column, DataFailure> read_idx(const std::string& path, const ReadLimits& limits = {});

}  // namespace fusegrad::runtime
