// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reverse-mode differentiation, statement to statement. For y[p] = sum(r: e(p, r)) every read
// t[f(p, r)] in e gives the scatter  d.t[f(p, r)] += d.y[p] * slope(p, r), which the index solver
// turns into a gather, so that the result is made of statements like any others.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "ir/linear_form.h"
#include "ir/passes/differentiate_lift.h"
#include "ir/passes/differentiate_scalar.h"
#include "ir/passes/differentiate_solver.h"
#include "ir/passes/fold.h"
#include "ir/passes/passes.h"
#include "ir/support/check.h"

namespace fusegrad::ir {
namespace {

/// Expressions of more nodes are differentiated with their large parts in statements of their own.
constexpr int64_t large_expression = 256;
/// The largest adjoint or slope that is repeated: in ordinary and in large expressions.
constexpr int64_t largest_part = 128;
constexpr int64_t largest_part_of_large = 32;
/// Contributions to one adjoint are written as one sum up to this size.
constexpr int64_t largest_total = 256;

ExprRef both(const ExprRef& a, const ExprRef& b) {
  if (a == nullptr) return b;
  if (b == nullptr) return a;
  return make_binary(Op::logical_and, a, b);
}

ExprRef extent_expression(Extent extent) {
  if (!extent.depends_on_rows()) return make_integer(extent.maximum);
  ExprRef rows = make_uniform("rows");
  return extent.per_row == 1 ? rows : make_binary(Op::multiply, rows, make_integer(extent.per_row));
}

std::vector<ExprRef> index_expressions(const std::vector<IndexRange>& indices) {
  std::vector<ExprRef> result;
  for (const IndexRange& index : indices) result.push_back(make_index(index.name));
  return result;
}

class Differentiator {
 public:
  explicit Differentiator(const TensorProgram& program)
      : program_(program), original_count_(program.statements.size()) {
    for (const TensorDeclaration& declaration : program_.declarations) {
      tensors_[declaration.name] = {declaration.shape, declaration.type, std::nullopt, {}};
      if (declaration.kind == TensorKind::parameter && is_real(declaration.type)) {
        active_.insert(declaration.name);
      }
      if (declaration.range) {
        tensors_[declaration.name].values =
            Interval{declaration.range->begin, declaration.range->end - 1};
      }
    }
    for (const TensorStatement& statement : program_.statements) add_tensor(statement);
    solver_.batch = program_.batch;
    solver_.other = [this](const Expr& e) { return values_of(e); };
    solver_.shape_of = [this](const std::string& name) -> const Shape& {
      return tensors_.at(name).shape;
    };
    for (const auto& [name, tensor] : tensors_) solver_.forbidden.insert(name);
    for (std::string_view uniform : {"rows", "step", "epoch", "steps", "seed"}) {
      solver_.forbidden.emplace(uniform);
    }
  }

  Result<TensorProgram, DifferentiationError> run() {
    const TensorResult* loss = nullptr;
    for (const TensorResult& result : program_.results) {
      if (result.kind == TensorResultKind::loss) loss = &result;
    }
    if (loss == nullptr || !tensors_.contains(loss->tensor) ||
        !tensors_[loss->tensor].shape.empty() || !is_real(tensors_[loss->tensor].type)) {
      return DifferentiationError{"the program has no loss that is a single real number", {}};
    }
    Contribution one;
    one.gather.value = make_real(1, tensors_[loss->tensor].type);
    if (const TensorStatement* statement = program_.find_statement(loss->tensor)) {
      one.origin = statement->origin;
    }
    pending_[loss->tensor].push_back(one);
    for (size_t i = original_count_; i-- > 0;) {
      const TensorStatement statement = program_.statements[i];  // emitting moves the originals
      if (!active_.contains(statement.name) || !pending_.contains(statement.name)) continue;
      differentiate_statement(statement);
      if (!mistake_.empty()) return DifferentiationError{mistake_, statement.origin};
    }
    for (const TensorDeclaration& declaration : program_.declarations) {
      if (declaration.kind != TensorKind::parameter || !pending_.contains(declaration.name)) {
        continue;
      }
      std::string gradient = total(declaration.name);
      program_.results.push_back({TensorResultKind::gradient, declaration.name, gradient});
    }
    return strip_gradient_marks(program_);
  }

 private:
  struct Tensor {
    Shape shape;
    ScalarType type = ScalarType::f32;
    std::optional<Interval> values;  ///< of integers
    RealBounds bounds;               ///< of reals
  };

  /// A part of an adjoint; waits until all parts are known.
  struct Contribution {
    Gather gather;
    Span origin;
  };

  // ---- what is known of tensors

  void add_tensor(const TensorStatement& statement) {
    Tensor tensor{statement.shape(), statement.type, std::nullopt, {}};
    IndexRanges ranges = ranges_of_statement(statement);
    const bool reduces = statement.reduction != Reduction::none;
    if (statement.reduction == Reduction::argmax || statement.reduction == Reduction::argmin) {
      Shape binders;
      for (const IndexRange& binder : statement.binders) {
        binders.push_back(Extent::number(binder.end.maximum - binder.begin));
      }
      if (std::optional<int64_t> count = element_count(binders)) {
        tensor.values = Interval{0, std::max<int64_t>(*count - 1, 0)};
      }
    } else if (is_integer(statement.type) && !reduces &&
               statement.value->type.scalar == ScalarType::i64) {
      tensor.values = interval(statement.value, ranges);
    }
    if (is_real(statement.type)) {
      RealBounds bounds = real_bounds(
          statement.value, [&](const ExprRef& leaf) { return bounds_outside(leaf, ranges); });
      // Empty sums are 0, an empty minimum or maximum is infinite.
      const bool may_be_empty = statement.condition != nullptr;
      if (statement.reduction == Reduction::sum) {
        bounds = {bounds.min >= 0 ? 0 : RealBounds{}.min, bounds.max <= 0 ? 0 : RealBounds{}.max};
      }
      if (statement.reduction == Reduction::max && may_be_empty) bounds.min = RealBounds{}.min;
      if (statement.reduction == Reduction::min && may_be_empty) bounds.max = RealBounds{}.max;
      tensor.bounds = bounds;
      bool takes_part =
          statement.reduction == Reduction::none || statement.reduction == Reduction::sum ||
          statement.reduction == Reduction::max || statement.reduction == Reduction::min;
      if (takes_part && leads_to_active(statement.value, is_active())) {
        active_.insert(statement.name);
      }
    }
    tensors_[statement.name] = tensor;
  }

  /// Whether an adjoint of the tensor would arrive at a parameter.
  std::function<bool(std::string_view)> is_active() const {
    return [this](std::string_view tensor) { return active_.contains(tensor); };
  }

  std::optional<Interval> values_of(const Expr& e) const {
    if (e.op != Op::read) return std::nullopt;
    auto found = tensors_.find(e.name);
    if (found == tensors_.end()) return std::nullopt;
    if (found->second.values) return found->second.values;
    if (found->second.type == ScalarType::u8) return Interval{0, 255};
    return std::nullopt;
  }

  IndexRanges ranges_of_statement(const TensorStatement& statement) const {
    IndexRanges ranges = ranges_of(statement.indices, statement.binders, program_.batch);
    ranges.other = [this](const Expr& e) { return values_of(e); };
    return ranges;
  }

  RealBounds bounds_outside(const ExprRef& e, const IndexRanges& ranges) const {
    if (e->op == Op::read && is_real(e->type.scalar)) {
      auto found = tensors_.find(e->name);
      return found == tensors_.end() ? RealBounds{} : found->second.bounds;
    }
    if (!(e->type == Type{ScalarType::i64})) return {};
    std::optional<Interval> range = interval(e, ranges);
    if (!range) return {};
    return {static_cast<double>(range->min), static_cast<double>(range->max)};
  }

  // ---- emitting statements

  std::string fresh_name(const std::string& base) {
    int& next = next_suffix_[base];
    std::string name = next == 0 ? base : fmt::format("{}_{}", base, next + 1);
    ++next;
    return tensors_.contains(name) ? fresh_name(base) : name;
  }

  void emit(TensorStatement statement) {
    add_tensor(statement);
    active_.erase(statement.name);
    program_.statements.push_back(std::move(statement));
  }

  ExprRef read_of(const std::string& tensor, std::vector<ExprRef> indices) const {
    return make_read(tensor, tensors_.at(tensor).type, std::move(indices));
  }

  /// See ScalarContext::lift: `e`, which is evaluated within `statement` where `path` holds.
  ExprRef lift(const TensorStatement& statement, const ExprRef& e,
               const std::vector<PathLiteral>& path) {
    std::optional<LiftedPart> part =
        lift_part(statement, e, path, fresh_name(statement.name + ".part"), program_.batch);
    if (!part) return nullptr;
    emit(std::move(part->statement));
    return part->read;
  }

  // ---- one statement

  void differentiate_statement(const TensorStatement& statement) {
    const std::string adjoint = total(statement.name);
    const IndexRanges ranges = ranges_of_statement(statement);
    const std::vector<ExprRef> left = index_expressions(statement.indices);
    ScalarContext context;
    context.is_active = is_active();
    context.bounds = [&](const ExprRef& e) { return bounds_outside(e, ranges); };
    context.inside = [&](const Expr& read) { return inside(read, ranges); };
    context.lift = [&](const ExprRef& e, const std::vector<PathLiteral>& path) {
      return lift(statement, e, path);
    };
    context.largest =
        statement.value->node_count() > large_expression ? largest_part_of_large : largest_part;
    if (statement.reduction == Reduction::none) context.root_value = read_of(statement.name, left);
    ScalarDerivative derivative =
        differentiate_expression(statement.value, read_of(adjoint, left), context);
    if (!derivative.mistake.empty()) {
      mistake_ = fmt::format("`{}`: {}", statement.name, derivative.mistake);
      return;
    }
    if (derivative.reads.empty()) return;

    Scatter scatter;
    scatter.domain = statement.indices;
    scatter.domain.insert(scatter.domain.end(), statement.binders.begin(), statement.binders.end());
    std::vector<ExprRef> common;
    if (statement.condition != nullptr) common.push_back(strip_marks(statement.condition));
    if (statement.reduction == Reduction::max || statement.reduction == Reduction::min) {
      common.push_back(chosen_element(statement, left));
    }
    for (const ReadAdjoint& arrival : derivative.reads) {
      const Expr& read = *arrival.read;
      scatter.map.assign(read.operands.begin(),
                         read.operands.begin() + static_cast<ptrdiff_t>(read.index_count()));
      scatter.target = tensors_.at(read.name).shape;
      scatter.conditions = common;
      for (const PathLiteral& literal : arrival.path) {
        scatter.conditions.push_back(to_expr(literal));
      }
      scatter.value = arrival.adjoint;
      std::optional<Gather> gather = solve(scatter, solver_);
      if (gather) pending_[read.name].push_back({std::move(*gather), statement.origin});
    }
  }

  /// The condition under which a read with `else` stays inside; null if it always does.
  ExprRef inside(const Expr& read, const IndexRanges& ranges) const {
    const Shape& shape = tensors_.at(read.name).shape;
    ExprRef all;
    for (size_t k = 0; k < read.index_count(); ++k) {
      const ExprRef& index = read.operands[k];
      all = both(all, make_binary(Op::greater_equal, index, make_integer(0)));
      all = both(all, make_binary(Op::less, index, extent_expression(shape[k])));
    }
    if (all == nullptr) return nullptr;
    all = simplify_indices(all, ranges);
    return is_boolean_constant(all, true) ? nullptr : all;
  }

  /// For max and min: the binders are at the element that the reduction chose.
  ExprRef chosen_element(const TensorStatement& statement, const std::vector<ExprRef>& left) {
    TensorStatement position = statement;
    position.name = fresh_name(statement.name + ".arg");
    position.type = ScalarType::i32;
    position.reduction =
        statement.reduction == Reduction::max ? Reduction::argmax : Reduction::argmin;
    position.value = strip_marks(statement.value);
    if (position.condition != nullptr) position.condition = strip_marks(position.condition);
    emit(position);
    ExprRef code;
    for (const IndexRange& binder : statement.binders) {
      ExprRef begin = make_integer(binder.begin);
      ExprRef digit = make_binary(Op::subtract, make_index(binder.name), begin);
      ExprRef size = make_binary(Op::subtract, extent_expression(binder.end), begin);
      code = code == nullptr ? digit
                             : make_binary(Op::add, make_binary(Op::multiply, code, size), digit);
    }
    if (code == nullptr) code = make_integer(0);
    return make_binary(Op::equal, code, read_of(position.name, left));
  }

  // ---- adding up

  static ExprRef map_value(const Gather& gather) {
    if (gather.condition == nullptr) return gather.value;
    return make_select(gather.condition, gather.value, zero_of(gather.value->type));
  }

  TensorStatement statement_of(const Contribution& contribution, const std::string& name) {
    const Gather& gather = contribution.gather;
    TensorStatement statement;
    statement.name = name;
    statement.indices = gather.indices;
    statement.type = gather.value->type.scalar;
    statement.origin = contribution.origin;
    if (gather.binders.empty()) {
      statement.value = map_value(gather);
    } else {
      statement.reduction = Reduction::sum;
      statement.binders = gather.binders;
      statement.condition = gather.condition;
      statement.value = gather.value;
    }
    return statement;
  }

  /// Emits the adjoint of a tensor, all of whose contributions are known. Returns its name.
  std::string total(const std::string& tensor) {
    const std::vector<Contribution> parts = std::move(pending_.at(tensor));
    pending_.erase(tensor);
    if (parts.size() == 1) {
      std::string name = fresh_name("d." + tensor);
      emit(statement_of(parts[0], name));
      return name;
    }
    const std::string name_of_part = "d." + tensor + ".part";
    const std::vector<IndexRange> indices = parts[0].gather.indices;
    const std::vector<ExprRef> left = index_expressions(indices);
    ExprRef sum;
    TensorStatement result;
    result.indices = indices;
    result.type = tensors_.at(tensor).type;
    result.origin = parts[0].origin;
    for (const Contribution& part : parts) {
      ExprRef term;
      if (part.gather.binders.empty()) {
        std::map<std::string, ExprRef> renamed;
        for (size_t k = 0; k < left.size(); ++k) {
          renamed[part.gather.indices[k].name] = left[k];
        }
        term = substitute(map_value(part.gather), renamed);
      } else {
        std::string name = fresh_name(name_of_part);
        emit(statement_of(part, name));
        term = read_of(name, left);
      }
      if (sum != nullptr && sum->op != Op::read &&
          sum->node_count() + term->node_count() > largest_total) {
        TensorStatement partial = result;
        partial.name = fresh_name(name_of_part);
        partial.value = sum;
        std::string name = partial.name;
        emit(std::move(partial));
        sum = read_of(name, left);
      }
      sum = sum == nullptr ? term : neat_add(sum, term);
    }
    result.name = fresh_name("d." + tensor);
    result.value = simplify_indices(sum, ranges_of_statement(result));
    std::string name = result.name;
    emit(std::move(result));
    return name;
  }

  TensorProgram program_;
  size_t original_count_;
  std::map<std::string, Tensor, std::less<>> tensors_;
  std::set<std::string, std::less<>> active_;
  std::map<std::string, std::vector<Contribution>> pending_;
  std::map<std::string, int> next_suffix_;
  SolverContext solver_;
  std::string mistake_;
};

}  // namespace

Result<TensorProgram, DifferentiationError> differentiate(const TensorProgram& program) {
  return Differentiator(program).run();
}

}  // namespace fusegrad::ir
