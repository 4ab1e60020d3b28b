// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Scalar expressions: one immutable tree type for T, K and L.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ir/types.h"

namespace fusegrad::ir {

enum class Op : uint8_t {
#define FG_SCALAR_OP(enumerator, spelling, operands, form) enumerator,
#include "ir/scalar_ops.def"
#undef FG_SCALAR_OP
};

/// The word or sign an operator is written with; "" for leaves with their own syntax.
std::string_view spelling(Op op);

class Expr;
/// Expressions are shared and never change.
using ExprRef = std::shared_ptr<const Expr>;

/// One node. Which fields mean something depends on `op`:
///   constant   `integer` (i64, bool as 0/1) or `real`
///   index, uniform, variable   `name`
///   read       `name`, operands = one index per dimension, and with `has_else` one more: the value
///   outside
///              (on L: one operand, the address)
///   rand, normal   `integer` = stream
class Expr {
 public:
  Op op = Op::constant;
  Type type;
  std::vector<ExprRef> operands;
  std::string name;
  int64_t integer = 0;
  double real = 0;
  bool has_else = false;

  /// Structural hash (equal expressions have equal hashes in every run of every process).
  uint64_t hash() const { return hash_; }
  /// Nodes on the longest way down; bounded, see `maximum_expression_depth`.
  int depth() const { return depth_; }
  /// Nodes in the tree (saturating), counting shared ones each time.
  int64_t node_count() const { return node_count_; }

  // For reads: the indices without the else value.
  size_t index_count() const { return operands.size() - (has_else ? 1 : 0); }
  const ExprRef& else_value() const { return operands.back(); }

 private:
  friend ExprRef make_node(Expr node);
  uint64_t hash_ = 0;
  int depth_ = 1;
  int64_t node_count_ = 1;
};

/// Deepest expression that any stage accepts, so that walking one never exhausts the stack.
inline constexpr int maximum_expression_depth = 2000;

/// Completes hash, depth and counts. The only way to a node; checks nothing but the depth (our bug
/// if exceeded).
ExprRef make_node(Expr node);

// ---- Makers. They check operand types (a mismatch is our bug) and do not simplify.

ExprRef make_real(double value, ScalarType type);
ExprRef make_integer(int64_t value, ScalarType type = ScalarType::i64);
ExprRef make_boolean(bool value);
ExprRef make_index(std::string_view name);
ExprRef make_uniform(std::string_view name);
/// A read of a tensor whose elements are stored as `stored`; the node has type value_type(stored).
ExprRef make_read(std::string_view tensor, ScalarType stored, std::vector<ExprRef> indices,
                  ExprRef else_value = nullptr);
ExprRef make_unary(Op op, ExprRef operand);
ExprRef make_binary(Op op, ExprRef left, ExprRef right);
ExprRef make_select(ExprRef condition, ExprRef then_value, ExprRef else_value);
ExprRef make_convert(ScalarType type, ExprRef operand);
ExprRef make_random(Op op, int64_t stream, ExprRef position, ScalarType type);

// ---- Questions.

inline bool is_constant(const ExprRef& e) { return e->op == Op::constant; }
bool is_integer_constant(const ExprRef& e, int64_t value);
bool is_real_constant(const ExprRef& e, double value);
bool is_boolean_constant(const ExprRef& e, bool value);
inline bool is_index(const ExprRef& e) { return e->op == Op::index; }
bool is_comparison(Op op);

/// Structural equality (NaN constants with equal bits are equal; 0.0 and -0.0 are not).
bool same(const ExprRef& a, const ExprRef& b);

/// Calls `visit` on every node, operands after their node.
void walk(const ExprRef& e, const std::function<void(const Expr&)>& visit);

/// Names of all indices in the expression.
std::set<std::string> free_indices(const ExprRef& e);
bool mentions_index(const ExprRef& e, std::string_view name);

/// Rebuilds bottom-up: `change` gets each node after its operands were changed and returns its
/// replacement.
ExprRef rewrite(const ExprRef& e, const std::function<ExprRef(const ExprRef&)>& change);

/// Replaces indices by expressions, all at once.
ExprRef substitute(const ExprRef& e, const std::map<std::string, ExprRef>& by_name);

/// The same node with other operands (of the same types).
ExprRef with_operands(const Expr& node, std::vector<ExprRef> operands);

}  // namespace fusegrad::ir
