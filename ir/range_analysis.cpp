// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Interval arithmetic over sums of atoms, sharpened by linear facts.
#include "ir/range_analysis.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "ir/expr_text.h"

namespace fusegrad::ir {
namespace {

constexpr int64_t infinity = ValueRange::unbounded;

int64_t saturate(__int128 value) {
  if (value >= infinity) return infinity;
  if (value <= -infinity) return -infinity;
  return static_cast<int64_t>(value);
}

/// A lower end of -infinity and an upper end of infinity say nothing. An end that was cut at the
/// other infinity is still a bound, so it goes on as a number.
bool no_lower_end(int64_t end) { return end <= -infinity; }
bool no_upper_end(int64_t end) { return end >= infinity; }
bool is_bounded(ValueRange range) { return !no_lower_end(range.min) && !no_upper_end(range.max); }

int64_t add_numbers(int64_t a, int64_t b) { return saturate(static_cast<__int128>(a) + b); }
int64_t multiply_numbers(int64_t a, int64_t b) { return saturate(static_cast<__int128>(a) * b); }

ValueRange add_ranges(ValueRange a, ValueRange b) {
  return {no_lower_end(a.min) || no_lower_end(b.min) ? -infinity : add_numbers(a.min, b.min),
          no_upper_end(a.max) || no_upper_end(b.max) ? infinity : add_numbers(a.max, b.max)};
}

ValueRange scale_range(ValueRange a, int64_t factor) {
  if (factor == 0) return {0, 0};
  if (factor > 0) return {multiply_numbers(a.min, factor), multiply_numbers(a.max, factor)};
  return {multiply_numbers(a.max, factor), multiply_numbers(a.min, factor)};
}

ValueRange multiply_ranges(ValueRange a, ValueRange b) {
  if (!is_bounded(a) || !is_bounded(b)) {
    return a.min >= 0 && b.min >= 0 ? ValueRange{multiply_numbers(a.min, b.min), infinity}
                                    : ValueRange{};
  }
  const int64_t products[] = {multiply_numbers(a.min, b.min), multiply_numbers(a.min, b.max),
                              multiply_numbers(a.max, b.min), multiply_numbers(a.max, b.max)};
  return {*std::min_element(products, products + 4), *std::max_element(products, products + 4)};
}

ValueRange intersect(ValueRange a, ValueRange b) {
  return {std::max(a.min, b.min), std::min(a.max, b.max)};
}

ValueRange unite(ValueRange a, ValueRange b) {
  if (a.min > a.max) return b;
  if (b.min > b.max) return a;
  return {std::min(a.min, b.min), std::max(a.max, b.max)};
}

/// The values of x // divisor.
ValueRange divide_range(ValueRange x, int64_t divisor) {
  return {no_lower_end(x.min) ? x.min : floor_divide(x.min, divisor),
          no_upper_end(x.max) ? x.max : floor_divide(x.max, divisor)};
}

/// The values of x where factor * x is in `product`, factor not 0.
ValueRange solve_product(ValueRange product, int64_t factor) {
  if (factor < 0) {
    product = scale_range(product, -1);
    factor = -factor;
  }
  // ceil(min / factor) and floor(max / factor)
  return {no_lower_end(product.min) ? product.min : -floor_divide(-product.min, factor),
          no_upper_end(product.max) ? product.max : floor_divide(product.max, factor)};
}

bool is_integer_scalar(const ExprRef& e) {
  return is_integer(e->type.scalar) && e->type.lanes == 1;
}

}  // namespace

ValueRange range_of_type(ScalarType type) {
  switch (type) {
    case ScalarType::boolean:
      return {0, 1};
    case ScalarType::u8:
      return {0, 255};
    case ScalarType::i32:
      return {INT32_MIN, INT32_MAX};
    case ScalarType::i64:
    case ScalarType::f32:
    case ScalarType::f64:
      return {};
  }
  return {};
}

RangeAnalysis::RangeAnalysis(int64_t rows) : rows_(rows) {}

void RangeAnalysis::add_index(std::string_view name, int64_t begin, int64_t end) {
  indices_[std::string(name)] = {begin, end - 1};
  if (begin >= end) unreachable_ = true;
}

void RangeAnalysis::add_tensor(std::string_view name, ValueRange values) {
  tensors_[std::string(name)] = values;
}

// ---- Sums.

std::string RangeAnalysis::text(const Sum& sum) {
  std::string result = fmt::format("{}", sum.constant);
  for (const auto& [key, term] : sum.terms) result += fmt::format("+{}*{}", term.coefficient, key);
  return result;
}

RangeAnalysis::Sum RangeAnalysis::constant_sum(int64_t value) {
  Sum sum;
  sum.constant = value;
  return sum;
}

/// to += factor * from; false when 64 bits overflow (`to` is useless then).
bool RangeAnalysis::add_scaled(Sum& to, const Sum& from, int64_t factor) {
  if (factor == 0) return true;
  for (const auto& [key, term] : from.terms) {
    std::optional<int64_t> product = checked_multiply(term.coefficient, factor);
    if (!product) return false;
    auto [position, inserted] = to.terms.try_emplace(key, Term{term.atom, 0});
    std::optional<int64_t> sum = checked_add(position->second.coefficient, *product);
    if (!sum) return false;
    position->second.coefficient = *sum;
    if (*sum == 0) to.terms.erase(position);
  }
  std::optional<int64_t> product = checked_multiply(from.constant, factor);
  std::optional<int64_t> sum = product ? checked_add(to.constant, *product) : std::nullopt;
  if (!sum) return false;
  to.constant = *sum;
  return true;
}

RangeAnalysis::Sum RangeAnalysis::atom_sum(std::string key, Atom atom) const {
  Sum sum;
  sum.terms[std::move(key)] = {std::make_shared<const Atom>(std::move(atom)), 1};
  return sum;
}

RangeAnalysis::Sum RangeAnalysis::opaque(const ExprRef& e) const {
  Atom atom;
  atom.range = range_of_opaque(*e);
  if (e->op == Op::index || e->op == Op::uniform || (e->op == Op::read && !e->has_else)) {
    atom.declared = atom.range;
  }
  // A read is known by its tensor and the canonical form of its indices.
  if (e->op == Op::read && !e->has_else) {
    std::string key = e->name;
    for (const ExprRef& index : e->operands) key += fmt::format("[{}]", text(sum_of(index)));
    return atom_sum(std::move(key), std::move(atom));
  }
  return atom_sum(print_expression(e, {}), std::move(atom));
}

/// d * (x // d) + x % d is x.
void RangeAnalysis::join_quotients(Sum& sum) {
  for (const auto& [key, term] : sum.terms) {
    if (term.atom->kind != Atom::Kind::remainder) continue;
    std::optional<int64_t> wanted = checked_multiply(term.coefficient, term.atom->divisor);
    if (!wanted) continue;
    const std::string quotient =
        fmt::format("({})//{}", text(term.atom->inside), term.atom->divisor);
    auto found = sum.terms.find(quotient);
    if (found == sum.terms.end() || found->second.coefficient != *wanted) continue;
    const Sum inside = term.atom->inside;
    const int64_t factor = term.coefficient;
    Sum joined = sum;
    joined.terms.erase(key);
    joined.terms.erase(quotient);
    if (!add_scaled(joined, inside, factor)) return;
    sum = std::move(joined);
    return join_quotients(sum);
  }
}

/// inside // divisor, or inside % divisor; nothing when 64 bits overflow.
std::optional<RangeAnalysis::Sum> RangeAnalysis::divided(const Sum& inside, int64_t divisor,
                                                         bool remainder) const {
  // Multiples of the divisor come out: (d*q + r) // d is q + r // d, (d*q + r) % d is r % d.
  Sum whole;
  Sum rest;
  for (const auto& [key, term] : inside.terms) {
    const bool multiple = term.coefficient % divisor == 0;
    Sum& target = multiple ? whole : rest;
    target.terms[key] = {term.atom, multiple ? term.coefficient / divisor : term.coefficient};
  }
  whole.constant = floor_divide(inside.constant, divisor);
  rest.constant = floor_modulo(inside.constant, divisor);
  const ValueRange rest_range = declared_range(rest);
  if (rest_range.min >= 0 && rest_range.max < divisor) {
    return remainder ? rest : whole;  // r // d is 0
  }
  Atom atom;
  atom.kind = remainder ? Atom::Kind::remainder : Atom::Kind::quotient;
  atom.divisor = divisor;
  // (x // a) // b is x // (a*b); (x % (a*b)) % a is x % a.
  if (rest.terms.size() == 1 && rest.constant == 0) {
    const Term& only = rest.terms.begin()->second;
    if (only.coefficient == 1 && only.atom->kind == atom.kind) {
      std::optional<int64_t> product = checked_multiply(only.atom->divisor, divisor);
      if (!remainder && product) {
        atom.divisor = *product;
        rest = only.atom->inside;
      } else if (remainder && only.atom->divisor % divisor == 0) {
        return divided(only.atom->inside, divisor, true);
      }
    }
  }
  auto range_of = [&](ValueRange values) -> ValueRange {
    const ValueRange quotient = divide_range(values, atom.divisor);
    if (!remainder) return quotient;
    if (!is_bounded(values) || quotient.min != quotient.max) return {0, divisor - 1};
    return {floor_modulo(values.min, divisor), floor_modulo(values.max, divisor)};
  };
  atom.range = range_of(range_with_facts(rest, 1));
  atom.declared = range_of(declared_range(rest));
  atom.inside = rest;
  const std::string key = fmt::format("({}){}{}", text(rest), remainder ? "%" : "//", atom.divisor);
  Sum result = atom_sum(key, std::move(atom));
  if (!remainder && !add_scaled(result, whole, 1)) return std::nullopt;
  return result;
}

RangeAnalysis::Sum RangeAnalysis::sum_of(const ExprRef& e) const {
  if (!is_integer_scalar(e)) return opaque(e);
  if (e->op == Op::constant) return constant_sum(e->integer);
  if (e->op == Op::uniform && e->name == "rows") return constant_sum(rows_);
  if (e->op == Op::negate) {
    Sum sum;
    return add_scaled(sum, sum_of(e->operands[0]), -1) ? sum : opaque(e);
  }
  if (e->op == Op::add || e->op == Op::subtract) {
    Sum sum = sum_of(e->operands[0]);
    if (!add_scaled(sum, sum_of(e->operands[1]), e->op == Op::add ? 1 : -1)) return opaque(e);
    join_quotients(sum);
    return sum;
  }
  if (e->op == Op::multiply) {
    Sum left = sum_of(e->operands[0]);
    Sum right = sum_of(e->operands[1]);
    if (left.terms.empty()) std::swap(left, right);
    Sum sum;
    if (!right.terms.empty() || !add_scaled(sum, left, right.constant)) return opaque(e);
    return sum;
  }
  if (e->op == Op::floor_divide || e->op == Op::modulo) {
    const Sum divisor = sum_of(e->operands[1]);
    if (!divisor.terms.empty() || divisor.constant <= 0) return opaque(e);
    std::optional<Sum> sum = divided(sum_of(e->operands[0]), divisor.constant, e->op == Op::modulo);
    return sum ? std::move(*sum) : opaque(e);
  }
  return opaque(e);
}

// ---- Ranges.

ValueRange RangeAnalysis::range_of_opaque(const Expr& e) const {
  auto operand = [&](size_t i) { return range_with_facts(sum_of(e.operands[i]), 1); };
  if (e.op == Op::index) {
    auto found = indices_.find(e.name);
    return found == indices_.end() ? ValueRange{} : found->second;
  }
  // Counts start at 0; a seed may be any number.
  if (e.op == Op::uniform && e.name != "seed") return {0, infinity};
  if (e.op == Op::read) {
    auto found = tensors_.find(e.name);
    const ValueRange values = found == tensors_.end() ? ValueRange{} : found->second;
    return e.has_else ? unite(values, operand(e.operands.size() - 1)) : values;
  }
  if (e.op == Op::multiply) return multiply_ranges(operand(0), operand(1));
  if (e.op == Op::minimum || e.op == Op::maximum) {
    const ValueRange a = operand(0);
    const ValueRange b = operand(1);
    if (e.op == Op::minimum) return {std::min(a.min, b.min), std::min(a.max, b.max)};
    return {std::max(a.min, b.min), std::max(a.max, b.max)};
  }
  if (e.op == Op::abs) {
    const ValueRange a = operand(0);
    const ValueRange minus_a = scale_range(a, -1);
    return {std::max<int64_t>({0, a.min, minus_a.min}), std::max(a.max, minus_a.max)};
  }
  if (e.op == Op::select) {
    ValueRange values = {1, 0};
    for (bool taken : {true, false}) {
      RangeAnalysis branch = *this;
      branch.assume(e.operands[0], taken);
      if (!branch.unreachable()) values = unite(values, branch.range(e.operands[taken ? 1 : 2]));
    }
    return values;
  }
  if (e.op == Op::convert) {
    const ValueRange limits = range_of_type(e.type.scalar);
    if (e.operands[0]->type.scalar == ScalarType::boolean) return {0, 1};
    if (!is_integer_scalar(e.operands[0])) return limits;
    const ValueRange values = operand(0);
    const bool fits = limits == ValueRange{} || intersect(values, limits) == values;
    return fits ? values : limits;  // a narrowing conversion wraps
  }
  return {};
}

/// What was known when the atom was made, and what facts have told since.
ValueRange RangeAnalysis::range_of_atom(const std::string& key, const Atom& atom) const {
  auto found = tightened_.find(key);
  return found == tightened_.end() ? atom.range : intersect(atom.range, found->second);
}

ValueRange RangeAnalysis::range_by_terms(const Sum& sum) const {
  ValueRange range = {sum.constant, sum.constant};
  for (const auto& [key, term] : sum.terms) {
    range = add_ranges(range, scale_range(range_of_atom(key, *term.atom), term.coefficient));
  }
  return range;
}

ValueRange RangeAnalysis::declared_range(const Sum& sum) {
  ValueRange range = {sum.constant, sum.constant};
  for (const auto& [key, term] : sum.terms) {
    range = add_ranges(range, scale_range(term.atom->declared, term.coefficient));
  }
  return range;
}

/// x + d * others in min..max says that x // d + others is in min // d..max // d: the fact about
/// the quotient, if the given one has that form for the quotient's x and d.
std::optional<RangeAnalysis::Fact> RangeAnalysis::fact_of_quotient(const std::string& key,
                                                                   const Atom& quotient,
                                                                   const Fact& fact) const {
  if (quotient.inside.terms.empty()) return std::nullopt;
  const auto& [first, term] = *quotient.inside.terms.begin();
  auto found = fact.sum.terms.find(first);
  if (found == fact.sum.terms.end()) return std::nullopt;
  const int64_t sign = found->second.coefficient == term.coefficient    ? 1
                       : found->second.coefficient == -term.coefficient ? -1
                                                                        : 0;
  Sum others;
  if (sign == 0 || !add_scaled(others, fact.sum, sign) ||
      !add_scaled(others, quotient.inside, -1)) {
    return std::nullopt;
  }
  Fact result;
  for (const auto& [name, other] : others.terms) {
    if (other.coefficient % quotient.divisor != 0) return std::nullopt;
    result.sum.terms[name] = {other.atom, other.coefficient / quotient.divisor};
  }
  Sum self;
  self.terms[key] = {std::make_shared<const Atom>(quotient), 1};
  if (!add_scaled(result.sum, self, 1)) return std::nullopt;
  const ValueRange shifted = add_ranges(scale_range(fact.range, sign),
                                        scale_range({others.constant, others.constant}, -1));
  result.range = divide_range(shifted, quotient.divisor);
  return result;
}

/// Interval arithmetic, or better: sum = c * fact + rest, for every fact that removes a term.
ValueRange RangeAnalysis::range_with_facts(const Sum& sum, int facts) const {
  ValueRange best = range_by_terms(sum);
  if (facts == 0) return best;
  for (const Fact& fact : facts_) {
    std::vector<int64_t> tried;
    for (const auto& [key, term] : fact.sum.terms) {
      auto found = sum.terms.find(key);
      if (found == sum.terms.end() || found->second.coefficient % term.coefficient != 0) continue;
      const int64_t factor = found->second.coefficient / term.coefficient;
      if (std::find(tried.begin(), tried.end(), factor) != tried.end()) continue;
      tried.push_back(factor);
      Sum rest = sum;
      if (!add_scaled(rest, fact.sum, -factor)) continue;
      best = intersect(
          best, add_ranges(scale_range(fact.range, factor), range_with_facts(rest, facts - 1)));
    }
  }
  // d * (others + c * (x // d)) is d * others + c * x - c * (x % d), where facts about x count.
  for (const auto& [key, term] : sum.terms) {
    if (term.atom->kind != Atom::Kind::quotient) continue;
    const int64_t divisor = term.atom->divisor;
    Sum others = sum;
    others.terms.erase(key);
    Sum product;
    if (!add_scaled(product, others, divisor) ||
        !add_scaled(product, term.atom->inside, term.coefficient)) {
      continue;
    }
    const ValueRange remainder = scale_range({0, divisor - 1}, -term.coefficient);
    best = intersect(
        best, solve_product(add_ranges(range_with_facts(product, facts - 1), remainder), divisor));
    for (const Fact& fact : facts_) {
      std::optional<Fact> derived = fact_of_quotient(key, *term.atom, fact);
      Sum rest = sum;
      if (!derived || !add_scaled(rest, derived->sum, -term.coefficient)) continue;
      best = intersect(best, add_ranges(scale_range(derived->range, term.coefficient),
                                        range_with_facts(rest, facts - 1)));
    }
  }
  return best;
}

ValueRange RangeAnalysis::range(const ExprRef& e) const { return range_with_facts(sum_of(e), 2); }

bool RangeAnalysis::proves_within(const ExprRef& e, int64_t extent) const {
  if (unreachable_) return true;
  const ValueRange values = range(e);
  return values.min >= 0 && values.max < extent;
}

// ---- Facts.

void RangeAnalysis::assume(const ExprRef& condition, bool holds) {
  if (condition->op == Op::constant) {
    if ((condition->integer != 0) != holds) unreachable_ = true;
  } else if (condition->op == Op::logical_not) {
    assume(condition->operands[0], !holds);
  } else if (condition->op == (holds ? Op::logical_and : Op::logical_or)) {
    assume(condition->operands[0], holds);
    assume(condition->operands[1], holds);
  } else if (is_comparison(condition->op)) {
    assume_comparison(*condition, holds);
  }
}

void RangeAnalysis::assume_comparison(const Expr& comparison, bool holds) {
  if (!is_integer_scalar(comparison.operands[0])) return;
  Sum difference = sum_of(comparison.operands[0]);
  if (!add_scaled(difference, sum_of(comparison.operands[1]), -1)) return;
  join_quotients(difference);
  const ValueRange negative = {-infinity, -1};
  const ValueRange not_positive = {-infinity, 0};
  const ValueRange positive = {1, infinity};
  const ValueRange not_negative = {0, infinity};
  if (comparison.op == Op::less) {
    add_fact(std::move(difference), holds ? negative : not_negative);
  } else if (comparison.op == Op::less_equal) {
    add_fact(std::move(difference), holds ? not_positive : positive);
  } else if (comparison.op == Op::greater) {
    add_fact(std::move(difference), holds ? positive : not_positive);
  } else if (comparison.op == Op::greater_equal) {
    add_fact(std::move(difference), holds ? not_negative : negative);
  } else if ((comparison.op == Op::equal) == holds) {
    add_fact(std::move(difference), {0, 0});
  } else {
    // Different says something only at an end of the range.
    const ValueRange now = range_with_facts(difference, 2);
    if (now == ValueRange{0, 0}) unreachable_ = true;
    if (now.min == 0) add_fact(difference, positive);
    if (now.max == 0) add_fact(difference, negative);
  }
}

void RangeAnalysis::add_fact(Sum sum, ValueRange range) {
  const ValueRange now = range_with_facts(sum, 2);
  range = intersect(range, now);
  if (range.min > range.max) unreachable_ = true;
  if (sum.terms.empty() || range == now) return;  // nothing new
  facts_.push_back({std::move(sum), range});
  tighten();
}

/// Carries facts over to the atoms in them, and from quotients to what is divided, until nothing
/// changes (a few rounds: each one is sound by itself).
void RangeAnalysis::tighten() {
  for (int round = 0; round < 3; ++round) {
    bool changed = false;
    for (size_t f = 0; f < facts_.size(); ++f) {
      const Fact fact = facts_[f];
      for (const auto& [key, term] : fact.sum.terms) {
        Sum others = fact.sum;
        others.terms.erase(key);
        const ValueRange rest = range_by_terms(others);
        const ValueRange product = add_ranges(fact.range, scale_range(rest, -1));
        const ValueRange now = range_of_atom(key, *term.atom);
        const ValueRange sharper = intersect(now, solve_product(product, term.coefficient));
        if (sharper == now) continue;
        if (sharper.min > sharper.max) unreachable_ = true;
        tightened_[key] = sharper;
        changed = true;
        if (term.atom->kind == Atom::Kind::quotient && facts_.size() < 64) {
          // min <= x // d <= max means d*min <= x <= d*max + d - 1
          const int64_t divisor = term.atom->divisor;
          facts_.push_back(
              {term.atom->inside, add_ranges(scale_range(sharper, divisor), {0, divisor - 1})});
        }
        if (term.atom->kind == Atom::Kind::remainder && facts_.size() < 64) {
          // x = d * (x // d) + x % d
          const int64_t divisor = term.atom->divisor;
          const ValueRange quotient = divide_range(range_by_terms(term.atom->inside), divisor);
          facts_.push_back(
              {term.atom->inside, add_ranges(scale_range(quotient, divisor), sharper)});
        }
      }
    }
    if (!changed) return;
  }
}

void walk_with_ranges(const ExprRef& e, const RangeAnalysis& here,
                      const std::function<void(const Expr&, const RangeAnalysis&)>& visit) {
  visit(*e, here);
  if (e->op != Op::select) {
    for (const ExprRef& operand : e->operands) walk_with_ranges(operand, here, visit);
    return;
  }
  walk_with_ranges(e->operands[0], here, visit);
  for (bool taken : {true, false}) {
    RangeAnalysis branch = here;
    branch.assume(e->operands[0], taken);
    walk_with_ranges(e->operands[taken ? 1 : 2], branch, visit);
  }
}

}  // namespace fusegrad::ir
