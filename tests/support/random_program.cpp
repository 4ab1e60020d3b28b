// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The generator walks the ways to write an index, not a list of layers: what the solver gets wrong
// is found in combinations that nobody wrote down.
#include "tests/support/random_program.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ir/linear_form.h"
#include "ir/tensor/print.h"
#include "ir/tensor/verify.h"

namespace fusegrad::test {
namespace {

using namespace ir;  // the whole file is about it

ExprRef plus(ExprRef a, ExprRef b) { return make_binary(Op::add, std::move(a), std::move(b)); }
ExprRef minus(ExprRef a, ExprRef b) {
  return make_binary(Op::subtract, std::move(a), std::move(b));
}
ExprRef times(ExprRef a, ExprRef b) {
  return make_binary(Op::multiply, std::move(a), std::move(b));
}
ExprRef number(int64_t value) { return make_integer(value); }

class Generator {
 public:
  Generator(uint64_t seed, const RandomProgramOptions& options)
      : engine_(seed), options_(options) {}

  TensorProgram run() {
    program_.name = "train";
    program_.batch = options_.batch;
    program_.real = options_.real;
    declare();
    const int count = 2 + below(std::max(1, options_.statements - 1));
    for (int i = 0; i < count; ++i) add_statement(fmt::format("t{}", i));
    add_loss();
    for (const std::string& violation : verify(program_)) {
      ADD_FAILURE() << violation << "\n" << print(program_);
    }
    return std::move(program_);
  }

 private:
  struct Tensor {
    std::string name;
    ScalarType type;
    Shape shape;
    int64_t values = 0;  ///< of integers: 0..values
    bool moves = false;  ///< depends on a parameter
  };

  int below(int n) { return static_cast<int>(engine_() % static_cast<uint64_t>(n)); }
  bool chance(int percent) { return below(100) < percent; }
  ExprRef real(double value) { return make_real(value, options_.real); }
  Extent rows(int64_t factor = 1) { return Extent::of_rows(options_.batch, factor); }
  Extent size() {
    static const int64_t sizes[] = {1, 2, 2, 3, 3, 4, 4, 5, 6, 7};
    return Extent::number(sizes[below(10)]);
  }

  // ---- declarations

  void declare_one(TensorKind kind, const std::string& name, ScalarType type, Shape shape,
                   int64_t values = 0) {
    TensorDeclaration declaration;
    declaration.kind = kind;
    declaration.name = name;
    declaration.type = type;
    declaration.shape = shape;
    if (values > 0) declaration.range = IntegerRange{0, values};
    program_.declarations.push_back(declaration);
    tensors_.push_back({name, type, std::move(shape), values, kind == TensorKind::parameter});
  }

  void declare() {
    declare_one(TensorKind::input, "x", options_.real, {rows(), size(), size()});
    if (chance(50)) declare_one(TensorKind::input, "y", options_.real, {rows()});
    const int64_t classes = 2 + below(5);
    Shape label_shape = {rows()};
    if (chance(40)) label_shape.push_back(size());
    declare_one(TensorKind::input, "label", chance(50) ? ScalarType::u8 : ScalarType::i32,
                label_shape, classes);
    const int parameters = 2 + below(3);
    for (int i = 0; i < parameters; ++i) {
      Shape shape;
      const int rank = i == 0 ? 1 + below(3) : below(4);
      for (int d = 0; d < rank; ++d) shape.push_back(size());
      declare_one(TensorKind::parameter, fmt::format("p{}", i), options_.real, shape);
    }
  }

  // ---- indices

  /// Whether `index` is proved to lie in 0..extent.
  bool inside(const ExprRef& index, Extent extent) {
    ExprRef end = extent.depends_on_rows() ? times(make_uniform("rows"), number(extent.per_row))
                                           : number(extent.maximum);
    ExprRef condition =
        make_binary(Op::logical_and, make_binary(Op::greater_equal, index, number(0)),
                    make_binary(Op::less, index, end));
    return is_boolean_constant(simplify_indices(condition, ranges_), true);
  }

  const IndexRange& any_index() {
    return scope_[static_cast<size_t>(below(static_cast<int>(scope_.size())))];
  }

  /// A linear combination of some indices of the statement.
  ExprRef linear() {
    static const int64_t factors[] = {1, 1, 1, 1, 2, 2, 3, -1, -1, -2};
    ExprRef sum;
    const int terms = chance(60) ? 1 : chance(80) ? 2 : 3;
    for (int i = 0; i < terms; ++i) {
      ExprRef index = make_index(any_index().name);
      int64_t factor = factors[below(10)];
      ExprRef term = factor == 1 ? index : times(index, number(factor));
      sum = sum == nullptr ? term : plus(sum, term);
    }
    if (chance(35)) sum = plus(sum, number(below(9) - 4));
    return sum;
  }

  /// The position in the flattened space of two or three indices: what a reshape reads.
  ExprRef flattened() {
    ExprRef sum;
    const int count = 2 + below(2);
    for (int i = 0; i < count; ++i) {
      const IndexRange& index = any_index();
      ExprRef term = make_index(index.name);
      if (index.end.depends_on_rows() && sum != nullptr) return sum;
      sum = sum == nullptr ? term : plus(times(sum, number(index.end.maximum)), term);
    }
    return sum;
  }

  ExprRef gathered() {
    std::vector<const Tensor*> integers;
    for (const Tensor& tensor : tensors_) {
      if (is_integer(tensor.type)) integers.push_back(&tensor);
    }
    if (integers.empty()) return nullptr;
    const Tensor& tensor = *integers[static_cast<size_t>(below(static_cast<int>(integers.size())))];
    std::vector<ExprRef> indices;
    bool safe = true;
    for (const Extent& extent : tensor.shape) {
      indices.push_back(plain(extent));
      safe = safe && inside(indices.back(), extent);
    }
    return make_read(tensor.name, tensor.type, std::move(indices), safe ? nullptr : number(0));
  }

  /// A simple index for a dimension, mostly inside.
  ExprRef plain(Extent extent) {
    std::vector<ExprRef> fitting;
    for (const IndexRange& index : scope_) {
      ExprRef e = make_index(index.name);
      if (inside(e, extent)) fitting.push_back(e);
    }
    if (!fitting.empty() && chance(80)) {
      return fitting[static_cast<size_t>(below(static_cast<int>(fitting.size())))];
    }
    if (extent.depends_on_rows() || scope_.empty()) return number(0);
    return make_binary(Op::modulo, linear(), number(extent.maximum));
  }

  /// Any index for a dimension, inside or not.
  ExprRef index_for(Extent extent) {
    if (scope_.empty())
      return number(extent.depends_on_rows() ? 0 : below(static_cast<int>(extent.maximum)));
    if (extent.depends_on_rows()) {
      if (chance(60)) return plain(extent);
      ExprRef e = linear();
      // Rows can be reversed too.
      return chance(40)
                 ? minus(minus(times(make_uniform("rows"), number(extent.per_row)), number(1)), e)
                 : e;
    }
    ExprRef m = number(extent.maximum);
    switch (below(12)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return plain(extent);
      case 4:
        return minus(number(extent.maximum - 1), make_index(any_index().name));
      case 5:
        return make_binary(Op::modulo, flattened(), m);
      case 6:
        return make_binary(Op::modulo,
                           make_binary(Op::floor_divide, flattened(), number(1 + below(4))), m);
      case 7:
        return make_binary(Op::floor_divide, chance(50) ? flattened() : linear(),
                           number(1 + below(4)));
      case 8:
        if (options_.gathers) {
          if (ExprRef e = gathered()) {
            if (chance(25)) e = plus(e, make_index(any_index().name));
            return chance(50) ? e : make_binary(Op::modulo, e, m);
          }
        }
        return linear();
      default:
        return linear();
    }
  }

  // ---- expressions

  ExprRef read(const Tensor& tensor) {
    std::vector<ExprRef> indices;
    bool safe = true;
    // Now and then all dimensions are digits of one position: a reshape.
    const bool reshape = tensor.shape.size() >= 2 && !scope_.empty() && chance(20) &&
                         !tensor.shape[0].depends_on_rows();
    ExprRef position = reshape ? flattened() : nullptr;
    int64_t weight = 1;
    for (size_t d = tensor.shape.size(); d-- > 0;) {
      const Extent& extent = tensor.shape[d];
      if (reshape) {
        ExprRef digit = make_binary(Op::floor_divide, position, number(weight));
        if (d != 0) digit = make_binary(Op::modulo, digit, number(extent.maximum));
        weight *= extent.maximum;
        indices.push_back(digit);
      } else if (d + 1 < tensor.shape.size() && !indices.empty() && chance(10)) {
        indices.push_back(indices.back());  // a diagonal
      } else {
        indices.push_back(index_for(extent));
      }
      safe = safe && inside(indices.back(), extent);
    }
    std::reverse(indices.begin(), indices.end());
    ExprRef otherwise;
    if (!safe) {
      otherwise = is_integer(tensor.type) ? number(below(3)) : real(below(5) - 2);
      if (!is_integer(tensor.type) && chance(15)) otherwise = scalar();
    }
    return make_read(tensor.name, tensor.type, std::move(indices), std::move(otherwise));
  }

  /// A real tensor; those that depend on a parameter are preferred.
  const Tensor& any_real() {
    std::vector<const Tensor*> candidates;
    for (const Tensor& tensor : tensors_) {
      if (!is_real(tensor.type)) continue;
      for (int i = 0; i < (tensor.moves ? 3 : 1); ++i) candidates.push_back(&tensor);
    }
    return *candidates[static_cast<size_t>(below(static_cast<int>(candidates.size())))];
  }

  ExprRef read_real() {
    const Tensor& tensor = any_real();
    moves_ = moves_ || tensor.moves;
    used_.insert(tensor.name);
    return read(tensor);
  }

  /// A parameter of rank 0, or a constant.
  ExprRef scalar() {
    for (const Tensor& tensor : tensors_) {
      if (tensor.moves && tensor.shape.empty() && chance(50)) {
        moves_ = true;
        used_.insert(tensor.name);
        return make_read(tensor.name, tensor.type, {});
      }
    }
    return real(0.5);
  }

  /// A condition that no parameter can change.
  ExprRef condition() {
    static const Op comparisons[] = {Op::less,          Op::less_equal, Op::greater,
                                     Op::greater_equal, Op::equal,      Op::not_equal};
    if (scope_.empty()) return make_binary(Op::less, number(1), make_uniform("rows"));
    switch (below(6)) {
      case 0: {
        ExprRef parity = make_binary(Op::modulo, linear(), number(2 + below(2)));
        return make_binary(Op::equal, parity, number(0));
      }
      case 1:
        if (options_.gathers) {
          if (ExprRef e = gathered())
            return make_binary(comparisons[below(6)], e, number(below(4)));
        }
        [[fallthrough]];
      case 2: {
        const Tensor& x = tensors_[0];
        return make_binary(chance(50) ? Op::greater : Op::less_equal, read(x), real(0.25));
      }
      case 3:
        return make_binary(chance(50) ? Op::logical_and : Op::logical_or, condition(), condition());
      case 4:
        return make_unary(Op::logical_not, condition());
      default:
        return make_binary(comparisons[below(6)], linear(), linear());
    }
  }

  ExprRef random_number(const std::vector<IndexRange>& left) {
    ExprRef position = number(0);
    for (const IndexRange& index : left) {
      if (index.end.depends_on_rows() && &index != &left[0]) return real(0.5);
      ExprRef i = make_index(index.name);
      position = &index == &left[0] ? i : plus(times(position, number(index.end.maximum)), i);
    }
    return make_random(chance(60) ? Op::rand : Op::normal, next_stream_++, position, options_.real);
  }

  ExprRef expression(int depth) {
    if (depth == 0 || chance(12)) return chance(88) ? read_real() : scalar();
    auto inner = [&] { return expression(depth - 1); };
    switch (below(18)) {
      case 0:
      case 1:
        return plus(inner(), inner());
      case 2:
        return minus(inner(), inner());
      case 3:
      case 4:
      case 5:
        return times(inner(), inner());
      case 6:
        return make_unary(Op::tanh, inner());
      case 7:
        return make_unary(chance(50) ? Op::sin : Op::cos, inner());
      case 8: {
        ExprRef e = inner();
        return make_unary(chance(50) ? Op::sqrt : Op::rsqrt, plus(times(e, e), real(0.5)));
      }
      case 9: {
        ExprRef e = inner();
        return make_unary(chance(50) ? Op::log : Op::log1p, plus(times(e, e), real(0.75)));
      }
      case 10: {
        ExprRef e = inner();
        return make_binary(Op::divide, inner(), plus(times(e, e), real(1)));
      }
      case 11:
        return make_unary(chance(50) ? Op::exp : Op::expm1, make_unary(Op::tanh, inner()));
      case 12:
        return make_unary(chance(50) ? Op::erf : Op::negate, inner());
      case 13:
        return make_binary(Op::power, inner(), number(2 + below(2)));
      case 14:
        if (!options_.kinks) return inner();
        return make_binary(chance(50) ? Op::maximum : Op::minimum, inner(), inner());
      case 15:
        if (!options_.kinks) return inner();
        return make_unary(Op::abs, inner());
      case 16:
        if (!options_.masks) return inner();
        return make_select(condition(), inner(), inner());
      default:
        if (options_.random_numbers && chance(40)) return times(random_number(left_), inner());
        return make_convert(options_.real,
                            scope_.empty() ? number(1 + below(2)) : make_index(any_index().name));
    }
  }

  // ---- statements

  void set_scope(const std::vector<IndexRange>& left, const std::vector<IndexRange>& binders) {
    left_ = left;
    scope_ = left;
    scope_.insert(scope_.end(), binders.begin(), binders.end());
    ranges_ = {};
    ranges_.add_rows(options_.batch);
    for (const IndexRange& index : scope_) ranges_.add(index.name, index.begin, index.end);
    ranges_.other = [this](const Expr& e) -> std::optional<Interval> {
      for (const Tensor& tensor : tensors_) {
        if (e.op == Op::read && tensor.name == e.name && tensor.values > 0) {
          return Interval{0, tensor.values - 1};
        }
      }
      return std::nullopt;
    };
  }

  std::vector<IndexRange> left_indices() {
    static const char* const names[] = {"i", "j", "k"};
    std::vector<IndexRange> left;
    const int rank = below(4);
    for (int d = 0; d < rank; ++d) {
      Extent extent = d == 0 && chance(60) ? rows(chance(20) ? 2 + below(2) : 1) : size();
      left.push_back({names[d], 0, extent});
    }
    return left;
  }

  std::vector<IndexRange> binders() {
    static const char* const names[] = {"r", "s", "u"};
    std::vector<IndexRange> result;
    const int count = 1 + below(chance(30) ? 3 : 2);
    for (int d = 0; d < count; ++d) {
      if (chance(20)) {
        result.push_back({names[d], 0, rows(chance(15) ? 2 : 1)});
      } else {
        const int64_t begin = chance(15) ? below(4) - 2 : 0;
        result.push_back({names[d], begin, Extent::number(begin + size().maximum)});
      }
    }
    return result;
  }

  void add_statement(const std::string& name) {
    // Proofs of two independent analyses may differ: what the verifier does not accept is drawn
    // again.
    for (int attempt = 0; attempt < 50; ++attempt) {
      TensorStatement statement;
      statement.name = name;
      statement.type = options_.real;
      statement.indices = left_indices();
      const bool reduces = chance(50);
      if (reduces) statement.binders = binders();
      set_scope(statement.indices, statement.binders);
      moves_ = false;
      std::set<std::string> used_before = used_;
      int64_t values = 0;
      if (!reduces && options_.gathers && chance(10) && !scope_.empty()) {
        values = 2 + below(5);
        statement.type = ScalarType::i32;
        statement.value =
            make_binary(Op::modulo, chance(50) ? linear() : flattened(), number(values));
      } else {
        statement.value = expression(1 + below(3));
        if (reduces) {
          statement.reduction = Reduction::sum;
          if (options_.reductions && chance(30)) {
            statement.reduction = chance(50) ? Reduction::max : Reduction::min;
          } else if (options_.reductions && options_.gathers && chance(10)) {
            statement.reduction = chance(50) ? Reduction::argmax : Reduction::argmin;
          }
          // An empty maximum is infinite; sums may be empty.
          if (statement.reduction == Reduction::sum && options_.masks && chance(35)) {
            statement.condition = condition();
          }
        }
        if (statement.reduction == Reduction::argmax || statement.reduction == Reduction::argmin) {
          statement.type = ScalarType::i32;
          values = 1;
          for (const IndexRange& binder : statement.binders) {
            values *= binder.end.maximum - binder.begin;
          }
        }
      }
      program_.statements.push_back(statement);
      if (verify(program_).empty()) {
        tensors_.push_back(
            {name, statement.type, statement.shape(), values, moves_ && is_real(statement.type)});
        return;
      }
      program_.statements.pop_back();
      used_ = used_before;
    }
    ADD_FAILURE() << "no statement was accepted";
  }

  /// Every real tensor that nothing read, and some others, bounded and with unequal weights.
  void add_loss() {
    static const char* const names[] = {"i", "j", "k"};
    ExprRef loss;
    const std::vector<Tensor> all = tensors_;
    for (const Tensor& tensor : all) {
      if (!is_real(tensor.type) || !tensor.moves || (used_.contains(tensor.name) && chance(70))) {
        continue;
      }
      std::vector<ExprRef> indices;
      TensorStatement part;
      part.name = "loss." + tensor.name;
      part.type = options_.real;
      ExprRef weight = real(0.5);
      for (size_t d = 0; d < tensor.shape.size(); ++d) {
        part.binders.push_back({names[d], 0, tensor.shape[d]});
        indices.push_back(make_index(names[d]));
        weight = plus(weight, times(real(0.25 + 0.125 * static_cast<double>(d)),
                                    make_convert(options_.real, indices.back())));
      }
      ExprRef bounded = make_unary(Op::tanh, make_read(tensor.name, tensor.type, indices));
      part.value = make_unary(Op::sin, times(weight, bounded));
      if (!part.binders.empty()) part.reduction = Reduction::sum;
      program_.statements.push_back(part);
      ExprRef term = make_read(part.name, part.type, {});
      loss = loss == nullptr ? term : plus(loss, term);
    }
    TensorStatement total;
    total.name = "loss";
    total.type = options_.real;
    total.value = loss == nullptr ? real(1) : loss;
    program_.statements.push_back(total);
    program_.results.push_back({TensorResultKind::loss, "loss", "loss"});
  }

  std::mt19937_64 engine_;
  const RandomProgramOptions options_;
  TensorProgram program_;
  std::vector<Tensor> tensors_;
  std::vector<IndexRange> left_;
  std::vector<IndexRange> scope_;
  IndexRanges ranges_;
  bool moves_ = false;
  std::set<std::string> used_;
  int64_t next_stream_ = 1;
};

}  // namespace

TensorProgram random_program(uint64_t seed, const RandomProgramOptions& options) {
  return Generator(seed, options).run();
}

}  // namespace fusegrad::test
