// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The derivative of every scalar operator, and the order in which adjoints meet at shared
// subexpressions. Rules: docs/language.md, "Gradients".
#include "ir/passes/differentiate_scalar.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "ir/passes/fold.h"
#include "ir/support/check.h"

namespace fusegrad::ir {

namespace {

bool is_real_type(const ExprRef& e) { return is_real(e->type.scalar); }

/// Value of a numeric constant.
double constant_value(const ExprRef& e) {
  return is_real_type(e) ? e->real : static_cast<double>(e->integer);
}

Op opposite(Op comparison) {
  switch (comparison) {
    case Op::less:
      return Op::greater_equal;
    case Op::less_equal:
      return Op::greater;
    case Op::greater:
      return Op::less_equal;
    case Op::greater_equal:
      return Op::less;
    case Op::equal:
      return Op::not_equal;
    default:
      return Op::equal;
  }
}

}  // namespace

ExprRef to_expr(const PathLiteral& literal) {
  const ExprRef& c = literal.condition;
  if (literal.holds) return c;
  if (c->op == Op::logical_not) return c->operands[0];
  if (is_comparison(c->op) && is_integer(c->operands[0]->type.scalar)) {
    return make_binary(opposite(c->op), c->operands[0], c->operands[1]);
  }
  return make_unary(Op::logical_not, c);
}

// ---------------------------------------------------------------- neat arithmetic

ExprRef neat_negate(const ExprRef& a) {
  if (a->op == Op::negate) return a->operands[0];
  if (is_constant(a)) return real_like(-a->real, a);
  return make_unary(Op::negate, a);
}

ExprRef neat_add(const ExprRef& a, const ExprRef& b) {
  if (is_real_constant(a, 0)) return b;
  if (is_real_constant(b, 0)) return a;
  if (b->op == Op::negate) return make_binary(Op::subtract, a, b->operands[0]);
  if (a->op == Op::negate) return make_binary(Op::subtract, b, a->operands[0]);
  if (same(a, b)) return neat_multiply(a, real_like(2, a));
  return make_binary(Op::add, a, b);
}

ExprRef neat_multiply(const ExprRef& a, const ExprRef& b) {
  if (is_constant(a) && !is_constant(b)) return neat_multiply(b, a);
  if (is_real_constant(b, 1)) return a;
  if (is_real_constant(b, -1)) return neat_negate(a);
  if (is_real_constant(a, 1)) return b;
  if (is_real_constant(a, -1)) return neat_negate(b);
  if (a->op == Op::negate) return neat_negate(neat_multiply(a->operands[0], b));
  if (b->op == Op::negate) return neat_negate(neat_multiply(a, b->operands[0]));
  return make_binary(Op::multiply, a, b);
}

ExprRef neat_divide(const ExprRef& a, const ExprRef& b) {
  if (is_real_constant(b, 1)) return a;
  if (is_real_constant(b, -1)) return neat_negate(a);
  if (a->op == Op::negate) return neat_negate(neat_divide(a->operands[0], b));
  return make_binary(Op::divide, a, b);
}

// ---------------------------------------------------------------- bounds

namespace {

class Bounds {
 public:
  explicit Bounds(const std::function<RealBounds(const ExprRef&)>& outside) : outside_(outside) {}

  RealBounds of(const ExprRef& e) {
    if (!is_real_type(e)) return outside_ ? outside_(e) : RealBounds{};
    auto known = memo_.find(e.get());
    if (known != memo_.end()) return known->second;
    RealBounds bounds = of_node(e);
    if (std::isnan(bounds.min)) bounds.min = -infinity;
    if (std::isnan(bounds.max)) bounds.max = infinity;
    memo_.emplace(e.get(), bounds);
    return bounds;
  }

 private:
  static constexpr double infinity = std::numeric_limits<double>::infinity();

  static RealBounds corners(double a, double b, double c, double d) {
    if (std::isnan(a) || std::isnan(b) || std::isnan(c) || std::isnan(d)) return {};
    return {std::min({a, b, c, d}), std::max({a, b, c, d})};
  }
  static RealBounds hull(RealBounds a, RealBounds b) {
    return {std::min(a.min, b.min), std::max(a.max, b.max)};
  }

  RealBounds of_node(const ExprRef& self) {
    const Expr& e = *self;
    auto operand = [&](size_t i) { return of(e.operands[i]); };
    switch (e.op) {
      case Op::constant: {
        double value = e.type.scalar == ScalarType::f32
                           ? static_cast<double>(static_cast<float>(e.real))
                           : e.real;
        return {value, value};
      }
      case Op::read: {
        RealBounds inside = outside_ ? outside_(self) : RealBounds{};
        return e.has_else ? hull(inside, of(e.else_value())) : inside;
      }
      case Op::negate:
        return {-operand(0).max, -operand(0).min};
      case Op::add:
        return {operand(0).min + operand(1).min, operand(0).max + operand(1).max};
      case Op::subtract:
        return {operand(0).min - operand(1).max, operand(0).max - operand(1).min};
      case Op::multiply: {
        RealBounds a = operand(0);
        RealBounds b = operand(1);
        RealBounds all = corners(a.min * b.min, a.min * b.max, a.max * b.min, a.max * b.max);
        if (a.min >= 0 && b.min >= 0) all.min = a.min * b.min;
        if (same(e.operands[0], e.operands[1])) all.min = std::max(all.min, 0.0);
        return all;
      }
      case Op::divide: {
        RealBounds a = operand(0);
        RealBounds b = operand(1);
        if (a.min >= 0 && b.min >= 0) return {b.max < infinity ? a.min / b.max : 0, a.max / b.min};
        if (b.min <= 0) return {};
        return corners(a.min / b.min, a.min / b.max, a.max / b.min, a.max / b.max);
      }
      case Op::power: {
        const ExprRef& n = e.operands[1];
        bool even = is_constant(n) && std::fmod(constant_value(n), 2.0) == 0;
        return operand(0).min >= 0 || even ? RealBounds{0, infinity} : RealBounds{};
      }
      case Op::minimum:
        return {std::min(operand(0).min, operand(1).min), std::min(operand(0).max, operand(1).max)};
      case Op::maximum:
        return {std::max(operand(0).min, operand(1).min), std::max(operand(0).max, operand(1).max)};
      case Op::select:
        return hull(operand(1), operand(2));
      case Op::exp:
      case Op::rsqrt:
        return {0, infinity};
      case Op::rand:
        return {0, 1};
      case Op::tanh:
      case Op::erf:
      case Op::sin:
      case Op::cos:
        return {-1, 1};
      case Op::abs: {
        RealBounds a = operand(0);
        double least = a.min >= 0 ? a.min : a.max <= 0 ? -a.max : 0;
        return {least, std::max(std::abs(a.min), std::abs(a.max))};
      }
      case Op::sqrt:
        return {std::sqrt(std::max(operand(0).min, 0.0)), infinity};
      case Op::log1p:
      case Op::expm1:
      case Op::floor:
        return operand(0).min >= 0 ? RealBounds{0, infinity} : RealBounds{};
      case Op::convert:
      case Op::stop_gradient:
      case Op::custom:
        return operand(0);
      default:
        return {};
    }
  }

  const std::function<RealBounds(const ExprRef&)>& outside_;
  std::unordered_map<const Expr*, RealBounds> memo_;  // only looked up, never walked
};

}  // namespace

RealBounds real_bounds(const ExprRef& e, const std::function<RealBounds(const ExprRef&)>& outside) {
  return Bounds(outside).of(e);
}

// ---------------------------------------------------------------- marks

namespace {

class MarkStripper {
 public:
  ExprRef strip(const ExprRef& e) {
    if (e->operands.empty()) return e;
    auto known = memo_.find(e.get());
    if (known != memo_.end()) return known->second.second;
    ExprRef result;
    if (e->op == Op::stop_gradient || e->op == Op::custom) {
      result = strip(e->operands[0]);
    } else {
      std::vector<ExprRef> operands;
      operands.reserve(e->operands.size());
      bool changed = false;
      for (const ExprRef& operand : e->operands) {
        operands.push_back(strip(operand));
        changed = changed || operands.back() != operand;
      }
      result = changed ? with_operands(*e, std::move(operands)) : e;
    }
    memo_.emplace(e.get(), std::pair{e, result});
    return result;
  }

 private:
  // By address, so that shared parts are done once; holds the keys alive. Never walked.
  std::unordered_map<const Expr*, std::pair<ExprRef, ExprRef>> memo_;
};

bool has_marks(const Expr& e) {
  if (e.op == Op::stop_gradient || e.op == Op::custom) return true;
  return std::any_of(e.operands.begin(), e.operands.end(),
                     [](const ExprRef& operand) { return has_marks(*operand); });
}

}  // namespace

ExprRef strip_marks(const ExprRef& e) {
  // Most expressions have no marks, and looking is cheaper than remembering. Trees that are large
  // because they share parts are not looked through.
  constexpr int64_t small_tree = 1'000;
  if (e->node_count() <= small_tree && !has_marks(*e)) return e;
  return MarkStripper().strip(e);
}

// ---------------------------------------------------------------- reverse mode

namespace {

/// Where the adjoint of an operand may be infinite or NaN for a finite operand, zero must win;
/// below this distance from the singular point slopes still fit f32, the cube of a reciprocal root
/// too.
constexpr double safe_distance = 1e-20;

class Reverse {
 public:
  Reverse(const ExprRef& root, const ScalarContext& context) : root_(root), context_(context) {}

  ScalarDerivative run(const ExprRef& adjoint) {
    paths_.push_back({});  // the empty path
    literals_.emplace(0, std::vector<PathLiteral>{});
    visit(root_);
    ScalarDerivative result;
    if (!mistake_.empty() || !depends(root_)) {
      result.mistake = mistake_;
      return result;
    }
    flows_.resize(order_.size());
    flows_[number_of(root_)].push_back({adjoint, 0});
    // A node comes after its operands in order_: backwards, all adjoints of a node have arrived.
    for (size_t i = order_.size(); i-- > 0;) {
      if (flows_[i].empty()) continue;
      std::vector<Flow> flows = merge(std::move(flows_[i]), order_[i]->op != Op::read);
      for (Flow& flow : flows) {
        if (is_real_constant(flow.adjoint, 0)) continue;
        flow.adjoint = bounded(flow.adjoint, flow.path);
        send_back(order_[i], flow);
        if (order_[i]->op == Op::read && context_.is_active(order_[i]->name)) {
          result.reads.push_back({strip(order_[i]), flow.adjoint, literals(flow.path)});
        }
      }
    }
    result.mistake = mistake_;
    std::reverse(result.reads.begin(), result.reads.end());
    return result;
  }

 private:
  using Path = size_t;  // index into paths_; equal conditions in equal order have equal numbers
  struct PathNode {
    Path outer = 0;
    PathLiteral literal;
  };
  struct Flow {
    ExprRef adjoint;
    Path path = 0;
  };

  // ---- which nodes take part

 public:
  /// Operands through which an adjoint can flow.
  static std::vector<size_t> differentiable_operands(const Expr& e) {
    switch (e.op) {
      case Op::read:
        if (e.has_else) return {e.operands.size() - 1};
        return {};
      case Op::select:
        return {1, 2};
      case Op::custom: {
        std::vector<size_t> arguments;
        for (size_t i = 1; i + 1 < e.operands.size(); i += 2) arguments.push_back(i);
        return arguments;
      }
      case Op::negate:
      case Op::exp:
      case Op::log:
      case Op::log1p:
      case Op::expm1:
      case Op::sqrt:
      case Op::rsqrt:
      case Op::tanh:
      case Op::erf:
      case Op::sin:
      case Op::cos:
      case Op::abs:
      case Op::convert:
        return {0};
      case Op::add:
      case Op::subtract:
      case Op::multiply:
      case Op::divide:
      case Op::power:
      case Op::minimum:
      case Op::maximum:
        return {0, 1};
      default:
        return {};  // constants, indices, integers, conditions, floor, random numbers,
                    // stop_gradient
    }
  }

  /// Numbers the nodes that lead to an active read, operands first; equal subexpressions get one
  /// number. Says whether `e` is one of them.
  bool visit(const ExprRef& e) {
    if (!is_real_type(e)) return false;
    auto known = dependence_.find(e.get());
    if (known != dependence_.end()) return known->second != not_active;
    bool active = e->op == Op::read && context_.is_active(e->name);
    for (size_t i : differentiable_operands(*e)) active = visit(e->operands[i]) || active;
    size_t number = not_active;
    if (active) {
      auto [first, last] = by_hash_.equal_range(e->hash());
      for (auto it = first; it != last && number == not_active; ++it) {
        if (same(order_[it->second], e)) number = it->second;
      }
      if (number == not_active) {
        number = order_.size();
        order_.push_back(e);
        by_hash_.emplace(e->hash(), number);
      }
    }
    dependence_.emplace(e.get(), number);
    return active;
  }

  size_t number_of(const ExprRef& e) const {
    auto known = dependence_.find(e.get());
    return known == dependence_.end() ? not_active : known->second;
  }
  bool depends(const ExprRef& e) const { return number_of(e) != not_active; }

  // ---- paths

  Path extend(Path outer, const ExprRef& condition, bool holds) {
    if (condition->op == Op::logical_not) return extend(outer, condition->operands[0], !holds);
    if (outer == dead) return dead;
    // A condition that is already on the path adds nothing; its opposite cannot be met.
    for (Path at = outer; at != 0; at = paths_[at].outer) {
      if (same(paths_[at].literal.condition, condition)) {
        return paths_[at].literal.holds == holds ? outer : dead;
      }
    }
    auto [first, last] = path_by_hash_.equal_range(condition->hash() + outer * 2 + (holds ? 1 : 0));
    for (auto it = first; it != last; ++it) {
      const PathNode& node = paths_[it->second];
      if (node.outer == outer && node.literal.holds == holds &&
          same(node.literal.condition, condition)) {
        return it->second;
      }
    }
    paths_.push_back({outer, {condition, holds}});
    path_by_hash_.emplace(condition->hash() + outer * 2 + (holds ? 1 : 0), paths_.size() - 1);
    return paths_.size() - 1;
  }

  /// The conditions of a path, outermost first. Long ones end up in a statement of their own.
  const std::vector<PathLiteral>& literals(Path path) {
    // Filled from the outside in, without recursion: paths can be as long as expressions are deep.
    std::vector<Path> missing;
    for (Path at = path; !literals_.contains(at); at = paths_[at].outer) missing.push_back(at);
    for (size_t i = missing.size(); i-- > 0;) {
      const PathNode& node = paths_[missing[i]];
      std::vector<PathLiteral> list = literals_.at(node.outer);
      list.push_back({strip(node.literal.condition), node.literal.holds});
      int64_t nodes = 0;
      for (const PathLiteral& literal : list) nodes += literal.condition->node_count() + 1;
      if (context_.lift && list.size() > 1 && nodes > 2 * context_.largest) {
        // As nested `if`s: reads in later conditions may rely on earlier ones.
        ExprRef all = to_expr(list.back());
        for (size_t k = list.size() - 1; k-- > 0;) {
          all = make_select(to_expr(list[k]), all, make_boolean(false));
        }
        if (ExprRef read = context_.lift(all, {})) list = {{read, true}};
      }
      literals_.emplace(missing[i], std::move(list));
    }
    return literals_.at(path);
  }

  /// Adds adjoints that arrive on equal paths, and on the two branches of one `if`. With `to_one`,
  /// many that remain are gathered in one flow, so that the work stays linear; few stay apart,
  /// because a gathered one has lost the conditions under which it is needed.
  std::vector<Flow> merge(std::vector<Flow> flows, bool to_one) {
    std::vector<Flow> merged;
    for (Flow& flow : flows) {
      auto equal = std::find_if(merged.begin(), merged.end(),
                                [&](const Flow& other) { return other.path == flow.path; });
      if (equal == merged.end()) {
        merged.push_back(std::move(flow));
      } else {
        equal->adjoint = bounded(neat_add(equal->adjoint, flow.adjoint), flow.path);
      }
    }
    while (join_branches(merged)) continue;
    constexpr size_t few = 4;
    if (!to_one || merged.size() <= few) return merged;
    Path common = merged[0].path;
    for (const Flow& flow : merged) common = common_prefix(common, flow.path);
    ExprRef total;
    for (const Flow& flow : merged) {
      ExprRef part = flow.adjoint;
      for (Path at = flow.path; at != common; at = paths_[at].outer) {
        part = choose(paths_[at].literal, part, real_like(0, part));
      }
      total = total == nullptr ? part : neat_add(total, part);
    }
    return {{total, common}};
  }

  bool join_branches(std::vector<Flow>& flows) {
    for (size_t i = 0; i < flows.size(); ++i) {
      for (size_t j = i + 1; j < flows.size(); ++j) {
        const PathNode& a = paths_[flows[i].path];
        const PathNode& b = paths_[flows[j].path];
        if (flows[i].path == 0 || flows[j].path == 0 || a.outer != b.outer ||
            a.literal.holds == b.literal.holds || !same(a.literal.condition, b.literal.condition)) {
          continue;
        }
        Flow joined{choose(a.literal, flows[i].adjoint, flows[j].adjoint), a.outer};
        flows.erase(flows.begin() + static_cast<ptrdiff_t>(j));
        flows.erase(flows.begin() + static_cast<ptrdiff_t>(i));
        for (Flow& other : flows) {
          if (other.path != joined.path) continue;
          other.adjoint = neat_add(other.adjoint, joined.adjoint);
          return true;
        }
        flows.insert(flows.begin() + static_cast<ptrdiff_t>(i), std::move(joined));
        return true;
      }
    }
    return false;
  }

  ExprRef choose(const PathLiteral& literal, const ExprRef& if_holds, const ExprRef& otherwise) {
    if (same(if_holds, otherwise)) return if_holds;
    ExprRef condition = strip(literal.condition);
    return literal.holds ? make_select(condition, if_holds, otherwise)
                         : make_select(condition, otherwise, if_holds);
  }

  size_t path_depth(Path path) const {
    size_t depth = 0;
    for (; path != 0; path = paths_[path].outer) ++depth;
    return depth;
  }

  Path common_prefix(Path a, Path b) const {
    size_t depth_a = path_depth(a);
    size_t depth_b = path_depth(b);
    for (; depth_a > depth_b; --depth_a) a = paths_[a].outer;
    for (; depth_b > depth_a; --depth_b) b = paths_[b].outer;
    while (a != b) {
      a = paths_[a].outer;
      b = paths_[b].outer;
    }
    return a;
  }

  // ---- values in slopes

  ExprRef strip(const ExprRef& e) { return stripper_.strip(e); }

  /// The adjoint, moved into a statement of its own if it has grown large.
  ExprRef bounded(const ExprRef& e, Path path) {
    if (!context_.lift || e->node_count() <= context_.largest) return e;
    ExprRef read = context_.lift(e, literals(path));
    return read == nullptr ? e : read;
  }

  /// The value of a subexpression of the root for use in a slope: at most about `largest` nodes.
  ExprRef value(const ExprRef& e, Path path) {
    if (context_.root_value != nullptr && e == root_ && !e->operands.empty() && e->op != Op::read) {
      return context_.root_value;
    }
    if (!context_.lift || e->node_count() <= context_.largest) return strip(e);
    if (e->op == Op::stop_gradient || e->op == Op::custom) return value(e->operands[0], path);
    auto known = values_.find({e.get(), path});
    if (known != values_.end()) return known->second;
    std::vector<ExprRef> operands;
    for (size_t i = 0; i < e->operands.size(); ++i) {
      const ExprRef& operand = e->operands[i];
      if (e->op == Op::select && i > 0) {
        Path branch = extend(path, e->operands[0], i == 1);
        operands.push_back(branch == dead ? real_like(0, operand) : value(operand, branch));
      } else if (is_real_type(operand)) {
        operands.push_back(value(operand, path));
      } else {
        operands.push_back(strip(operand));
      }
    }
    auto count = [&] {
      int64_t nodes = 1;
      for (const ExprRef& operand : operands) nodes += operand->node_count();
      return nodes;
    };
    while (count() > context_.largest) {
      size_t heaviest = operands.size();
      for (size_t i = 0; i < operands.size(); ++i) {
        if (!is_real_type(operands[i]) || operands[i]->node_count() * 4 < context_.largest)
          continue;
        if (heaviest == operands.size() ||
            operands[i]->node_count() > operands[heaviest]->node_count()) {
          heaviest = i;
        }
      }
      if (heaviest == operands.size()) break;
      Path where =
          e->op == Op::select && heaviest > 0 ? extend(path, e->operands[0], heaviest == 1) : path;
      ExprRef read = context_.lift(operands[heaviest], literals(where));
      if (read == nullptr) break;
      operands[heaviest] = read;
    }
    ExprRef result = with_operands(*e, std::move(operands));
    values_.emplace(std::pair{e.get(), path}, result);
    return result;
  }

  // ---- the rules

  void send(const ExprRef& operand, const ExprRef& adjoint, Path path) {
    size_t number = number_of(operand);
    if (number != not_active && path != dead) flows_[number].push_back({adjoint, path});
  }

  /// Zero adjoints annihilate: the slope is never looked at where the adjoint is 0.
  ExprRef unless_zero(const ExprRef& adjoint, const ExprRef& product) {
    if (never_zero(adjoint)) return product;
    ExprRef zero = real_like(0, adjoint);
    return make_select(make_binary(Op::equal, adjoint, zero), zero, product);
  }

  bool at_least_safe(const ExprRef& e, double offset) const {
    return real_bounds(e, context_.bounds).min + offset >= safe_distance;
  }

  bool never_zero(const ExprRef& e) const {
    RealBounds bounds = real_bounds(e, context_.bounds);
    return bounds.min >= safe_distance || bounds.max <= -safe_distance;
  }

  /// Whether a slope that a user wrote can be infinite or NaN for finite operands.
  bool slope_may_be_singular(const ExprRef& slope) const {
    bool singular = false;
    std::vector<ExprRef> stack = {slope};
    std::unordered_map<const Expr*, bool> seen;
    while (!stack.empty() && !singular) {
      ExprRef e = stack.back();
      stack.pop_back();
      if (!seen.emplace(e.get(), true).second || !is_real_type(e)) continue;
      singular = e->op == Op::log || e->op == Op::log1p || e->op == Op::sqrt ||
                 e->op == Op::rsqrt || e->op == Op::power ||
                 (e->op == Op::divide && !never_zero(e->operands[1]));
      for (const ExprRef& operand : e->operands) stack.push_back(operand);
    }
    return singular;
  }

  void send_back(const ExprRef& e, const Flow& flow) {
    const ExprRef& g = flow.adjoint;
    const Path path = flow.path;
    auto operand = [&](size_t i) -> const ExprRef& { return e->operands[i]; };
    auto a = [&] { return value(operand(0), path); };
    auto self = [&] { return value(e, path); };
    auto number = [&](double x) { return real_like(x, e); };
    auto to_first = [&](const ExprRef& adjoint) { send(operand(0), adjoint, path); };
    switch (e->op) {
      case Op::read:
        if (e->has_else && depends(e->else_value())) {
          if (ExprRef inside = context_.inside(*e)) {
            send(e->else_value(), g, extend(path, inside, false));
          }
        }
        return;
      case Op::negate:
        return to_first(neat_negate(g));
      case Op::convert:
        return to_first(make_convert(operand(0)->type.scalar, g));
      case Op::add:
        send(operand(0), g, path);
        send(operand(1), g, path);
        return;
      case Op::subtract:
        send(operand(0), g, path);
        send(operand(1), neat_negate(g), path);
        return;
      case Op::multiply:
        if (depends(operand(0))) {
          send(operand(0), neat_multiply(g, value(operand(1), path)), path);
        }
        if (depends(operand(1))) send(operand(1), neat_multiply(g, a()), path);
        return;
      case Op::divide: {
        ExprRef divisor = value(operand(1), path);
        auto guarded = [&](const ExprRef& product) {
          return never_zero(operand(1)) ? product : unless_zero(g, product);
        };
        if (depends(operand(0))) to_first(guarded(neat_divide(g, divisor)));
        if (depends(operand(1))) {
          // The slope is -a/b^2; with the quotient at hand, -(g * q / b).
          ExprRef product = neat_divide(neat_multiply(g, self()), divisor);
          send(operand(1), guarded(neat_negate(product)), path);
        }
        return;
      }
      case Op::power:
        return power(e, flow);
      case Op::minimum:
      case Op::maximum: {
        Op first_wins = e->op == Op::maximum ? Op::greater_equal : Op::less_equal;
        ExprRef first = make_binary(first_wins, value(operand(0), path), value(operand(1), path));
        send(operand(0), g, extend(path, first, true));
        send(operand(1), g, extend(path, first, false));
        return;
      }
      case Op::select:
        if (depends(operand(1))) send(operand(1), g, extend(path, operand(0), true));
        if (depends(operand(2))) send(operand(2), g, extend(path, operand(0), false));
        return;
      case Op::exp:
        return to_first(neat_multiply(g, self()));
      case Op::expm1:
        return to_first(neat_multiply(g, make_unary(Op::exp, a())));
      case Op::log: {
        ExprRef product = neat_divide(g, a());
        return to_first(at_least_safe(operand(0), 0) ? product : unless_zero(g, product));
      }
      case Op::log1p: {
        ExprRef product = neat_divide(g, make_binary(Op::add, number(1), a()));
        return to_first(at_least_safe(operand(0), 1) ? product : unless_zero(g, product));
      }
      case Op::sqrt: {
        ExprRef product = neat_divide(neat_multiply(g, number(0.5)), self());
        return to_first(at_least_safe(operand(0), 0) ? product : unless_zero(g, product));
      }
      case Op::rsqrt: {
        ExprRef root = self();
        ExprRef cube = make_binary(Op::multiply, make_binary(Op::multiply, root, root), root);
        ExprRef product = neat_multiply(neat_multiply(g, number(-0.5)), cube);
        return to_first(at_least_safe(operand(0), 0) ? product : unless_zero(g, product));
      }
      case Op::tanh: {
        ExprRef t = self();
        return to_first(neat_multiply(
            g, make_binary(Op::subtract, number(1), make_binary(Op::multiply, t, t))));
      }
      case Op::erf: {
        constexpr double two_over_root_pi = 1.1283791670955126;
        ExprRef x = a();
        ExprRef bell = make_unary(Op::exp, neat_negate(make_binary(Op::multiply, x, x)));
        return to_first(neat_multiply(neat_multiply(g, number(two_over_root_pi)), bell));
      }
      case Op::sin:
        return to_first(neat_multiply(g, make_unary(Op::cos, a())));
      case Op::cos:
        return to_first(neat_negate(neat_multiply(g, make_unary(Op::sin, a()))));
      case Op::abs: {
        ExprRef x = a();
        ExprRef zero = number(0);
        return to_first(
            make_select(make_binary(Op::greater, x, zero), g,
                        make_select(make_binary(Op::less, x, zero), neat_negate(g), zero)));
      }
      case Op::custom:
        for (size_t i = 1; i + 1 < e->operands.size(); i += 2) {
          if (!depends(operand(i))) continue;
          ExprRef product = neat_multiply(g, value(operand(i + 1), path));
          send(operand(i),
               slope_may_be_singular(operand(i + 1)) ? unless_zero(g, product) : product, path);
        }
        return;
      default:
        FG_UNREACHABLE("`{}` among the operators that adjoints flow through", spelling(e->op));
    }
  }

  void power(const ExprRef& e, const Flow& flow) {
    const ExprRef& base = e->operands[0];
    const ExprRef& exponent = e->operands[1];
    if (depends(exponent)) {
      mistake_ =
          "`^` has no derivative with respect to its exponent; write exp(n * log(a)) for a "
          "positive a";
      return;
    }
    const ExprRef& g = flow.adjoint;
    ExprRef a = value(base, flow.path);
    ExprRef n = strip(exponent);
    ExprRef factor;
    ExprRef lower;
    bool finite = false;
    if (is_constant(n)) {
      double value_of_n = constant_value(n);
      if (value_of_n == 0) return;
      finite = value_of_n >= 1;
      factor = real_like(value_of_n, e);
      lower = is_real_type(n)           ? real_like(value_of_n - 1, n)
              : n->integer != INT64_MIN ? make_integer(n->integer - 1, n->type.scalar)
                                        : n;
      if (constant_value(lower) == 0) {
        lower = nullptr;
      }
    } else if (is_real_type(n)) {
      factor = n;
      lower = make_binary(Op::subtract, n, real_like(1, n));
    } else {
      factor = make_convert(e->type.scalar, n);
      lower = make_binary(Op::subtract, n, make_integer(1, n->type.scalar));
    }
    ExprRef slope = factor;
    if (lower != nullptr) {
      ExprRef power_below =
          is_constant(lower) && constant_value(lower) == 1 ? a : make_binary(Op::power, a, lower);
      slope = neat_multiply(power_below, factor);
    }
    ExprRef product = neat_multiply(g, slope);
    send(base, finite || never_zero(base) ? product : unless_zero(g, product), flow.path);
  }

  static constexpr size_t not_active = std::numeric_limits<size_t>::max();
  static constexpr Path dead = std::numeric_limits<Path>::max();  // conditions that exclude others

  const ExprRef& root_;
  const ScalarContext& context_;
  std::string mistake_;
  MarkStripper stripper_;
  std::vector<ExprRef> order_;  // active nodes, operands first
  std::vector<std::vector<Flow>> flows_;
  std::vector<PathNode> paths_;
  std::map<Path, std::vector<PathLiteral>> literals_;
  std::map<std::pair<const Expr*, Path>, ExprRef> values_;  // only looked up, never walked
  std::unordered_map<const Expr*, size_t> dependence_;      // only looked up, never walked
  std::unordered_multimap<uint64_t, size_t> by_hash_;
  std::unordered_multimap<uint64_t, Path> path_by_hash_;
};

}  // namespace

bool leads_to_active(const ExprRef& e, const std::function<bool(std::string_view)>& is_active) {
  std::vector<const Expr*> stack = {e.get()};
  std::unordered_set<const Expr*> seen;
  while (!stack.empty()) {
    const Expr* node = stack.back();
    stack.pop_back();
    if (!is_real(node->type.scalar) || !seen.insert(node).second) continue;
    if (node->op == Op::read && is_active(node->name)) return true;
    for (size_t i : Reverse::differentiable_operands(*node)) {
      stack.push_back(node->operands[i].get());
    }
  }
  return false;
}

ScalarDerivative differentiate_expression(const ExprRef& root, const ExprRef& adjoint,
                                          const ScalarContext& context) {
  return Reverse(root, context).run(adjoint);
}

}  // namespace fusegrad::ir
