// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What every reader of data makes, and how far it may go.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/core/aligned_bytes.h"
#include "runtime/core/error.h"
#include "runtime/core/job_table.h"

namespace fusegrad::runtime {

/// 0, or the number of the signal that asks the job to stop. A signal handler may write it.
using StopSignal = std::atomic<int>;

struct ReadLimits {
  int64_t largest_bytes = int64_t{16} << 30;  ///< of the elements, and of a text that is unpacked
  const StopSignal* stop = nullptr;           ///< polled while reading

  /// The signal that asks to stop; 0: none does.
  int signal() const { return stop == nullptr ? 0 : stop->load(std::memory_order_relaxed); }
  bool stopped() const { return signal() != 0; }
};

/// A file's elements in their own type, in this machine's byte order, row-major.
struct Column {
  ElementType element = ElementType::u8;
  std::vector<int64_t> shape;  ///< shape[0] is the number of records
  AlignedBytes bytes;

  int64_t records() const { return shape.empty() ? 0 : shape[0]; }
};

/// More dimensions than this no format may announce.
inline constexpr int largest_rank = 8;

/// "u8[60000, 28, 28]"
std::string type_text(ElementType element, const std::vector<int64_t>& shape);

/// Bytes of a tensor: 0 when a size is 0, whatever the others; nothing when a size is negative or
/// the product does not fit 63 bits.
std::optional<int64_t> tensor_bytes(ElementType element, const std::vector<int64_t>& shape);

/// Loading ended because of the signal that the limits have; or any other reason.
Failure to_failure(DataFailure failure, const ReadLimits& limits);
Failure interrupted_failure(const ReadLimits& limits);

/// The failures that all readers share. `place` begins the message: "`file`, byte 12".
DataFailure data_failure(DataFailureKind kind, const std::string& path, std::string message);
DataFailure malformed(const std::string& path, std::string message);
DataFailure no_memory_for(const std::string& path, int64_t size);
DataFailure interrupted(const std::string& path);
/// A header that announces more than the limit; `size` is missing when it has no 63 bits.
DataFailure too_large(const std::string& path, const std::string& place, const std::string& type,
                      std::optional<int64_t> size, const ReadLimits& limits);

/// Elements that lie in memory as the file has them become elements of this machine.
void from_little_endian(Column& column);
void from_big_endian(Column& column);

/// The position of the first element of a `bool` column that is neither 0 nor 1.
std::optional<int64_t> find_no_boolean(const Column& column);

}  // namespace fusegrad::runtime
