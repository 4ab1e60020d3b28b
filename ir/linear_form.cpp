// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Index arithmetic: solving index maps, proving reads in range and writing addresses all need to
// know that `i // 28 * 28 + i % 28` is `i`. They ask here.
#include "ir/linear_form.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <numeric>
#include <utility>

#include "ir/support/check.h"

namespace fusegrad::ir {

namespace {

using Wide = __int128;

std::optional<int64_t> narrow(Wide value) {
  if (value < std::numeric_limits<int64_t>::min() || value > std::numeric_limits<int64_t>::max()) {
    return std::nullopt;
  }
  return static_cast<int64_t>(value);
}

bool is_integer_scalar(const Expr& e) { return e.type == Type{ScalarType::i64}; }

/// An integer that is in normal form as it stands; most indices of reads are no more than that.
bool is_normal_leaf(const Expr& e) {
  return e.op == Op::index || e.op == Op::uniform || e.op == Op::variable || e.op == Op::constant;
}

int leaf_rank(Op op) { return op == Op::index || op == Op::variable || op == Op::uniform ? 0 : 1; }

/// A total order by what is written, not by addresses: named leaves first, by name.
int compare(const ExprRef& a, const ExprRef& b) {
  if (a == b) return 0;
  if (int d = leaf_rank(a->op) - leaf_rank(b->op)) return d;
  if (leaf_rank(a->op) == 0) {
    if (int d = a->name.compare(b->name)) return d;
    return static_cast<int>(a->op) - static_cast<int>(b->op);
  }
  if (a->op != b->op) return static_cast<int>(a->op) - static_cast<int>(b->op);
  if (a->operands.size() != b->operands.size()) {
    return a->operands.size() < b->operands.size() ? -1 : 1;
  }
  if (int d = a->name.compare(b->name)) return d;
  for (size_t i = 0; i < a->operands.size(); ++i) {
    if (int d = compare(a->operands[i], b->operands[i])) return d;
  }
  if (a->type.scalar != b->type.scalar) return a->type.scalar < b->type.scalar ? -1 : 1;
  if (a->integer != b->integer) return a->integer < b->integer ? -1 : 1;
  if (a->hash() != b->hash()) return a->hash() < b->hash() ? -1 : 1;
  return 0;
}

/// No coefficient is ever the smallest integer, whose magnitude has no representation.
bool canonical_order(const LinearForm::Term& a, const LinearForm::Term& b) {
  int64_t left = std::abs(a.coefficient);
  int64_t right = std::abs(b.coefficient);
  if (left != right) return left > right;
  if (a.coefficient != b.coefficient) return a.coefficient > b.coefficient;
  return compare(a.atom, b.atom) < 0;
}

/// Reads back an expression that to_expr wrote, without normalising its atoms again (so that the
/// work stays linear in nested divisions).
std::optional<LinearForm> shallow_form(const ExprRef& e);

bool collect_terms(const ExprRef& e, int64_t factor, LinearForm& form) {
  switch (e->op) {
    case Op::constant: {
      std::optional<int64_t> product = checked_multiply(e->integer, factor);
      std::optional<int64_t> sum = product ? checked_add(form.constant, *product) : std::nullopt;
      if (!sum) return false;
      form.constant = *sum;
      return true;
    }
    case Op::add:
      return collect_terms(e->operands[0], factor, form) &&
             collect_terms(e->operands[1], factor, form);
    case Op::subtract: {
      std::optional<int64_t> minus = checked_multiply(factor, -1);
      return minus && collect_terms(e->operands[0], factor, form) &&
             collect_terms(e->operands[1], *minus, form);
    }
    case Op::negate: {
      std::optional<int64_t> minus = checked_multiply(factor, -1);
      return minus && collect_terms(e->operands[0], *minus, form);
    }
    case Op::multiply:
      if (is_constant(e->operands[1])) {
        std::optional<int64_t> product = checked_multiply(factor, e->operands[1]->integer);
        return product && *product != INT64_MIN && collect_terms(e->operands[0], *product, form);
      }
      [[fallthrough]];
    default:
      form.terms.push_back({e, factor});
      return true;
  }
}

std::optional<LinearForm> shallow_form(const ExprRef& e) {
  LinearForm form;
  if (!collect_terms(e, 1, form)) return std::nullopt;
  std::sort(form.terms.begin(), form.terms.end(), canonical_order);
  return form;
}

LinearForm form_of_atom_operand(const ExprRef& e) {
  std::optional<LinearForm> form = shallow_form(e);
  return form ? *form : LinearForm::atom(e);
}

/// a OP b is b mirrored(OP) a.
Op mirrored(Op op) {
  switch (op) {
    case Op::less:
      return Op::greater;
    case Op::less_equal:
      return Op::greater_equal;
    case Op::greater:
      return Op::less;
    case Op::greater_equal:
      return Op::less_equal;
    default:
      return op;
  }
}

/// not (a OP b) is a opposite(OP) b.
Op opposite(Op op) {
  switch (op) {
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

/// All the work, for fixed ranges.
class Normalizer {
 public:
  explicit Normalizer(const IndexRanges& ranges) : ranges_(ranges) {}

  LinearForm form(const ExprRef& e);
  ExprRef simplify(const ExprRef& e);
  LinearForm divide(const LinearForm& form, int64_t divisor);
  LinearForm remainder(const LinearForm& form, int64_t divisor);
  std::optional<LinearForm> combine(std::vector<LinearForm::Term> terms, Wide constant);
  std::optional<LinearForm> sum(const LinearForm& a, const LinearForm& b, int64_t factor);
  std::optional<Interval> interval(const LinearForm& form);

 private:
  bool join_one_digit_pair(LinearForm& form);
  bool collect_sum(const ExprRef& e, int sign, std::vector<LinearForm::Term>& terms,
                   Wide& constant);
  LinearForm opaque(const ExprRef& e);
  ExprRef simplify_node(const ExprRef& e);
  ExprRef simplify_comparison(const ExprRef& e);
  std::optional<LinearForm> extreme(const LinearForm& form, bool upper);
  std::optional<LinearForm> extreme_of_atom(const ExprRef& atom, bool upper);
  std::optional<Interval> interval_of_atom(const ExprRef& atom);
  std::optional<Interval> interval_in_rows(const LinearForm& form);
  std::optional<Interval> interval_of_operand(const ExprRef& e) {
    return interval(form_of_atom_operand(e));
  }

  /// Counts an application of the rule.
  void applied(SimplifyRule rule) const { count(ranges_.counts, rule); }

  const IndexRanges& ranges_;
};

// ---------------------------------------------------------------- intervals

std::optional<Interval> divide_interval(std::optional<Interval> x, int64_t divisor) {
  if (!x) return std::nullopt;
  return Interval{floor_divide(x->min, divisor), floor_divide(x->max, divisor)};
}

Interval remainder_interval(std::optional<Interval> x, int64_t divisor) {
  if (x && floor_divide(x->min, divisor) == floor_divide(x->max, divisor)) {
    return {floor_modulo(x->min, divisor), floor_modulo(x->max, divisor)};
  }
  return {0, divisor - 1};
}

Interval hull(Interval a, Interval b) { return {std::min(a.min, b.min), std::max(a.max, b.max)}; }

std::optional<Interval> Normalizer::interval_of_atom(const ExprRef& atom) {
  const Expr& e = *atom;
  switch (e.op) {
    case Op::index:
    case Op::uniform:
    case Op::variable: {
      auto found = ranges_.by_name.find(e.name);
      if (found == ranges_.by_name.end()) return std::nullopt;
      return found->second;
    }
    case Op::floor_divide:
      if (is_constant(e.operands[1]) && e.operands[1]->integer > 0) {
        return divide_interval(interval_of_operand(e.operands[0]), e.operands[1]->integer);
      }
      return std::nullopt;
    case Op::modulo:
      if (is_constant(e.operands[1]) && e.operands[1]->integer > 0) {
        return remainder_interval(interval_of_operand(e.operands[0]), e.operands[1]->integer);
      }
      return std::nullopt;
    case Op::minimum:
    case Op::maximum: {
      std::optional<Interval> a = interval_of_operand(e.operands[0]);
      std::optional<Interval> b = interval_of_operand(e.operands[1]);
      if (!a || !b) return std::nullopt;
      if (e.op == Op::minimum) return Interval{std::min(a->min, b->min), std::min(a->max, b->max)};
      return Interval{std::max(a->min, b->min), std::max(a->max, b->max)};
    }
    case Op::select: {
      std::optional<Interval> a = interval_of_operand(e.operands[1]);
      std::optional<Interval> b = interval_of_operand(e.operands[2]);
      if (!a || !b) return std::nullopt;
      return hull(*a, *b);
    }
    case Op::multiply: {
      std::optional<Interval> a = interval_of_operand(e.operands[0]);
      std::optional<Interval> b = interval_of_operand(e.operands[1]);
      if (!a || !b) return std::nullopt;
      Wide corners[] = {Wide{a->min} * b->min, Wide{a->min} * b->max, Wide{a->max} * b->min,
                        Wide{a->max} * b->max};
      std::optional<int64_t> low = narrow(*std::min_element(corners, corners + 4));
      std::optional<int64_t> high = narrow(*std::max_element(corners, corners + 4));
      if (!low || !high) return std::nullopt;
      return Interval{*low, *high};
    }
    case Op::convert: {
      Type from = e.operands[0]->type;
      if (from.scalar == ScalarType::boolean) return Interval{0, 1};
      return ranges_.other ? ranges_.other(e) : std::nullopt;
    }
    case Op::read: {
      std::optional<Interval> inside = ranges_.other ? ranges_.other(e) : std::nullopt;
      if (!inside || !e.has_else) return inside;
      std::optional<Interval> outside = interval_of_operand(e.else_value());
      if (!outside) return std::nullopt;
      return hull(*inside, *outside);
    }
    default:
      return ranges_.other ? ranges_.other(e) : std::nullopt;
  }
}

/// The form with every atom but `rows` replaced by its extreme value: an upper (lower) bound that
/// is linear in `rows`, so that `rows` can cancel.
std::optional<LinearForm> Normalizer::extreme(const LinearForm& form, bool upper) {
  Wide constant = form.constant;
  std::vector<LinearForm::Term> terms;
  for (const LinearForm::Term& term : form.terms) {
    std::optional<LinearForm> bound = extreme_of_atom(term.atom, upper == (term.coefficient > 0));
    if (!bound) return std::nullopt;
    constant += Wide{bound->constant} * term.coefficient;
    if (constant > Wide{1} << 100 || constant < -(Wide{1} << 100)) return std::nullopt;
    for (const LinearForm::Term& inner : bound->terms) {
      std::optional<int64_t> product = checked_multiply(inner.coefficient, term.coefficient);
      if (!product || *product == INT64_MIN) return std::nullopt;
      terms.push_back({inner.atom, *product});
    }
  }
  return combine(std::move(terms), constant);
}

std::optional<LinearForm> Normalizer::extreme_of_atom(const ExprRef& atom, bool upper) {
  if (atom->op == Op::uniform && atom->name == "rows") return LinearForm::atom(atom);
  if (atom->op == Op::index && upper) {
    auto factor = ranges_.per_row.find(atom->name);
    if (factor != ranges_.per_row.end()) {
      return LinearForm{{{make_uniform("rows"), factor->second}}, -1};
    }
  }
  if (atom->op == Op::floor_divide && is_constant(atom->operands[1]) &&
      atom->operands[1]->integer > 0) {
    std::optional<LinearForm> inside = extreme(form_of_atom_operand(atom->operands[0]), upper);
    if (!inside) return std::nullopt;
    return divide(*inside, atom->operands[1]->integer);
  }
  std::optional<Interval> range = interval_of_atom(atom);
  if (!range) return std::nullopt;
  return LinearForm::number(upper ? range->max : range->min);
}

/// The form has no atoms but `rows` and quotients and remainders of it.
std::optional<Interval> Normalizer::interval_in_rows(const LinearForm& form) {
  Wide low = form.constant;
  Wide high = form.constant;
  const Wide limit = Wide{1} << 120;
  for (const LinearForm::Term& term : form.terms) {
    std::optional<Interval> range;
    const Expr& e = *term.atom;
    if (e.op == Op::floor_divide || e.op == Op::modulo) {
      std::optional<Interval> inside = interval_in_rows(form_of_atom_operand(e.operands[0]));
      int64_t divisor = e.operands[1]->integer;
      range = e.op == Op::floor_divide ? divide_interval(inside, divisor)
                                       : remainder_interval(inside, divisor);
    } else {
      auto found = ranges_.by_name.find(e.name);
      if (found != ranges_.by_name.end()) range = found->second;
    }
    if (!range) return std::nullopt;
    Wide first = Wide{range->min} * term.coefficient;
    Wide second = Wide{range->max} * term.coefficient;
    low += std::min(first, second);
    high += std::max(first, second);
    if (low < -limit || high > limit) return std::nullopt;
  }
  std::optional<int64_t> min = narrow(low);
  std::optional<int64_t> max = narrow(high);
  if (!min || !max) return std::nullopt;
  return Interval{*min, *max};
}

std::optional<Interval> Normalizer::interval(const LinearForm& form) {
  std::optional<LinearForm> low = extreme(form, false);
  if (!low) return std::nullopt;
  std::optional<LinearForm> high = extreme(form, true);
  if (!high) return std::nullopt;
  std::optional<Interval> below = interval_in_rows(*low);
  std::optional<Interval> above = interval_in_rows(*high);
  if (!below || !above) return std::nullopt;
  return Interval{below->min, above->max};
}

// ---------------------------------------------------------------- sums

/// Puts together `x // c * c + x % c` and `(x // a) % b * a + x % a`. Says whether it changed the
/// form (whose terms then need merging again).
bool Normalizer::join_one_digit_pair(LinearForm& form) {
  for (size_t low = 0; low < form.terms.size(); ++low) {
    const LinearForm::Term lower = form.terms[low];
    if (lower.atom->op != Op::modulo || !is_constant(lower.atom->operands[1])) continue;
    int64_t base = lower.atom->operands[1]->integer;
    std::optional<int64_t> needed = checked_multiply(lower.coefficient, base);
    if (!needed || base <= 0) continue;
    LinearForm inside = form_of_atom_operand(lower.atom->operands[0]);
    // Cheap look before the division: is there a partner at all?
    bool candidate = false;
    for (const LinearForm::Term& term : form.terms) {
      candidate = candidate || (term.coefficient == *needed &&
                                (term.atom->op == Op::floor_divide || term.atom->op == Op::modulo));
    }
    if (!candidate) continue;
    LinearForm quotient = divide(inside, base);
    for (size_t high = 0; high < form.terms.size(); ++high) {
      const LinearForm::Term upper = form.terms[high];
      if (high == low || upper.coefficient != *needed) continue;
      LinearForm joined;
      if (quotient == LinearForm::atom(upper.atom)) {
        joined = inside;
        applied(SimplifyRule::join_quotient);
      } else if (upper.atom->op == Op::modulo && is_constant(upper.atom->operands[1]) &&
                 quotient == form_of_atom_operand(upper.atom->operands[0])) {
        std::optional<int64_t> product = checked_multiply(base, upper.atom->operands[1]->integer);
        if (!product) continue;
        joined = remainder(inside, *product);
        applied(SimplifyRule::join_remainders);
      } else {
        continue;
      }
      std::optional<LinearForm> scaled = scale(joined, lower.coefficient);
      std::optional<int64_t> constant =
          scaled ? checked_add(form.constant, scaled->constant) : std::nullopt;
      if (!constant) continue;
      form.constant = *constant;
      form.terms.erase(form.terms.begin() + static_cast<ptrdiff_t>(std::max(low, high)));
      form.terms.erase(form.terms.begin() + static_cast<ptrdiff_t>(std::min(low, high)));
      form.terms.insert(form.terms.end(), scaled->terms.begin(), scaled->terms.end());
      return true;
    }
  }
  return false;
}

std::optional<LinearForm> Normalizer::combine(std::vector<LinearForm::Term> terms, Wide constant) {
  LinearForm form;
  std::optional<int64_t> narrow_constant = narrow(constant);
  if (!narrow_constant) return std::nullopt;
  form.constant = *narrow_constant;
  form.terms = std::move(terms);
  do {
    std::sort(form.terms.begin(), form.terms.end(),
              [](const LinearForm::Term& a, const LinearForm::Term& b) {
                return compare(a.atom, b.atom) < 0;
              });
    std::vector<LinearForm::Term> merged;
    for (const LinearForm::Term& term : form.terms) {
      if (!merged.empty() && same(merged.back().atom, term.atom)) {
        std::optional<int64_t> total = checked_add(merged.back().coefficient, term.coefficient);
        if (!total || *total == INT64_MIN) return std::nullopt;
        merged.back().coefficient = *total;
      } else {
        merged.push_back(term);
      }
    }
    std::erase_if(merged, [](const LinearForm::Term& term) { return term.coefficient == 0; });
    std::sort(merged.begin(), merged.end(), canonical_order);
    form.terms = std::move(merged);
  } while (join_one_digit_pair(form));
  return form;
}

std::optional<LinearForm> Normalizer::sum(const LinearForm& a, const LinearForm& b,
                                          int64_t factor) {
  std::vector<LinearForm::Term> terms = a.terms;
  for (const LinearForm::Term& term : b.terms) {
    std::optional<int64_t> product = checked_multiply(term.coefficient, factor);
    if (!product || *product == INT64_MIN) return std::nullopt;
    terms.push_back({term.atom, *product});
  }
  return combine(std::move(terms), Wide{a.constant} + Wide{b.constant} * factor);
}

// ---------------------------------------------------------------- quotients and remainders

/// form = factor * multiple + rest, with 0 <= rest < factor proved.
struct Split {
  int64_t factor = 1;
  LinearForm multiple;
  LinearForm rest;
};

LinearForm quotient_atom(const LinearForm& form, int64_t divisor) {
  return LinearForm::atom(make_binary(Op::floor_divide, to_expr(form), make_integer(divisor)));
}

LinearForm remainder_atom(const LinearForm& form, int64_t divisor) {
  return LinearForm::atom(make_binary(Op::modulo, to_expr(form), make_integer(divisor)));
}

/// The largest factor > 1 of `divisor` by which the form splits.
template <typename IntervalOf>
std::optional<Split> split(const LinearForm& form, int64_t divisor, const IntervalOf& interval_of) {
  std::vector<int64_t> factors = {divisor};
  for (const LinearForm::Term& term : form.terms) {
    int64_t common = std::gcd(term.coefficient, divisor);
    if (common > 1) factors.push_back(common);
  }
  std::sort(factors.begin(), factors.end(), std::greater<>());
  factors.erase(std::unique(factors.begin(), factors.end()), factors.end());
  for (int64_t factor : factors) {
    Split result;
    result.factor = factor;
    for (const LinearForm::Term& term : form.terms) {
      if (term.coefficient % factor == 0) {
        result.multiple.terms.push_back({term.atom, term.coefficient / factor});
      } else {
        result.rest.terms.push_back(term);
      }
    }
    result.rest.constant = form.constant;
    std::optional<Interval> range = interval_of(result.rest);
    if (!range) continue;
    int64_t period = floor_divide(range->min, factor);
    if (period != floor_divide(range->max, factor)) continue;
    result.multiple.constant = period;
    std::optional<int64_t> rest = narrow(Wide{form.constant} - Wide{period} * factor);
    if (!rest) continue;
    result.rest.constant = *rest;
    return result;
  }
  return std::nullopt;
}

LinearForm Normalizer::divide(const LinearForm& form, int64_t divisor) {
  if (divisor == 1) return form;
  std::optional<Split> parts =
      split(form, divisor, [&](const LinearForm& rest) { return interval(rest); });
  if (parts) {
    std::sort(parts->multiple.terms.begin(), parts->multiple.terms.end(), canonical_order);
    applied(parts->factor == divisor ? SimplifyRule::divide_multiple
                                     : SimplifyRule::divide_common_factor);
    return divide(parts->multiple, divisor / parts->factor);
  }
  LinearForm whole = LinearForm::number(floor_divide(form.constant, divisor));
  LinearForm rest = LinearForm::number(floor_modulo(form.constant, divisor));
  for (const LinearForm::Term& term : form.terms) {
    if (term.coefficient % divisor == 0) {
      whole.terms.push_back({term.atom, term.coefficient / divisor});
    } else {
      rest.terms.push_back(term);
    }
  }
  if (!whole.terms.empty()) applied(SimplifyRule::divide_multiple);
  LinearForm quotient;
  const bool one_atom = rest.terms.size() == 1 && rest.terms[0].coefficient == 1;
  const Expr* atom = one_atom ? rest.terms[0].atom.get() : nullptr;
  const int64_t inner = one_atom && atom->operands.size() == 2 && is_constant(atom->operands[1]) &&
                                is_integer_scalar(*atom->operands[1])
                            ? atom->operands[1]->integer
                            : 0;
  bool done = false;
  if (inner > 0 && atom->op == Op::floor_divide) {
    // (x // a + k) // c = (x + k*a) // (a*c)
    std::optional<int64_t> product = checked_multiply(inner, divisor);
    std::optional<int64_t> shift = checked_multiply(inner, rest.constant);
    LinearForm x = form_of_atom_operand(atom->operands[0]);
    std::optional<int64_t> constant = shift ? checked_add(x.constant, *shift) : std::nullopt;
    if (product && constant) {
      x.constant = *constant;
      quotient = divide(x, *product);
      applied(SimplifyRule::divide_quotient);
      done = true;
    }
  } else if (inner > 0 && atom->op == Op::modulo && rest.constant == 0 && inner % divisor == 0) {
    quotient = remainder(divide(form_of_atom_operand(atom->operands[0]), divisor), inner / divisor);
    applied(SimplifyRule::divide_remainder);
    done = true;
  }
  if (!done) quotient = quotient_atom(rest, divisor);
  std::optional<LinearForm> result = sum(whole, quotient, 1);
  return result ? *result : quotient_atom(form, divisor);
}

LinearForm Normalizer::remainder(const LinearForm& form, int64_t divisor) {
  if (divisor == 1) return LinearForm::number(0);
  LinearForm reduced = LinearForm::number(floor_modulo(form.constant, divisor));
  for (const LinearForm::Term& term : form.terms) {
    if (term.coefficient % divisor != 0) reduced.terms.push_back(term);
  }
  if (!(reduced == form)) applied(SimplifyRule::remainder_of_multiple);
  std::optional<Split> parts =
      split(reduced, divisor, [&](const LinearForm& rest) { return interval(rest); });
  if (parts && parts->factor == divisor) {
    applied(SimplifyRule::remainder_of_multiple);
    return parts->rest;
  }
  // Remainders by multiples of the divisor do nothing here: x % (a*c) = x modulo c.
  std::vector<LinearForm::Term> terms;
  Wide constant = reduced.constant;
  bool replaced = false;
  for (const LinearForm::Term& term : reduced.terms) {
    if (term.atom->op == Op::modulo && is_constant(term.atom->operands[1]) &&
        Wide{term.atom->operands[1]->integer} * term.coefficient % divisor == 0) {
      std::optional<LinearForm> inside =
          scale(form_of_atom_operand(term.atom->operands[0]), term.coefficient);
      if (inside) {
        terms.insert(terms.end(), inside->terms.begin(), inside->terms.end());
        constant += inside->constant;
        applied(SimplifyRule::remainder_of_remainder);
        replaced = true;
        continue;
      }
    }
    terms.push_back(term);
  }
  if (replaced) {
    std::optional<LinearForm> simpler = combine(std::move(terms), constant);
    if (simpler) return remainder(*simpler, divisor);
  }
  if (parts) {
    std::sort(parts->multiple.terms.begin(), parts->multiple.terms.end(), canonical_order);
    LinearForm high = remainder(parts->multiple, divisor / parts->factor);
    std::optional<LinearForm> result = sum(parts->rest, high, parts->factor);
    if (result) {
      applied(SimplifyRule::remainder_common_factor);
      return *result;
    }
  }
  return remainder_atom(reduced, divisor);
}

// ---------------------------------------------------------------- expressions

LinearForm Normalizer::opaque(const ExprRef& e) {
  ExprRef simple = simplify_node(e);
  if (simple->op == Op::constant) return LinearForm::number(simple->integer);
  // Folding may have left something that is not an atom: an `if` whose condition is decided.
  if (simple->op != e->op) return form_of_atom_operand(simple);
  return LinearForm::atom(std::move(simple));
}

/// The terms of a whole chain of sums, merged by nobody yet: long sums stay cheap.
bool Normalizer::collect_sum(const ExprRef& e, int sign, std::vector<LinearForm::Term>& terms,
                             Wide& constant) {
  if (e->op == Op::add || e->op == Op::subtract) {
    return collect_sum(e->operands[0], sign, terms, constant) &&
           collect_sum(e->operands[1], e->op == Op::add ? sign : -sign, terms, constant);
  }
  std::optional<LinearForm> part = scale(form(e), sign);
  if (!part) return false;
  constant += part->constant;
  terms.insert(terms.end(), part->terms.begin(), part->terms.end());
  return true;
}

LinearForm Normalizer::form(const ExprRef& e) {
  switch (e->op) {
    case Op::constant:
      return LinearForm::number(e->integer);
    case Op::negate: {
      std::optional<LinearForm> negated = scale(form(e->operands[0]), -1);
      if (negated) return *negated;
      return opaque(e);
    }
    case Op::add:
    case Op::subtract: {
      std::vector<LinearForm::Term> terms;
      Wide constant = 0;
      if (collect_sum(e, 1, terms, constant)) {
        std::optional<LinearForm> total = combine(std::move(terms), constant);
        if (total) return *total;
      }
      return opaque(e);
    }
    case Op::multiply: {
      LinearForm a = form(e->operands[0]);
      LinearForm b = form(e->operands[1]);
      if (a.is_constant()) std::swap(a, b);
      if (b.is_constant()) {
        std::optional<LinearForm> scaled = scale(a, b.constant);
        if (scaled) return *scaled;
      }
      ExprRef left = to_expr(a);
      ExprRef right = to_expr(b);
      if (!b.is_constant() && compare(right, left) < 0) std::swap(left, right);
      return LinearForm::atom(make_binary(Op::multiply, left, right));
    }
    case Op::floor_divide:
    case Op::modulo: {
      LinearForm a = form(e->operands[0]);
      LinearForm b = form(e->operands[1]);
      if (b.is_constant() && b.constant > 0) {
        return e->op == Op::floor_divide ? divide(a, b.constant) : remainder(a, b.constant);
      }
      return LinearForm::atom(make_binary(e->op, to_expr(a), to_expr(b)));
    }
    default:
      return opaque(e);
  }
}

ExprRef Normalizer::simplify_comparison(const ExprRef& e) {
  LinearForm a = form(e->operands[0]);
  LinearForm b = form(e->operands[1]);
  if (std::optional<LinearForm> difference = sum(a, b, -1)) {
    if (std::optional<Interval> range = interval(*difference)) {
      auto decide = [&](bool always, bool never) -> std::optional<bool> {
        if (always) return true;
        if (never) return false;
        return std::nullopt;
      };
      std::optional<bool> decided;
      const bool zero = range->min == 0 && range->max == 0;
      const bool not_zero = !range->contains(0);
      if (e->op == Op::less) decided = decide(range->max < 0, range->min >= 0);
      if (e->op == Op::less_equal) decided = decide(range->max <= 0, range->min > 0);
      if (e->op == Op::greater) decided = decide(range->min > 0, range->max <= 0);
      if (e->op == Op::greater_equal) decided = decide(range->min >= 0, range->max < 0);
      if (e->op == Op::equal) decided = decide(zero, not_zero);
      if (e->op == Op::not_equal) decided = decide(not_zero, zero);
      if (decided) {
        applied(SimplifyRule::decided_comparison);
        return make_boolean(*decided);
      }
    }
    if (e->op == Op::equal || e->op == Op::not_equal) {
      if (difference->is_constant()) {
        applied(SimplifyRule::decided_comparison);
        return make_boolean((difference->constant == 0) == (e->op == Op::equal));
      }
      int64_t common = 0;
      for (const LinearForm::Term& term : difference->terms) {
        common = std::gcd(common, term.coefficient);
      }
      if (common > 1 && difference->constant % common != 0) {
        applied(SimplifyRule::no_multiple);
        return make_boolean(e->op == Op::not_equal);
      }
    } else if (difference->is_constant()) {
      int64_t d = difference->constant;
      applied(SimplifyRule::decided_comparison);
      return make_boolean(e->op == Op::less         ? d < 0
                          : e->op == Op::less_equal ? d <= 0
                          : e->op == Op::greater    ? d > 0
                                                    : d >= 0);
    }
  }
  // Numbers stand on the right: `q >= 3`, `q < 31 - k`.
  std::optional<int64_t> number = narrow(Wide{b.constant} - a.constant);
  Op op = e->op;
  if (number) {
    a.constant = 0;
    b.constant = *number;
    if (a.is_constant() && !b.is_constant() && *number != INT64_MIN) {
      a.constant = -*number;
      b.constant = 0;
      std::swap(a, b);
      op = mirrored(op);
    }
  }
  ExprRef left = to_expr(a);
  ExprRef right = to_expr(b);
  if (op == e->op && same(left, e->operands[0]) && same(right, e->operands[1])) return e;
  applied(SimplifyRule::comparison_form);
  return make_binary(op, std::move(left), std::move(right));
}

/// Simplifies the operands, then folds what their folding decided.
ExprRef Normalizer::simplify_node(const ExprRef& e) {
  std::vector<ExprRef> operands;
  operands.reserve(e->operands.size());
  bool changed = false;
  for (const ExprRef& operand : e->operands) {
    operands.push_back(simplify(operand));
    changed = changed || operands.back() != operand;
  }
  switch (e->op) {
    case Op::logical_and:
    case Op::logical_or:
      for (size_t i : {size_t{0}, size_t{1}}) {
        if (!is_constant(operands[i])) continue;
        applied(SimplifyRule::constant_and_or);
        const bool is_neutral = (operands[i]->integer != 0) == (e->op == Op::logical_and);
        return is_neutral ? operands[1 - i] : operands[i];
      }
      break;
    case Op::logical_not:
      if (is_constant(operands[0])) {
        applied(SimplifyRule::constant_not);
        return make_boolean(operands[0]->integer == 0);
      }
      if (operands[0]->op == Op::logical_not) {
        applied(SimplifyRule::double_not);
        return operands[0]->operands[0];
      }
      // Only for integers: with NaN, `not (a < b)` is not `a >= b`.
      if (is_comparison(operands[0]->op) && is_integer_scalar(*operands[0]->operands[0])) {
        applied(SimplifyRule::negated_comparison);
        return make_binary(opposite(operands[0]->op), operands[0]->operands[0],
                           operands[0]->operands[1]);
      }
      break;
    case Op::select:
      if (is_constant(operands[0])) {
        applied(SimplifyRule::decided_if);
        return operands[0]->integer != 0 ? operands[1] : operands[2];
      }
      if (same(operands[1], operands[2])) {
        applied(SimplifyRule::equal_branches);
        return operands[1];
      }
      break;
    case Op::minimum:
    case Op::maximum:
      if (is_integer_scalar(*e)) {
        std::optional<LinearForm> difference =
            sum(form_of_atom_operand(operands[0]), form_of_atom_operand(operands[1]), -1);
        std::optional<Interval> range = difference ? interval(*difference) : std::nullopt;
        if (range && (range->max <= 0 || range->min >= 0)) {
          applied(SimplifyRule::decided_extremum);
          return (range->max <= 0) == (e->op == Op::minimum) ? operands[0] : operands[1];
        }
      }
      break;
    case Op::convert:
      if (e->type == operands[0]->type) {
        applied(SimplifyRule::same_conversion);
        return operands[0];
      }
      break;
    default:
      break;
  }
  if (!changed) return e;
  return with_operands(*e, std::move(operands));
}

ExprRef Normalizer::simplify(const ExprRef& e) {
  if (is_integer_scalar(*e)) {
    if (is_normal_leaf(*e)) return e;
    ExprRef simple = to_expr(form(e));
    if (same(simple, e)) return e;
    applied(SimplifyRule::integer_sum);
    return simple;
  }
  if (is_comparison(e->op) && is_integer_scalar(*e->operands[0])) return simplify_comparison(e);
  if (e->operands.empty()) return e;
  return simplify_node(e);
}

}  // namespace

// ---------------------------------------------------------------- the interface

void IndexRanges::add(std::string_view name, int64_t begin, Extent end) {
  by_name.insert_or_assign(std::string(name), Interval{begin, std::max(begin, end.maximum - 1)});
  if (end.depends_on_rows()) {
    per_row.insert_or_assign(std::string(name), end.per_row);
  } else if (auto old = per_row.find(name); old != per_row.end()) {
    per_row.erase(old);
  }
}

void IndexRanges::add_rows(int64_t batch) {
  by_name.insert_or_assign("rows", Interval{1, std::max<int64_t>(1, batch)});
}

bool LinearForm::operator==(const LinearForm& other) const {
  if (constant != other.constant || terms.size() != other.terms.size()) return false;
  for (size_t i = 0; i < terms.size(); ++i) {
    if (terms[i].coefficient != other.terms[i].coefficient ||
        !same(terms[i].atom, other.terms[i].atom)) {
      return false;
    }
  }
  return true;
}

LinearForm linear_form(const ExprRef& e, const IndexRanges& ranges) {
  FG_CHECK(is_integer_scalar(*e), "linear form of type {}", spelling(e->type));
  return Normalizer(ranges).form(e);
}

ExprRef to_expr(const LinearForm& form) {
  ExprRef result;
  auto times = [](const ExprRef& atom, int64_t coefficient) {
    return coefficient == 1 ? atom : make_binary(Op::multiply, atom, make_integer(coefficient));
  };
  // The first positive part leads, so that no text starts with a minus sign needlessly.
  size_t leader = form.terms.size();
  for (size_t i = 0; i < form.terms.size() && leader == form.terms.size(); ++i) {
    if (form.terms[i].coefficient > 0) leader = i;
  }
  bool constant_done = false;
  if (leader < form.terms.size()) {
    result = times(form.terms[leader].atom, form.terms[leader].coefficient);
  } else if (form.constant > 0 || form.terms.empty()) {
    result = make_integer(form.constant);
    constant_done = true;
  }
  for (size_t i = 0; i < form.terms.size(); ++i) {
    if (i == leader) continue;
    const LinearForm::Term& term = form.terms[i];
    const bool minus = term.coefficient < 0;
    if (result == nullptr) {
      result = term.coefficient == -1 ? make_unary(Op::negate, term.atom)
                                      : times(term.atom, term.coefficient);
    } else if (minus) {
      result = make_binary(Op::subtract, result, times(term.atom, -term.coefficient));
    } else {
      result = make_binary(Op::add, result, times(term.atom, term.coefficient));
    }
  }
  if (constant_done || form.constant == 0) return result;
  if (form.constant < 0 && form.constant != INT64_MIN) {
    return make_binary(Op::subtract, result, make_integer(-form.constant));
  }
  return make_binary(Op::add, result, make_integer(form.constant));
}

std::optional<Interval> interval(const LinearForm& form, const IndexRanges& ranges) {
  return Normalizer(ranges).interval(form);
}

std::optional<Interval> interval(const ExprRef& e, const IndexRanges& ranges) {
  // An index says what is known of it without any arithmetic.
  if (e->op == Op::index && !ranges.per_row.contains(e->name)) {
    auto known = ranges.by_name.find(e->name);
    if (known == ranges.by_name.end()) return std::nullopt;
    return known->second;
  }
  return interval(linear_form(e, ranges), ranges);
}

int64_t coefficient_of(const LinearForm& form, std::string_view index) {
  for (const LinearForm::Term& term : form.terms) {
    if (term.atom->op == Op::index && term.atom->name == index) return term.coefficient;
  }
  return 0;
}

bool mentions_index(const LinearForm& form, std::string_view index) {
  return std::any_of(form.terms.begin(), form.terms.end(), [&](const LinearForm::Term& term) {
    return mentions_index(term.atom, index);
  });
}

std::optional<LinearForm> add(const LinearForm& a, const LinearForm& b, const IndexRanges& ranges) {
  return Normalizer(ranges).sum(a, b, 1);
}

std::optional<LinearForm> subtract(const LinearForm& a, const LinearForm& b,
                                   const IndexRanges& ranges) {
  return Normalizer(ranges).sum(a, b, -1);
}

std::optional<LinearForm> scale(const LinearForm& form, int64_t factor) {
  LinearForm result;
  if (factor == 0) return result;
  std::optional<int64_t> constant = checked_multiply(form.constant, factor);
  if (!constant) return std::nullopt;
  result.constant = *constant;
  for (const LinearForm::Term& term : form.terms) {
    std::optional<int64_t> coefficient = checked_multiply(term.coefficient, factor);
    if (!coefficient || *coefficient == INT64_MIN) return std::nullopt;
    result.terms.push_back({term.atom, *coefficient});
  }
  std::sort(result.terms.begin(), result.terms.end(), canonical_order);
  return result;
}

LinearForm divide(const LinearForm& form, int64_t divisor, const IndexRanges& ranges) {
  FG_CHECK(divisor > 0, "division by {}", divisor);
  return Normalizer(ranges).divide(form, divisor);
}

LinearForm remainder(const LinearForm& form, int64_t divisor, const IndexRanges& ranges) {
  FG_CHECK(divisor > 0, "remainder by {}", divisor);
  return Normalizer(ranges).remainder(form, divisor);
}

ExprRef simplify_integer(const ExprRef& e, const IndexRanges& ranges) {
  FG_CHECK(is_integer_scalar(*e), "simplify_integer of type {}", spelling(e->type));
  return Normalizer(ranges).simplify(e);
}

ExprRef simplify_indices(const ExprRef& e, const IndexRanges& ranges) {
  return Normalizer(ranges).simplify(e);
}

}  // namespace fusegrad::ir
