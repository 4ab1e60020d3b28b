// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What values an integer expression can take, given ranges of indices and conditions that hold.
// The verifiers prove with it that reads stay in bounds. It is independent of the normal form that
// the passes use (ir/linear_form.h), so that one does not vouch for the other.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/expr.h"
#include "ir/types.h"

namespace fusegrad::ir {

/// The integers min, ..., max. An end at or beyond `unbounded` is not known. min > max: there is no
/// value, the expression is never evaluated.
struct ValueRange {
  static constexpr int64_t unbounded = INT64_MAX / 4;
  int64_t min = -unbounded;
  int64_t max = unbounded;
  bool operator==(const ValueRange&) const = default;
};

/// The values that an element stored as `type` can have: u8 0..255, i32 and i64 theirs.
ValueRange range_of_type(ScalarType type);

/// Knowledge at one place of a program, for one number of rows. Copies are cheap enough to make one
/// for every branch of an `if`.
///
/// Expressions are sums of coefficient * atom, where atoms are indices, uniforms, reads, `//` and
/// `%` by constants, and whatever else; equal atoms are recognised by their canonical text. Each
/// condition that holds gives facts "sum in min..max"; a range is the best of interval arithmetic
/// and of adding multiples of up to two facts. That covers the guards that gradients need:
/// `q - k + 1 >= 0 and q - k + 1 < 28`, `(q + 1) % 2 + 2 * k < 3`, `(q - 1) % 3 == 0`.
class RangeAnalysis {
 public:
  /// `rows` is the value of the uniform of that name.
  explicit RangeAnalysis(int64_t rows);

  int64_t rows() const { return rows_; }
  /// The index takes the values begin, ..., end - 1. Without any value, everything is unreachable.
  void add_index(std::string_view name, int64_t begin, int64_t end);
  /// Elements of this integer tensor. Unknown tensors may hold anything.
  void add_tensor(std::string_view name, ValueRange values);
  /// From here on the condition is true (`holds`) or false. Uses `and`, `or`, `not`, constants, and
  /// comparisons of integers; ignores the rest.
  void assume(const ExprRef& condition, bool holds = true);

  /// The assumptions contradict each other: this place is never reached.
  bool unreachable() const { return unreachable_; }
  /// Values of an integer expression here.
  ValueRange range(const ExprRef& e) const;
  /// 0 <= e < extent is certain (or this place is unreachable).
  bool proves_within(const ExprRef& e, int64_t extent) const;

 private:
  struct Atom;
  struct Term {
    std::shared_ptr<const Atom> atom;
    int64_t coefficient = 0;
  };
  /// constant + sum of coefficient * atom, keyed by the atom's canonical text.
  struct Sum {
    std::map<std::string, Term> terms;
    int64_t constant = 0;
  };
  struct Atom {
    enum class Kind : uint8_t { opaque, quotient, remainder };
    Kind kind = Kind::opaque;
    ValueRange range;  ///< known when the atom was made
    /// By declared ranges alone: canonical forms look at this one, so that they do not change as
    /// facts come in.
    ValueRange declared;
    Sum inside;  ///< of `inside // divisor` and `inside % divisor`
    int64_t divisor = 1;
  };
  static ValueRange declared_range(const Sum& sum);
  struct Fact {
    Sum sum;
    ValueRange range;  ///< of the whole sum
  };

  static std::string text(const Sum& sum);
  static Sum constant_sum(int64_t value);
  static bool add_scaled(Sum& to, const Sum& from, int64_t factor);
  Sum atom_sum(std::string key, Atom atom) const;
  Sum opaque(const ExprRef& e) const;
  Sum sum_of(const ExprRef& e) const;
  std::optional<Sum> divided(const Sum& inside, int64_t divisor, bool remainder) const;
  static void join_quotients(Sum& sum);

  ValueRange range_of_opaque(const Expr& e) const;
  ValueRange range_of_atom(const std::string& key, const Atom& atom) const;
  ValueRange range_by_terms(const Sum& sum) const;
  ValueRange range_with_facts(const Sum& sum, int facts) const;
  std::optional<Fact> fact_of_quotient(const std::string& key, const Atom& quotient,
                                       const Fact& fact) const;

  void assume_comparison(const Expr& comparison, bool holds);
  void add_fact(Sum sum, ValueRange range);
  void tighten();

  int64_t rows_ = 1;
  std::map<std::string, ValueRange, std::less<>> indices_;
  std::map<std::string, ValueRange, std::less<>> tensors_;
  std::map<std::string, ValueRange, std::less<>> tightened_;  ///< atoms, from facts
  std::vector<Fact> facts_;
  bool unreachable_ = false;
};

/// Calls `visit` on every node of `e` with what is known where the node is evaluated: `here`, and
/// inside the branches of an `if` its condition.
void walk_with_ranges(const ExprRef& e, const RangeAnalysis& here,
                      const std::function<void(const Expr&, const RangeAnalysis&)>& visit);

}  // namespace fusegrad::ir
