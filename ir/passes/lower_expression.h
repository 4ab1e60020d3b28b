// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One scalar expression of K, written down on L for one lane or for a vector of lanes. Internal to
// lower_to_loops.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "ir/kernel/buffer_index.h"
#include "ir/kernel/program.h"
#include "ir/passes/loop_builder.h"

namespace fusegrad::ir {

/// Name of the index that stands for the lane number while addresses are computed.
inline constexpr const char* lane_index = "$lane";

/// A row-local value in scratch memory: row-major over its own indices, then over the tiled rows
/// (vector row last).
struct LocalMemory {
  std::string name;                   ///< of the stack array
  ScalarType type = ScalarType::f32;  ///< stored type
  std::vector<IndexRange> own;
  std::optional<IntegerRange> range;  ///< known values (argmax)
};

class ExpressionLowering {
 public:
  /// `buffers` are the program's.
  ExpressionLowering(const KernelProgram& program, const BufferIndex& buffers, const Kernel& kernel,
                     LoopBuilder& builder);

  /// The kernel's index stands for this i64 expression; it may mention `lane_index`.
  void set_index(const std::string& index, ExprRef value) { values_[index] = std::move(value); }
  void clear_index(const std::string& index) { values_.erase(index); }
  /// Lanes of the statement that is lowered next: 1, or the width of its vectors.
  void set_lanes(int lanes) { lanes_ = lanes; }
  int lanes() const { return lanes_; }
  /// In a tail, lanes of that index may lie beyond its end: every read that depends on it is
  /// guarded.
  void set_tail(std::optional<std::string> index) { tail_index_ = std::move(index); }
  /// Only where the condition holds is the expression's value used. Null: everywhere.
  void set_guard(ExprRef guard) { guard_ = std::move(guard); }
  const ExprRef& guard() const { return guard_; }

  void add_local(const std::string& local, LocalMemory memory) {
    locals_[local] = std::move(memory);
  }
  const LocalMemory& local(const std::string& name) const { return locals_.at(name); }
  /// Elements of the tile, and the offset of the current row instance in it (may mention
  /// `lane_index`).
  void set_tile(int64_t elements, ExprRef offset) {
    tile_elements_ = elements;
    tile_offset_ = std::move(offset);
  }

  /// The value, bound to a name; one lane if it is the same in all lanes, otherwise `lanes()`.
  ExprRef lower(const ExprRef& e);
  /// The same, always with `lanes()` lanes.
  ExprRef lower_wide(const ExprRef& e) { return widen(lower(e)); }
  ExprRef widen(const ExprRef& value) const { return widen(value, lanes_); }
  static ExprRef widen(const ExprRef& value, int lanes);

  /// Stores a value of expression type as an element of the buffer or local.
  void store_buffer(const Buffer& buffer, const std::vector<ExprRef>& indices,
                    const ExprRef& value);
  void store_local(const std::string& local, const std::vector<ExprRef>& own, const ExprRef& value);

  /// Extent as an i64 expression.
  static ExprRef extent_value(const Extent& extent);

 private:
  struct Address {
    ExprRef at;  ///< one lane: a single or contiguous access; several: lane by lane
    bool contiguous = false;
  };

  ExprRef lower_node(const ExprRef& e);
  ExprRef lower_logic(const ExprRef& e);
  ExprRef lower_select(const ExprRef& e);
  /// Loads the stored element (u8 stays u8).
  ExprRef load(const Expr& read, bool raw);
  ExprRef index_form(const ExprRef& e);
  Address address(const ExprRef& form, const ExprRef& clamp);
  ExprRef position_form(const Expr& read, std::vector<ExprRef> indices, const ExprRef& clamp);
  ExprRef buffer_position(const Buffer& buffer, const std::vector<ExprRef>& indices,
                          const ExprRef& clamp);
  ExprRef local_position(const LocalMemory& memory, const std::vector<ExprRef>& own) const;
  /// An i64 form as an L expression: scalar if no lane is mentioned, otherwise a vector.
  ExprRef finish(const ExprRef& form);
  bool varies(const ExprRef& form) const;
  ExprRef clamped(const ExprRef& value, const ExprRef& clamp);
  ExprRef both(const ExprRef& a, const ExprRef& b);
  ExprRef inside_test(const Expr& read, const Shape& shape, const std::vector<ExprRef>& forms);
  bool provably_inside(const ExprRef& index, const Extent& extent) const;
  ExprRef placeholder(const ExprRef& vector_value, std::optional<Interval> range);
  ExprRef stored_value(const ExprRef& value, ScalarType stored);
  /// What is known about the names in the form.
  IndexRanges form_ranges(const ExprRef& form) const;
  std::optional<Interval> value_range(const Expr& node) const;

  const KernelProgram& program_;
  const BufferIndex& buffers_;
  const Kernel& kernel_;
  LoopBuilder& builder_;
  IndexRanges kernel_ranges_;  ///< of the kernel's own indices, for proofs
  std::map<std::string, ExprRef> values_;
  std::map<std::string, LocalMemory> locals_;
  std::map<std::string, std::pair<ExprRef, std::optional<Interval>>> placeholders_;
  std::unordered_map<const Expr*, std::string> placeholder_of_;  ///< by the value
  std::optional<std::string> tail_index_;
  ExprRef guard_;
  ExprRef tile_offset_;
  int64_t tile_elements_ = 1;
  int lanes_ = 1;
};

}  // namespace fusegrad::ir
