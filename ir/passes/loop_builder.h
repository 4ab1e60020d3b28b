// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Building L: values are named where everything that they depend on is known, and equal values are
// named once. So whatever does not change in a loop stands before it, and unrolled code shares its
// loads.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ir/linear_form.h"
#include "ir/loop/program.h"

namespace fusegrad::ir {

class LoopBuilder {
 public:
  explicit LoopBuilder(LoopBlock& body);

  /// A name that the function does not use yet.
  std::string fresh(std::string_view base);

  /// The value under a name: a `let` in the outermost open block where its operands are known,
  /// shared with an equal one. Constants, names and uniforms stay as they are. Loads move out of
  /// loops only from memory that the function never writes, and never out of an `if`.
  ExprRef bind(const ExprRef& value, std::string_view base);

  /// The expression with every part that does not change in the innermost loops bound outside them.
  ExprRef hoist(const ExprRef& value);

  /// Memory that the function writes (stack arrays, outputs): loads from it stay where they are.
  void mark_written(std::string_view memory) { written_.insert(std::string(memory)); }

  /// An accumulator: `var NAME = value`; its reads never move and are never shared.
  ExprRef declare_var(std::string_view base, const ExprRef& initial);
  void assign(const ExprRef& variable, const ExprRef& value);
  void store(std::string_view memory, const ExprRef& address, const ExprRef& value);
  /// At the top of the function.
  void declare_stack(const std::string& name, ScalarType type, int64_t elements);

  /// Opens `for NAME = begin to end step 1`; the variable's range is known to address arithmetic.
  ExprRef open_for(std::string_view base, const ExprRef& begin, const ExprRef& end, Interval range);
  void open_if(const ExprRef& condition);
  /// From the then-block to the else-block of the innermost `if`.
  void open_else();
  void close();

  /// Ranges of all variables so far.
  const IndexRanges& ranges() const { return ranges_; }
  void set_range(const ExprRef& variable, Interval range);

 private:
  enum class ScopeKind : uint8_t { function, loop, then_block, else_block };
  struct Scope {
    ScopeKind kind = ScopeKind::function;
    LoopBlock block;
    LoopFor loop;
    ExprRef condition;
    LoopBlock then_block;
    std::map<uint64_t, std::vector<std::pair<ExprRef, ExprRef>>> values;
  };

  /// Number of the outermost scope where the value can stand.
  size_t depth_of(const Expr& node) const;
  bool is_leaf(const Expr& node) const;

  LoopBlock& body_;
  std::vector<Scope> scopes_;
  std::map<std::string, size_t, std::less<>> depth_by_name_;
  std::set<std::string, std::less<>> mutable_;
  std::set<std::string, std::less<>> written_;
  std::map<std::string, int, std::less<>> used_;
  IndexRanges ranges_;
};

}  // namespace fusegrad::ir
