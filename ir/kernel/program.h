// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// K, kernels: which statements run together, over which rows, what is stored and where, and how it
// is scheduled. Everything that lowering needs is decided here, as data. Text form: docs/ir.md.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ir/expr.h"
#include "ir/tensor/program.h"
#include "ir/types.h"

namespace fusegrad::ir {

enum class BufferKind : uint8_t { input, parameter, state, result, temporary, derived };
/// "input", "param", "state", "result", "buffer", "derived".
std::string_view spelling(BufferKind kind);

/// What a derived buffer holds. The values of its source, an integer input of at least one
/// dimension, are numbered in row-major order over the batch; they are sorted, equal ones in their
/// order.
///   starts     i32[N + 1]: element v is the number of values below v
///   positions  i32[rows*k]: the numbers of the values in sorted order
/// So the places where the value is v are positions[starts[v]], ..., positions[starts[v + 1] - 1].
/// Whoever runs the program makes them, before the first launch of every step.
enum class Derivation : uint8_t { none, starts, positions };
std::string_view spelling(Derivation derivation);

/// A tensor in memory. Text: `param dense.w: f32[784, 10] packed 0 by 8`, `buffer g: f32[rows, 10]
/// at 5120`, `derived text.starts: i32[5001] = starts of text`.
struct Buffer {
  BufferKind kind = BufferKind::temporary;
  std::string name;
  ScalarType type = ScalarType::f32;
  Shape shape;
  std::optional<IntegerRange> range;  ///< of an input: checked when data is loaded
  /// Packed layout: dimension `packed_dimension` is split by `packed_block`; index % block becomes
  /// innermost, index // block stands in its old place; the last block is padded. -1: row-major.
  int packed_dimension = -1;
  int64_t packed_block = 0;
  /// Temporaries: position in the arena in bytes, a multiple of 64; -1 before memory is planned.
  int64_t offset = -1;
  Derivation derivation = Derivation::none;  ///< of a derived buffer, and only of it
  std::string source;                        ///< of a derived buffer: the input

  /// Elements in memory at the full batch, padding included.
  int64_t physical_elements() const;
};

enum class Storage : uint8_t {
  local,    ///< lives within one row instance; `indices` holds only its own indices
  out,      ///< stored; every element by exactly one row instance
  inplace,  ///< read-modify-write of the row instance's own element of a parameter or state
};
std::string_view spelling(Storage storage);

/// One position of a stored statement's left side: a row index used as it is, or an own index with
/// its range.
struct KernelIndex {
  bool is_row = false;
  IndexRange range;  ///< of a row: only `name` counts
};

/// Like a tensor statement, within one row instance. Row indices are in scope in `condition` and
/// `value`. Reads of a local of this kernel have only the local's own indices.
struct KernelStatement {
  Storage storage = Storage::local;
  std::string name;  ///< the local, or the buffer that is written
  std::vector<KernelIndex> indices;
  ScalarType type = ScalarType::f32;
  Reduction reduction = Reduction::none;
  std::vector<IndexRange> binders;
  ExprRef condition;  ///< null: always
  ExprRef value;
  Span origin;

  /// The own indices, in order.
  std::vector<IndexRange> own_indices() const;
};

/// A decision about one index of the kernel. Index names are unique within a kernel.
///   tile I N     (free)    rows I are processed N at a time, statement by statement
///   vector I N   (free)    statements run N consecutive values of row I (or own index I) in vector
///   lanes lanes I N    (numeric) the sum over binder I runs in N partial sums (element i in lane i
///   % N), combined by
///                          the fixed tree of `vector_sum`
///   unroll I N   (free)    N consecutive values of own index or row I are kept in registers at
///   once
///   segment X by I  (free) sums over the places where input X has the value I visit these places
///   only, in their order, along the derived buffers of X (ir/kernel/segment.h)
struct ScheduleAttribute {
  enum class Kind : uint8_t { tile, vector, lanes, unroll, segment };
  Kind kind = Kind::tile;
  std::string index;
  int64_t amount = 1;
  std::string input = {};  ///< of `segment`
  bool operator==(const ScheduleAttribute&) const = default;
};
std::string_view spelling(ScheduleAttribute::Kind kind);
/// `tile b 8`, `segment text by q`.
std::string attribute_text(const ScheduleAttribute& attribute);

/// `kernel NAME rows(b in 0..rows, ...) schedule(tile b 8, ...) { statements }`: the row instances
/// are independent.
struct Kernel {
  std::string name;
  std::vector<IndexRange> rows;
  std::vector<ScheduleAttribute> schedule;
  std::vector<KernelStatement> statements;

  /// The amount of the attribute for that index, or nothing.
  std::optional<int64_t> attribute(ScheduleAttribute::Kind kind, std::string_view index) const;
};

/// Kernels that may run at the same time. Launches run one after the other.
struct Launch {
  std::vector<Kernel> kernels;
};

/// `result loss = objective`: the host reads that buffer after the last launch.
struct KernelResult {
  TensorResultKind kind = TensorResultKind::loss;
  std::string label;
  std::string buffer;
};

/// Why two statements share a kernel or not; in the dump, not in the text form.
struct FusionRemark {
  std::string producer;
  std::string consumer;
  bool fused = false;
  std::string reason;
  Span origin;
};

struct KernelProgram {
  std::string name;
  int64_t batch = 1;
  ScalarType real = ScalarType::f32;
  std::vector<Buffer> buffers;
  std::vector<Launch> launches;
  std::vector<KernelResult> results;
  int64_t arena_bytes = 0;
  std::vector<FusionRemark> remarks;

  const Buffer* find_buffer(std::string_view buffer) const;
  Buffer* find_buffer(std::string_view buffer);
};

struct KernelModule {
  std::vector<KernelProgram> programs;
  KernelProgram* find(std::string_view name);
  const KernelProgram* find(std::string_view name) const;
};

}  // namespace fusegrad::ir
