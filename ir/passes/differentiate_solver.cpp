// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The index solver. Every dimension of the map is one linear equation `form = 0` over the indices
// (with the target's index as one of the known atoms); quotients and remainders become linear by
// giving the digits names of their own.
#include "ir/passes/differentiate_solver.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "ir/support/check.h"

namespace fusegrad::ir {
namespace {

/// Names while solving; no identifier looks like them. The target's come first in canonical order.
std::string target_name(size_t dimension) { return "@" + std::to_string(dimension); }

class Solver {
 public:
  Solver(const Scatter& scatter, const SolverContext& context)
      : scatter_(scatter), context_(context) {}

  std::optional<Gather> run() {
    for (const IndexRange& range : scatter_.domain) {
      if (range.begin >= range.end.maximum) return std::nullopt;
      unknowns_.push_back({range, false, nullptr});
    }
    ranges_.other = context_.other;
    ranges_.add_rows(context_.batch);
    for (size_t k = 0; k < scatter_.target.size(); ++k) {
      if (scatter_.target[k].maximum <= 0) return std::nullopt;
      ranges_.add(target_name(k), 0, scatter_.target[k]);
    }
    for (const Unknown& unknown : unknowns_) add_range(unknown);
    for (size_t k = 0; k < scatter_.map.size(); ++k) {
      if (solve_bare(k)) continue;
      equations_.push_back(make_binary(Op::subtract, scatter_.map[k], make_index(target_name(k))));
    }
    // Every step removes an equation or a quotient; the limit is a safeguard: indices that stay
    // bound turn the remaining equations into conditions.
    constexpr int most_steps = 100;
    for (int i = 0; !equations_.empty(); ++i) {
      if (i == most_steps) {
        for (Unknown& unknown : unknowns_) keep_bound(unknown.range.name);
      }
      step();
    }
    return finish();
  }

 private:
  struct Unknown {
    IndexRange range;
    bool bound = false;  ///< stays bound: not to be solved for
    ExprRef solution;    ///< null: not solved (yet)
  };

  /// R1 for a dimension that is read by a bare index of no other dimension, as most are: the answer
  /// is there without any arithmetic, and no other equation sees it.
  bool solve_bare(size_t k) {
    const ExprRef& map = scatter_.map[k];
    if (map->op != Op::index) return false;
    Unknown* unknown = find(map->name);
    if (unknown == nullptr) return false;
    for (size_t other = 0; other < scatter_.map.size(); ++other) {
      if (other != k && mentions_index(scatter_.map[other], map->name)) return false;
    }
    rules_.insert(1);
    unknown->solution = make_index(target_name(k));
    return true;
  }

  /// Whether the solved index is the target's, and they have the same range.
  bool runs_with_target(const Unknown& unknown) const {
    if (unknown.solution->op != Op::index || unknown.range.begin != 0) return false;
    for (size_t k = 0; k < scatter_.target.size(); ++k) {
      if (unknown.solution->name == target_name(k)) return unknown.range.end == scatter_.target[k];
    }
    return false;
  }

  // ---- looking at equations

  Unknown* find(std::string_view name) {
    for (Unknown& unknown : unknowns_) {
      if (unknown.range.name == name) return &unknown;
    }
    return nullptr;
  }
  bool is_unsolved(const std::string& name) {
    Unknown* unknown = find(name);
    return unknown != nullptr && unknown->solution == nullptr && !unknown->bound;
  }
  bool mentions_unsolved(const ExprRef& e) {
    for (const std::string& name : free_indices(e)) {
      if (is_unsolved(name)) return true;
    }
    return false;
  }

  void add_range(const Unknown& unknown) {
    ranges_.add(unknown.range.name, unknown.range.begin, unknown.range.end);
  }

  LinearForm form_of(const ExprRef& equation) { return linear_form(equation, ranges_); }

  /// The parts of an equation.
  struct View {
    LinearForm form;
    std::vector<LinearForm::Term> unknowns;  ///< unsolved indices with their coefficients
    std::vector<ExprRef> opaque;             ///< atoms that hide unsolved indices

    int64_t common_factor() const {
      int64_t factor = 0;
      for (const LinearForm::Term& term : unknowns) factor = std::gcd(factor, term.coefficient);
      return factor;
    }
  };

  View view(const ExprRef& equation) {
    View result{form_of(equation), {}, {}};
    for (const LinearForm::Term& term : result.form.terms) {
      if (term.atom->op == Op::index) {
        if (is_unsolved(term.atom->name)) result.unknowns.push_back(term);
      } else if (mentions_unsolved(term.atom)) {
        result.opaque.push_back(term.atom);
      }
    }
    return result;
  }

  void keep_bound(const std::string& name) {
    Unknown* unknown = find(name);
    if (unknown != nullptr && unknown->solution == nullptr) unknown->bound = true;
  }

  bool hidden(const View& v, const std::string& name) {
    return std::any_of(v.opaque.begin(), v.opaque.end(),
                       [&](const ExprRef& atom) { return mentions_index(atom, name); });
  }

  // ---- one step: solves an index, changes the equations, or makes an equation a condition

  void step() {
    std::vector<View> views;
    for (const ExprRef& equation : equations_) views.push_back(view(equation));
    for (size_t i = 0; i < views.size(); ++i) {
      if (views[i].unknowns.empty() && views[i].opaque.empty())
        return keep_as_condition(i, views[i]);
    }
    // R1.
    for (size_t i = 0; i < views.size(); ++i) {
      const View& v = views[i];
      if (v.unknowns.size() == 1 && v.opaque.empty() && std::abs(v.unknowns[0].coefficient) == 1) {
        rules_.insert(1);
        return solve_for(i, v, v.unknowns[0]);
      }
    }
    // R2.
    for (const View& v : views) {
      for (const ExprRef& atom : v.opaque) {
        if (name_digits(atom)) {
          rules_.insert(2);
          return;
        }
      }
    }
    // R5, for equations whose unknowns are all in plain sight.
    for (size_t i = 0; i < views.size(); ++i) {
      if (views[i].opaque.empty() && views[i].common_factor() > 1) {
        rules_.insert(5);
        return divide_by_factor(i, views[i]);
      }
    }
    for (size_t i = 0; i < views.size(); ++i) {
      if (views[i].opaque.empty() && (split_by_stride(i, views[i]) || solve_one(i, views[i])))
        return;
    }
    // What is left hides unknowns in reads or products: they stay bound.
    for (size_t i = 0; i < views.size(); ++i) {
      if (solve_one(i, views[i])) return;
    }
    keep_as_condition(0, views[0]);
  }

  void erase_equation(size_t i) {
    equations_.erase(equations_.begin() + static_cast<ptrdiff_t>(i));
  }

  /// `positive terms == negative terms`.
  void keep_as_condition(size_t i, const View& v) {
    rules_.insert(6);
    LinearForm left;
    LinearForm right;
    for (const LinearForm::Term& term : v.form.terms) {
      if (term.coefficient > 0) {
        left.terms.push_back(term);
      } else {
        right.terms.push_back({term.atom, -term.coefficient});
      }
    }
    if (v.form.constant > 0 || v.form.constant == INT64_MIN) {
      left.constant = v.form.constant;
    } else {
      right.constant = -v.form.constant;
    }
    if (left.is_constant()) std::swap(left, right);
    conditions_.push_back(make_binary(Op::equal, to_expr(left), to_expr(right)));
    erase_equation(i);
  }

  ExprRef substituted(const ExprRef& e, const std::map<std::string, ExprRef>& by_name) {
    return simplify_indices(substitute(e, by_name), ranges_);
  }

  void set_solution(const std::string& name, const ExprRef& solution) {
    const std::map<std::string, ExprRef> one = {{name, solution}};
    for (Unknown& unknown : unknowns_) {
      if (unknown.solution != nullptr) unknown.solution = substituted(unknown.solution, one);
    }
    find(name)->solution = solution;
    for (ExprRef& equation : equations_) equation = substituted(equation, one);
    for (ExprRef& condition : conditions_) condition = substituted(condition, one);
  }

  /// The other side of the equation when `unknown` (coefficient +-1) stands alone.
  ExprRef rest_without(const View& v, const LinearForm::Term& unknown) {
    LinearForm rest = v.form;
    std::erase_if(rest.terms,
                  [&](const LinearForm::Term& term) { return same(term.atom, unknown.atom); });
    ExprRef e = to_expr(rest);
    return simplify_integer(unknown.coefficient > 0 ? make_unary(Op::negate, e) : e, ranges_);
  }

  void solve_for(size_t i, const View& v, const LinearForm::Term& unknown) {
    ExprRef solution = rest_without(v, unknown);
    erase_equation(i);
    set_solution(unknown.atom->name, solution);
  }

  int64_t size_of(const ExprRef& index) {
    const IndexRange& range = find(index->name)->range;
    return range.end.maximum - range.begin;
  }

  /// R3: the unit index of the largest range; without one, R5 on the index of the largest range.
  bool solve_one(size_t i, const View& v) {
    const LinearForm::Term* best = nullptr;
    for (const LinearForm::Term& term : v.unknowns) {
      if (hidden(v, term.atom->name)) continue;
      auto rank = [&](const LinearForm::Term& t) {
        return std::pair{std::abs(t.coefficient) == 1, size_of(t.atom)};
      };
      if (best == nullptr || rank(term) > rank(*best) ||
          (rank(term) == rank(*best) && position(term.atom) < position(best->atom))) {
        best = &term;
      }
    }
    if (best == nullptr) return false;
    for (const ExprRef& atom : v.opaque) {
      for (const std::string& name : free_indices(atom)) keep_bound(name);
    }
    if (std::abs(best->coefficient) == 1) {
      rules_.insert(3);
      solve_for(i, v, *best);
      return true;
    }
    rules_.insert(5);
    // a*v = rest: v = rest // a where a divides the rest.
    const int64_t a = std::abs(best->coefficient);
    ExprRef rest = rest_without(v, *best);
    conditions_.push_back(divisible(rest, a));
    ExprRef solution =
        simplify_integer(make_binary(Op::floor_divide, rest, make_integer(a)), ranges_);
    const std::string name = best->atom->name;
    for (const LinearForm::Term& term : v.unknowns) {
      if (term.atom->name != name) keep_bound(term.atom->name);
    }
    erase_equation(i);
    set_solution(name, solution);
    return true;
  }

  size_t position(const ExprRef& index) {
    return static_cast<size_t>(find(index->name) - unknowns_.data());
  }

  ExprRef divisible(const ExprRef& e, int64_t factor) {
    return make_binary(Op::equal, make_binary(Op::modulo, e, make_integer(factor)),
                       make_integer(0));
  }

  /// R5: a*(v + ...) = rest is v + ... = rest // a where a divides the rest.
  void divide_by_factor(size_t i, const View& v) {
    const int64_t factor = v.common_factor();
    LinearForm unknowns;
    LinearForm rest;
    rest.constant = v.form.constant;
    for (const LinearForm::Term& term : v.form.terms) {
      bool is_unknown = std::any_of(v.unknowns.begin(), v.unknowns.end(),
                                    [&](const auto& other) { return same(other.atom, term.atom); });
      if (is_unknown) {
        unknowns.terms.push_back({term.atom, term.coefficient / factor});
      } else {
        rest.terms.push_back(term);
      }
    }
    ExprRef known = simplify_integer(make_unary(Op::negate, to_expr(rest)), ranges_);
    conditions_.push_back(divisible(known, factor));
    equations_[i] = make_binary(Op::subtract, to_expr(unknowns),
                                make_binary(Op::floor_divide, known, make_integer(factor)));
  }

  /// v with coefficient +-S, and others whose sum R takes values from `low` on, so that
  /// R = low + (q - low) % S + S*k and v = (q - low) // S - k.
  struct StrideSplit {
    LinearForm::Term v;
    std::vector<LinearForm::Term> rest;  ///< R
    int64_t low = 0;
    Extent steps;     ///< of k
    double cost = 0;  ///< values of everything that is then left bound
  };

  double size_product(const std::vector<LinearForm::Term>& terms) {
    double product = 1;
    for (const LinearForm::Term& term : terms) product *= static_cast<double>(size_of(term.atom));
    return product;
  }

  static std::vector<LinearForm::Term> without(std::vector<LinearForm::Term> terms,
                                               const LinearForm::Term& one) {
    std::erase_if(terms, [&](const LinearForm::Term& term) { return same(term.atom, one.atom); });
    return terms;
  }

  /// Estimated values of what stays bound when R3 (or R5) solves the sum of these for one of them.
  double cost_of_solving_one(const std::vector<LinearForm::Term>& terms) {
    double largest = 1;
    bool unit = false;
    for (const LinearForm::Term& term : terms) {
      bool is_unit = std::abs(term.coefficient) == 1;
      if (unit && !is_unit) continue;
      double size = static_cast<double>(size_of(term.atom));
      largest = is_unit && !unit ? size : std::max(largest, size);
      unit = unit || is_unit;
    }
    return size_product(terms) / largest;
  }

  /// The same for the best way.
  double cost_of(const std::vector<LinearForm::Term>& terms) {
    std::optional<StrideSplit> split = best_split(terms);
    double simple = cost_of_solving_one(terms);
    return split ? std::min(split->cost, simple) : simple;
  }

  std::optional<StrideSplit> split_off(const std::vector<LinearForm::Term>& terms,
                                       const LinearForm::Term& v,
                                       std::vector<LinearForm::Term> rest) {
    const int64_t stride = std::abs(v.coefficient);
    LinearForm form;
    form.terms = rest;
    std::optional<Interval> values = interval(form, ranges_);
    if (!values || values->min == INT64_MIN) return std::nullopt;
    std::optional<int64_t> width = checked_add(values->max, -values->min);
    if (!width) return std::nullopt;
    StrideSplit split{v, rest, values->min, Extent::number(*width / stride + 1), 0};
    split.cost = static_cast<double>(split.steps.maximum) * cost_of(rest);
    for (const LinearForm::Term& term : terms) {
      bool inside = same(term.atom, v.atom) ||
                    std::any_of(rest.begin(), rest.end(),
                                [&](const auto& other) { return same(other.atom, term.atom); });
      if (!inside) split.cost *= static_cast<double>(size_of(term.atom));
    }
    // A range over rows whose size is a multiple of S: so is the range of k.
    const IndexRange& range = find(rest[0].atom->name)->range;
    if (rest.size() == 1 && rest[0].coefficient == 1 && range.end.depends_on_rows() &&
        range.begin == 0 && range.end.per_row % stride == 0) {
      split.steps = Extent::of_rows(context_.batch, range.end.per_row / stride);
    }
    return split;
  }

  std::optional<StrideSplit> best_split(const std::vector<LinearForm::Term>& terms) {
    std::optional<StrideSplit> best;
    if (terms.size() < 2 || terms.size() > 8) return best;
    auto offer = [&](std::optional<StrideSplit> split) {
      if (split && (!best || split->cost < best->cost)) best = std::move(split);
    };
    for (const LinearForm::Term& v : terms) {
      const int64_t stride = std::abs(v.coefficient);
      if (stride == 1) continue;
      bool largest = std::all_of(terms.begin(), terms.end(), [&](const LinearForm::Term& term) {
        return std::abs(term.coefficient) <= stride;
      });
      if (largest) offer(split_off(terms, v, without(terms, v)));
      for (const LinearForm::Term& u : terms) {
        if (std::abs(u.coefficient) == 1) offer(split_off(terms, v, {u}));
      }
    }
    return best;
  }

  /// R4, if that leaves fewer values bound than keeping all indices but one bound.
  bool split_by_stride(size_t i, const View& v) {
    std::optional<StrideSplit> split = best_split(v.unknowns);
    if (!split || split->cost >= cost_of_solving_one(v.unknowns)) return false;
    rules_.insert(4);
    const int64_t stride = std::abs(split->v.coefficient);
    LinearForm known = v.form;  // known + (coefficient of v) * v + R = 0
    std::erase_if(known.terms, [&](const LinearForm::Term& term) {
      return same(term.atom, split->v.atom) ||
             std::any_of(split->rest.begin(), split->rest.end(),
                         [&](const auto& other) { return same(other.atom, term.atom); });
    });
    ExprRef base = simplify_integer(
        make_binary(Op::subtract, make_unary(Op::negate, to_expr(known)), make_integer(split->low)),
        ranges_);
    // Unknowns that are in neither part are now inside quotients.
    for (const std::string& name : free_indices(base)) keep_bound(name);
    ExprRef k = add_unknown("k", {"", 0, split->steps}, true);
    ExprRef divisor = make_integer(stride);
    ExprRef high = make_binary(Op::floor_divide, base, divisor);
    ExprRef solution = split->v.coefficient > 0 ? make_binary(Op::subtract, high, k)
                                                : make_binary(Op::subtract, k, high);
    LinearForm rest;
    rest.terms = split->rest;
    ExprRef value = make_binary(Op::add,
                                make_binary(Op::add, make_binary(Op::modulo, base, divisor),
                                            make_binary(Op::multiply, k, divisor)),
                                make_integer(split->low));
    equations_[i] = make_binary(Op::subtract, to_expr(rest), value);
    set_solution(split->v.atom->name, simplify_integer(solution, ranges_));
    return true;
  }

  /// A new index; `hint` is what it will be called.
  ExprRef add_unknown(const std::string& hint, IndexRange range, bool bound) {
    range.name = "@@" + hint + "@" + std::to_string(unknowns_.size());
    unknowns_.push_back({range, bound, nullptr});
    add_range(unknowns_.back());
    return make_index(range.name);
  }

  // ---- R2: digits

  /// x // m, x % n or (x // m) % n.
  struct Digit {
    ExprRef atom;
    ExprRef base;      ///< x
    int64_t low = 1;   ///< m
    int64_t high = 0;  ///< m * n; 0: no remainder is taken
  };

  static std::optional<Digit> as_digit(const ExprRef& atom) {
    Digit digit{atom, atom, 1, 0};
    if ((atom->op != Op::floor_divide && atom->op != Op::modulo) ||
        !is_constant(atom->operands[1]) || atom->operands[1]->integer <= 0) {
      return std::nullopt;
    }
    if (digit.base->op == Op::modulo) {
      digit.high = digit.base->operands[1]->integer;
      digit.base = digit.base->operands[0];
    }
    if (digit.base->op == Op::floor_divide && is_constant(digit.base->operands[1]) &&
        digit.base->operands[1]->integer > 0) {
      digit.low = digit.base->operands[1]->integer;
      digit.base = digit.base->operands[0];
      if (digit.high != 0) {
        std::optional<int64_t> product = checked_multiply(digit.high, digit.low);
        if (!product) return std::nullopt;
        digit.high = *product;
      }
    }
    return digit;
  }

  /// Whether unsolved indices occur in `e` only as plain terms.
  bool is_linear(const ExprRef& e) { return view(e).opaque.empty(); }

  /// Finds in `atom` a quotient or remainder of something linear, gives the digits of that
  /// something names, and writes every quotient and remainder of it in all equations in terms of
  /// them. Says whether it found one.
  bool name_digits(const ExprRef& atom) {
    std::optional<Digit> first;
    walk(atom, [&](const Expr& node) {
      if (first || (node.op != Op::floor_divide && node.op != Op::modulo)) return;
      std::optional<Digit> digit = as_digit(std::make_shared<const Expr>(node));
      if (digit && mentions_unsolved(digit->base) && is_linear(digit->base)) first = digit;
    });
    if (!first) return false;
    std::optional<Interval> whole = interval(first->base, ranges_);
    if (!whole) return false;
    // All digits of the same base, and where they are cut.
    std::vector<Digit> digits;
    std::vector<int64_t> cuts = {1};
    auto collect = [&](const Expr& node) {
      if (node.op != Op::floor_divide && node.op != Op::modulo) return;
      std::optional<Digit> digit = as_digit(std::make_shared<const Expr>(node));
      if (!digit || !same(digit->base, first->base)) return;
      digits.push_back(*digit);
      cuts.push_back(digit->low);
      if (digit->high != 0) cuts.push_back(digit->high);
    };
    for (const ExprRef& equation : equations_) {
      walk(to_expr(form_of(equation)), collect);
    }
    std::sort(cuts.begin(), cuts.end());
    cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
    // A mixed radix needs every cut to divide the next; digits that do not fit are left alone.
    std::vector<int64_t> chain = {1};
    auto must_have = {first->low, first->high};
    for (int64_t cut : cuts) {
      bool fits = cut % chain.back() == 0 && cut != chain.back();
      for (int64_t needed : must_have) fits = fits && (needed <= cut || needed % cut == 0);
      if (fits) chain.push_back(cut);
    }
    for (int64_t needed : must_have) {
      if (needed != 0 && std::find(chain.begin(), chain.end(), needed) == chain.end()) return false;
    }
    std::vector<ExprRef> names;
    ExprRef sum;
    for (size_t d = 0; d < chain.size(); ++d) {
      const bool top = d + 1 == chain.size();
      IndexRange range;
      if (top) {
        range.begin = floor_divide(whole->min, chain[d]);
        range.end = top_extent(first->base, chain[d], floor_divide(whole->max, chain[d]) + 1);
      } else {
        range.end = Extent::number(chain[d + 1] / chain[d]);
      }
      names.push_back(add_unknown(hint_for(first->base), range, false));
      ExprRef part = make_binary(Op::multiply, names.back(), make_integer(chain[d]));
      sum = sum == nullptr ? part : make_binary(Op::add, part, sum);
    }
    std::map<uint64_t, std::vector<std::pair<ExprRef, ExprRef>>> replacements;
    for (const Digit& digit : digits) {
      auto low = std::find(chain.begin(), chain.end(), digit.low);
      auto high = std::find(chain.begin(), chain.end(), digit.high);
      if (low == chain.end() || (digit.high != 0 && high == chain.end())) continue;
      size_t from = static_cast<size_t>(low - chain.begin());
      size_t to = digit.high == 0 ? chain.size() : static_cast<size_t>(high - chain.begin());
      ExprRef value;
      for (size_t d = from; d < to; ++d) {
        ExprRef part = make_binary(Op::multiply, names[d], make_integer(chain[d] / digit.low));
        value = value == nullptr ? part : make_binary(Op::add, part, value);
      }
      replacements[digit.atom->hash()].push_back({digit.atom, value});
    }
    for (ExprRef& equation : equations_) {
      equation = rewrite(to_expr(form_of(equation)), [&](const ExprRef& node) {
        auto found = replacements.find(node->hash());
        if (found == replacements.end()) return node;
        for (const auto& [from, to] : found->second) {
          if (same(from, node)) return to;
        }
        return node;
      });
    }
    equations_.push_back(make_binary(Op::subtract, first->base, sum));
    return true;
  }

  /// End of the top digit's range: a multiple of rows if the base is one index that runs over a
  /// multiple of rows which the weight divides; otherwise the number.
  Extent top_extent(const ExprRef& base, int64_t weight, int64_t number) {
    if (base->op == Op::index) {
      const Unknown* unknown = find(base->name);
      if (unknown != nullptr && unknown->range.end.depends_on_rows() &&
          unknown->range.end.per_row % weight == 0) {
        return Extent::of_rows(context_.batch, unknown->range.end.per_row / weight);
      }
    }
    return Extent::number(number);
  }

  /// Digits are called after the first index of their base.
  static std::string hint_for(const ExprRef& base) {
    std::string hint = "k";
    bool found = false;
    walk(base, [&](const Expr& node) {
      if (found || node.op != Op::index || node.name.starts_with("@")) return;
      hint = node.name;
      found = true;
    });
    return hint;
  }

  // ---- writing the result

  std::string fresh(const std::string& base) {
    std::string name = base;
    for (int i = 2; used_.contains(name) || context_.forbidden.contains(name); ++i) {
      name = base + std::to_string(i);
    }
    used_.insert(name);
    return name;
  }

  std::optional<Gather> finish() {
    Gather gather;
    IndexRanges ranges;
    ranges.other = context_.other;
    ranges.add_rows(context_.batch);
    std::map<std::string, ExprRef> renamed;
    // Binders that keep their names first, then the target's, then new ones.
    for (const Unknown& unknown : unknowns_) {
      if (unknown.solution == nullptr && !unknown.range.name.starts_with("@") &&
          !has_one_value(unknown.range)) {
        used_.insert(unknown.range.name);
      }
    }
    for (size_t k = 0; k < scatter_.target.size(); ++k) {
      // A dimension that is read by a bare index is called like it.
      std::string name;
      const ExprRef& map = scatter_.map[k];
      if (map->op == Op::index && !used_.contains(map->name)) {
        const Unknown* unknown = find(map->name);
        if (unknown != nullptr && unknown->solution != nullptr &&
            unknown->solution->op == Op::index && unknown->solution->name == target_name(k)) {
          name = map->name;
        }
      }
      name = fresh(name.empty() ? "q" : name);
      gather.indices.push_back({name, 0, scatter_.target[k]});
      ranges.add(name, 0, scatter_.target[k]);
      renamed[target_name(k)] = make_index(name);
    }
    for (const Unknown& unknown : unknowns_) {
      if (unknown.solution != nullptr) continue;
      IndexRange range = unknown.range;
      if (has_one_value(range)) {
        renamed[unknown.range.name] = make_integer(range.begin);
        continue;
      }
      if (range.name.starts_with("@@")) {
        range.name = fresh(range.name.substr(2, range.name.find('@', 2) - 2));
        renamed[unknown.range.name] = make_index(range.name);
      }
      gather.binders.push_back(range);
      ranges.add(range.name, range.begin, range.end);
    }
    std::map<std::string, ExprRef> all = renamed;
    std::vector<ExprRef> conditions;
    for (const Unknown& unknown : unknowns_) {
      if (unknown.solution == nullptr) continue;
      ExprRef solution = simplify_integer(substitute(unknown.solution, renamed), ranges);
      all[unknown.range.name] = solution;
      if (runs_with_target(unknown)) continue;
      conditions.push_back(
          make_binary(Op::greater_equal, solution, make_integer(unknown.range.begin)));
      conditions.push_back(make_binary(Op::less, solution, extent(unknown.range.end)));
    }
    for (const ExprRef& condition : conditions_) conditions.push_back(substitute(condition, all));
    for (const ExprRef& condition : scatter_.conditions) {
      conditions.push_back(substitute(condition, all));
    }
    std::vector<ExprRef> kept;
    for (const ExprRef& raw : conditions) {
      ExprRef condition = simplify_indices(raw, ranges);
      if (is_boolean_constant(condition, true)) continue;
      if (is_boolean_constant(condition, false)) return std::nullopt;
      bool known = std::any_of(kept.begin(), kept.end(),
                               [&](const ExprRef& other) { return same(other, condition); });
      if (known) continue;
      kept.push_back(condition);
    }
    gather.value = simplify_indices(substitute(scatter_.value, all), ranges);
    ExprRef zero = make_real(0, gather.value->type.scalar);
    for (size_t i = kept.size(); i-- > 0;) {
      if (!stands_alone(kept[i], ranges)) gather.value = make_select(kept[i], gather.value, zero);
    }
    for (const ExprRef& condition : kept) {
      if (!stands_alone(condition, ranges)) continue;
      gather.condition = gather.condition == nullptr
                             ? condition
                             : make_binary(Op::logical_and, gather.condition, condition);
    }
    gather.rules = rules_;
    return gather;
  }

  /// Whether all reads of `e` are in range for all values of the indices.
  bool stands_alone(const ExprRef& e, const IndexRanges& ranges) const {
    bool safe = true;
    walk(e, [&](const Expr& node) {
      if (node.op != Op::read || node.has_else || !safe) return;
      const Shape& shape = context_.shape_of(node.name);
      for (size_t k = 0; k < node.operands.size(); ++k) {
        const ExprRef& index = node.operands[k];
        ExprRef inside =
            make_binary(Op::logical_and, make_binary(Op::greater_equal, index, make_integer(0)),
                        make_binary(Op::less, index, extent(shape[k])));
        safe = safe && is_boolean_constant(simplify_indices(inside, ranges), true);
      }
    });
    return safe;
  }

  static bool has_one_value(const IndexRange& range) {
    return !range.end.depends_on_rows() && range.end.maximum == range.begin + 1;
  }

  static ExprRef extent(Extent end) {
    if (!end.depends_on_rows()) return make_integer(end.maximum);
    ExprRef rows = make_uniform("rows");
    return end.per_row == 1 ? rows : make_binary(Op::multiply, rows, make_integer(end.per_row));
  }

  const Scatter& scatter_;
  const SolverContext& context_;
  IndexRanges ranges_;
  std::vector<Unknown> unknowns_;
  std::vector<ExprRef> equations_;   ///< each `= 0`, over unsolved indices and the target's
  std::vector<ExprRef> conditions_;  ///< beyond the ranges of solved indices
  std::set<std::string> used_;
  std::set<int> rules_;
};

}  // namespace

std::optional<Gather> solve(const Scatter& scatter, const SolverContext& context) {
  FG_CHECK(scatter.map.size() == scatter.target.size(), "{} indices for {} dimensions",
           scatter.map.size(), scatter.target.size());
  return Solver(scatter, context).run();
}

}  // namespace fusegrad::ir
