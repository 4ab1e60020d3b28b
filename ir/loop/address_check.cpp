// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Addresses as sums over indices that range analysis understands: names of `let`s are replaced by
// what they stand for, vectors are looked at lane by lane (the lane number is one more index),
// variables of loops become begin + step * k.
#include "ir/loop/address_check.h"

#include <fmt/format.h>

#include <map>
#include <optional>
#include <set>

#include "ir/kernel/segment.h"
#include "ir/loop/print.h"
#include "ir/range_analysis.h"

namespace fusegrad::ir {
namespace {

/// Larger values are not looked into: they stay unknown.
constexpr int64_t largest_value = 2000;

class AddressChecker {
 public:
  AddressChecker(const LoopProgram& program, const BufferIndex& buffers,
                 const LoopFunction& function, std::vector<std::string>& violations,
                 AddressCount& count)
      : program_(program),
        buffers_(buffers),
        function_(function),
        violations_(violations),
        count_(count) {}

  void run() {
    // `rows` is an index here: proofs hold for every number of rows.
    RangeAnalysis known(program_.batch);
    known.add_index(rows_index, 1, program_.batch + 1);
    for (int lanes = 2; lanes <= 64; ++lanes) known.add_index(lane_index(lanes), 0, lanes);
    for (const LoopParameter& parameter : function_.parameters) {
      limits_[parameter.name] = parameter.elements;
      known.add_tensor(parameter.name, values_of(parameter));
    }
    int64_t tasks = 1;
    for (const TaskDimension& dimension : function_.tasks) {
      const int64_t tiles = (dimension.extent.maximum - 1) / dimension.tile + 1;
      tasks = checked_multiply(tasks, dimension.extent.maximum == 0 ? 0 : tiles)
                  .value_or(ValueRange::unbounded - 1);
    }
    tasks = std::min(tasks, ValueRange::unbounded - 1);
    for (const char* name : {"begin", "end"}) {
      known.add_index(name, 0, tasks + 1);
      values_[name] = make_index(name);
    }
    // At most as many as there are for this number of rows.
    if (ExprRef most = tasks_for_rows()) {
      values_["end"] = make_binary(Op::minimum, values_["end"], most);
    }
    block(function_.body, known);
  }

 private:
  static constexpr const char* rows_index = "$rows";

  static std::string lane_index(int lanes) { return fmt::format("$lane{}", lanes); }

  /// The number of tasks as an expression of the rows; null where it is a constant or no multiple
  /// of one quotient.
  ExprRef tasks_for_rows() const {
    int64_t others = 1;
    const TaskDimension* over_rows = nullptr;
    for (const TaskDimension& dimension : function_.tasks) {
      if (dimension.extent.depends_on_rows()) {
        if (over_rows != nullptr) return nullptr;
        over_rows = &dimension;
        continue;
      }
      const int64_t tiles = (dimension.extent.maximum - 1) / dimension.tile + 1;
      std::optional<int64_t> product = checked_multiply(others, tiles);
      if (dimension.extent.maximum <= 0 || !product) return nullptr;
      others = *product;
    }
    if (over_rows == nullptr) return nullptr;
    const ExprRef extent =
        make_binary(Op::multiply, make_index(rows_index), make_integer(over_rows->extent.per_row));
    const ExprRef tiles = make_binary(
        Op::floor_divide, make_binary(Op::add, extent, make_integer(over_rows->tile - 1)),
        make_integer(over_rows->tile));
    return make_binary(Op::multiply, tiles, make_integer(others));
  }

  ValueRange values_of(const LoopParameter& parameter) const {
    if (parameter.name == row_list_name) return {0, INT32_MAX};
    const Buffer* buffer = buffers_.find(parameter.name);
    if (buffer != nullptr && buffer->kind == BufferKind::derived) {
      const IntegerRange values = values_of_derived(program_.buffers, *buffer);
      return {values.begin, values.end - 1};
    }
    if (buffer != nullptr && buffer->range) return {buffer->range->begin, buffer->range->end - 1};
    return range_of_type(parameter.type);
  }

  // ---- Values.

  /// The expression for one lane, over indices. Leaves what is unknown as it is.
  ExprRef one_lane(const ExprRef& e, RangeAnalysis& known) {
    const int lanes = e->type.lanes;
    if (e->op == Op::uniform) return e->name == "rows" ? make_index(rows_index) : e;
    if (e->op == Op::iota) return make_index(lane_index(lanes));
    if (e->op == Op::splat) return one_lane(e->operands[0], known);
    if (e->op == Op::lane) return taken_lane(*e, known);
    if (e->op == Op::variable) {
      auto found = values_.find(e->name);
      if (found != values_.end()) return found->second;
    }
    Expr node = *e;
    node.type.lanes = 1;
    for (ExprRef& operand : node.operands) operand = one_lane(operand, known);
    if (e->op == Op::vector_sum || (is_narrow(*e) && is_arithmetic(e->op))) {
      return unknown(node);
    }
    if (e->op == Op::read && lanes > e->operands[0]->type.lanes) {
      // Consecutive elements.
      node.operands[0] = make_binary(Op::add, node.operands[0], make_index(lane_index(lanes)));
    }
    return make_node(std::move(node));
  }

  ExprRef taken_lane(const Expr& e, RangeAnalysis& known) {
    const ExprRef vector = one_lane(e.operands[0], known);
    bool opaque = false;
    walk(vector, [&](const Expr& node) { opaque = opaque || opaque_vectors_.contains(node.name); });
    // Lanes of a vector that is known by its range only differ from each other.
    if (opaque) return as_index("lane", vector, known);
    return substitute(vector, {{lane_index(e.operands[0]->type.lanes), e.operands[1]}});
  }

  /// Integers that wrap at less than 64 bits; range analysis does not know that.
  static bool is_narrow(const Expr& e) {
    return e.type.scalar == ScalarType::u8 || e.type.scalar == ScalarType::i32;
  }
  static bool is_arithmetic(Op op) {
    return op != Op::constant && op != Op::variable && op != Op::read && op != Op::convert &&
           op != Op::select && op != Op::minimum && op != Op::maximum;
  }

  /// A value about which nothing is known but its type, and whether it depends on data.
  ExprRef unknown(const Expr& e) {
    Expr index;
    index.op = Op::index;
    index.type = e.type;
    index.name = fmt::format("$unknown{}", ++unknowns_);
    for (const ExprRef& operand : e.operands) {
      if (depends_on_data(operand)) from_data_.insert(index.name);
    }
    return make_node(std::move(index));
  }

  /// Whether a later evaluation may give another value, or one that is not known here: loads,
  /// variables that are assigned, reals.
  static bool may_change(const ExprRef& e) {
    bool found = false;
    walk(e, [&](const Expr& node) {
      found = found || node.op == Op::read || node.op == Op::variable;
    });
    return found;
  }

  bool depends_on_data(const ExprRef& e) const {
    bool found = false;
    walk(e, [&](const Expr& node) {
      found = found || node.op == Op::read || node.op == Op::variable || node.op == Op::rand ||
              node.op == Op::normal || (node.op == Op::index && from_data_.contains(node.name));
    });
    return found;
  }

  /// An index of its own for a value that must not be looked into again.
  ExprRef as_index(const std::string& name, const ExprRef& value, RangeAnalysis& known) {
    const ValueRange range = known.range(value);
    const std::string index = fmt::format("${}.{}", name, ++unknowns_);
    if (range.min > range.max) {
      known.add_index(index, 0, 0);  // never evaluated
    } else {
      known.add_index(index, range.min, range.max + 1);
    }
    if (depends_on_data(value)) from_data_.insert(index);
    return make_index(index);
  }

  void define(const std::string& name, const ExprRef& value, RangeAnalysis& known) {
    if (is_real(value->type.scalar)) return;  // stays a variable
    ExprRef lane = one_lane(value, known);
    if (!may_change(lane) && lane->node_count() <= largest_value) {
      bind(name, lane);
      return;
    }
    if (lane->type.scalar == ScalarType::boolean) return;
    const bool wide = lane->type.scalar == ScalarType::i64;
    const ExprRef index = as_index(name, wide ? lane : make_convert(ScalarType::i64, lane), known);
    if (value->type.lanes > 1) opaque_vectors_.insert(index->name);
    bind(name, wide ? index : make_convert(lane->type.scalar, index));
  }

  /// The name stands for this until the end of the block.
  void bind(const std::string& name, ExprRef value) {
    bound_.back().push_back(name);
    values_[name] = std::move(value);
  }

  // ---- Accesses.

  std::string place() const {
    return fmt::format("function `{}`, statement `{}`", function_.name,
                       print_statement_head(*statement_, program_.real));
  }

  /// All loads of the expression.
  void check(const ExprRef& e, RangeAnalysis& known) {
    if (known.unreachable()) return;
    walk(e, [&](const Expr& node) {
      if (node.op == Op::read) check_access(node.name, node.operands[0], node.type.lanes, known);
    });
  }

  void check_access(const std::string& memory, const ExprRef& address, int lanes,
                    RangeAnalysis& known) {
    if (known.unreachable()) return;
    const int64_t contiguous = address->type.lanes == 1 ? lanes : 1;
    check_values(memory, one_lane(address, known), contiguous, false, known);
  }

  /// `at`: an address of one lane, reached under what is `known`; `clamped` where that includes the
  /// condition of an `if` in the address.
  void check_values(const std::string& memory, const ExprRef& at, int64_t contiguous, bool clamped,
                    const RangeAnalysis& known) {
    const ValueRange range = known.range(at);
    if (range.min > range.max || known.unreachable()) return;
    const int64_t elements = limits_.at(memory);
    const bool has_limit = elements >= 0;
    const bool not_before = range.min >= 0;
    // An input has at least one row, so that its first element exists.
    const bool not_behind = range.max <= (has_limit ? elements : 1) - contiguous;
    if (not_before && not_behind) {
      ++count_.proven;
      return;
    }
    const bool outside = range.max < 0 || (has_limit && range.min > elements - contiguous);
    if (at->op == Op::select && (clamped || !outside)) {
      for (bool holds : {true, false}) {
        RangeAnalysis branch = known;
        branch.assume(at->operands[0], holds);
        check_values(memory, at->operands[holds ? 1 : 2], contiguous, true, branch);
      }
      return;
    }
    // In a clamped address, `if c then a else 0`, c may say more about a than sums can tell (a
    // product with a quotient), even that it is never evaluated. Lowering is tested against T on
    // random programs, and the evaluator checks every access.
    if (clamped || (!outside && depends_on_data(at))) {
      ++(depends_on_data(at) ? count_.from_data : count_.clamped);
      return;
    }
    const auto end = [](int64_t value) {
      const bool is_unknown = value >= ValueRange::unbounded || value <= -ValueRange::unbounded;
      return is_unknown ? "?" : fmt::format("{}", value);
    };
    if (!has_limit) {
      violations_.push_back(
          fmt::format("{}: an address of the input `{}` must come from the row list, not {}..{}",
                      place(), memory, end(range.min), end(range.max)));
      return;
    }
    violations_.push_back(
        fmt::format("{}: `{}` has {} elements; the address is {} them: {} element{} from {}..{}",
                    place(), memory, elements, outside ? "outside of" : "not proved within",
                    contiguous, contiguous == 1 ? "" : "s", end(range.min), end(range.max)));
  }

  // ---- Statements.

  void block(const LoopBlock& statements, RangeAnalysis known) {
    bound_.emplace_back();
    for (const LoopStatement& statement : statements) {
      statement_ = &statement;
      std::visit([&](const auto& node) { visit(node, known); }, statement.node);
    }
    for (const std::string& name : bound_.back()) values_.erase(name);
    bound_.pop_back();
  }

  void visit(const LoopLet& let, RangeAnalysis& known) {
    check(let.value, known);
    define(let.name, let.value, known);
  }

  void visit(const LoopVar& var, RangeAnalysis& known) { check(var.value, known); }
  void visit(const LoopAssign& assign, RangeAnalysis& known) { check(assign.value, known); }

  void visit(const LoopStack& stack, RangeAnalysis& known) {
    limits_[stack.name] = stack.elements;
    known.add_tensor(stack.name, range_of_type(stack.type));
  }

  void visit(const LoopStore& store, RangeAnalysis& known) {
    check(store.address, known);
    check(store.value, known);
    check_access(store.buffer, store.address, store.value->type.lanes, known);
  }

  void visit(const LoopFor& loop, RangeAnalysis& known) {
    check(loop.begin, known);
    check(loop.end, known);
    RangeAnalysis inside = known;
    const ExprRef begin = fixed(loop.name, one_lane(loop.begin, inside), inside);
    const ExprRef end = fixed(loop.name, one_lane(loop.end, inside), inside);
    const ValueRange first = inside.range(begin);
    const ValueRange limit = inside.range(end);
    // begin + step * round < end
    const std::string round = fmt::format("${}.{}", loop.name, ++unknowns_);
    int64_t rounds = ValueRange::unbounded;
    if (first.min > -ValueRange::unbounded && limit.max < ValueRange::unbounded) {
      const int64_t span = limit.max - first.min;
      rounds = span <= 0 ? 0 : (span - 1) / loop.step + 1;
    }
    ExprRef value = make_index(round);
    if (loop.step == 1) {
      // Simpler: the variable itself is the index.
      if (rounds == ValueRange::unbounded) {
        inside.add_index(round, first.min, limit.max);
      } else {
        inside.add_index(round, first.min, first.min + rounds);
      }
      assume_order(begin, value, false, inside);
    } else {
      inside.add_index(round, 0, rounds);
      value =
          make_binary(Op::add, begin, make_binary(Op::multiply, make_integer(loop.step), value));
    }
    if (depends_on_data(begin) || depends_on_data(end)) from_data_.insert(round);
    assume_order(value, end, true, inside);
    values_[loop.name] = value;
    if (!inside.unreachable()) block(loop.body, std::move(inside));
    values_.erase(loop.name);
  }

  /// A bound of a loop is evaluated once: what may change later gets an index of its own.
  ExprRef fixed(const std::string& name, const ExprRef& bound, RangeAnalysis& known) {
    return may_change(bound) ? as_index(name, bound, known) : bound;
  }

  /// a < b (`strictly`) or a <= b, where a maximum on the left or a minimum on the right counts for
  /// each of its operands.
  static void assume_order(const ExprRef& a, const ExprRef& b, bool strictly,
                           RangeAnalysis& known) {
    if (a->op == Op::maximum) {
      for (const ExprRef& operand : a->operands) assume_order(operand, b, strictly, known);
    } else if (b->op == Op::minimum) {
      for (const ExprRef& operand : b->operands) assume_order(a, operand, strictly, known);
    } else {
      known.assume(make_binary(strictly ? Op::less : Op::less_equal, a, b));
    }
  }

  void visit(const LoopIf& branch, RangeAnalysis& known) {
    check(branch.condition, known);
    const ExprRef condition = one_lane(branch.condition, known);
    RangeAnalysis then_known = known;
    RangeAnalysis else_known = known;
    assume_what_stays(condition, true, then_known);
    assume_what_stays(condition, false, else_known);
    if (!then_known.unreachable()) block(branch.then_block, std::move(then_known));
    if (!else_known.unreachable()) block(branch.else_block, std::move(else_known));
  }

  /// The parts of a condition that stay true as long as its branch runs.
  static void assume_what_stays(const ExprRef& condition, bool holds, RangeAnalysis& known) {
    if (!may_change(condition)) return known.assume(condition, holds);
    if (condition->op != (holds ? Op::logical_and : Op::logical_or)) return;
    for (const ExprRef& part : condition->operands) assume_what_stays(part, holds, known);
  }

  const LoopProgram& program_;
  const BufferIndex& buffers_;
  const LoopFunction& function_;
  std::vector<std::string>& violations_;
  AddressCount& count_;
  std::map<std::string, int64_t> limits_;        ///< elements of parameters and stack arrays
  std::map<std::string, ExprRef> values_;        ///< one lane of names in scope, over indices
  std::vector<std::vector<std::string>> bound_;  ///< by the open blocks
  std::set<std::string> from_data_;              ///< indices that stand for what depends on data
  std::set<std::string> opaque_vectors_;         ///< indices that stand for any lane of a vector
  const LoopStatement* statement_ = nullptr;
  int64_t unknowns_ = 0;
};

}  // namespace

void check_addresses(const LoopProgram& program, const BufferIndex& buffers,
                     const LoopFunction& function, std::vector<std::string>& violations,
                     AddressCount& count) {
  AddressChecker(program, buffers, function, violations, count).run();
}

}  // namespace fusegrad::ir
