// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Walks the ways to write an index, not a list of layers: what the solver gets wrong is found in
// combinations that nobody wrote down.
#include "tests/support/random_expression.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace fusegrad::test {

using namespace ir;  // the whole file is about it

namespace {

ExprRef plus(ExprRef a, ExprRef b) { return make_binary(Op::add, std::move(a), std::move(b)); }
ExprRef minus(ExprRef a, ExprRef b) {
  return make_binary(Op::subtract, std::move(a), std::move(b));
}
ExprRef times(ExprRef a, ExprRef b) {
  return make_binary(Op::multiply, std::move(a), std::move(b));
}
ExprRef number(int64_t value) { return make_integer(value); }

}  // namespace

Extent RandomExpressions::size() {
  if (options_.sizes == RandomSizes::small) {
    return Extent::number(pick<int64_t>({1, 2, 2, 3, 3, 4, 4, 5, 6, 7}));
  }
  // With 7 more than a multiple of 8: one row short of a full tile.
  return Extent::number(pick<int64_t>({1, 2, 3, 5, 7, 8, 9, 10, 13, 15, 16, 17, 20, 23, 33}));
}

void RandomExpressions::set_scope(const std::vector<IndexRange>& left,
                                  const std::vector<IndexRange>& binders) {
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

// ---------------------------------------------------------------- indices

/// Whether `index` is proved to lie in 0..extent.
bool RandomExpressions::inside(const ExprRef& index, Extent extent) {
  ExprRef end = extent.depends_on_rows() ? times(make_uniform("rows"), number(extent.per_row))
                                         : number(extent.maximum);
  ExprRef condition = make_binary(Op::logical_and, make_binary(Op::greater_equal, index, number(0)),
                                  make_binary(Op::less, index, end));
  return is_boolean_constant(simplify_indices(condition, ranges_), true);
}

ExprRef RandomExpressions::linear() {
  static const std::vector<int64_t> factors = {1, 1, 1, 1, 2, 2, 3, -1, -1, -2};
  ExprRef sum;
  const int terms = chance(60) ? 1 : chance(80) ? 2 : 3;
  for (int i = 0; i < terms; ++i) {
    ExprRef index = make_index(any_index().name);
    int64_t factor = any_of(factors);
    ExprRef term = factor == 1 ? index : times(index, number(factor));
    sum = sum == nullptr ? term : plus(sum, term);
  }
  if (chance(35)) sum = plus(sum, number(below(9) - 4));
  return sum;
}

ExprRef RandomExpressions::flattened() {
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

/// An element of an integer tensor.
ExprRef RandomExpressions::gathered() {
  std::vector<const Tensor*> integers;
  for (const Tensor& tensor : tensors_) {
    if (is_integer(tensor.type) && tensor.values > 0) integers.push_back(&tensor);
  }
  if (integers.empty()) return nullptr;
  const Tensor& tensor = *any_of(integers);
  used.insert(tensor.name);
  std::vector<ExprRef> indices;
  bool safe = true;
  for (const Extent& extent : tensor.shape) {
    indices.push_back(plain(extent));
    safe = safe && inside(indices.back(), extent);
  }
  return make_read(tensor.name, tensor.type, std::move(indices), safe ? nullptr : number(0));
}

/// A simple index for a dimension, mostly inside.
ExprRef RandomExpressions::plain(Extent extent) {
  std::vector<ExprRef> fitting;
  std::vector<ExprRef> equal;
  for (const IndexRange& index : scope_) {
    ExprRef e = make_index(index.name);
    if (!inside(e, extent)) continue;
    fitting.push_back(e);
    if (index.end == extent && index.begin == 0) equal.push_back(e);
  }
  if (!equal.empty() && chance(75)) return any_of(equal);
  if (!fitting.empty() && chance(80)) return any_of(fitting);
  if (extent.depends_on_rows() || scope_.empty()) return number(0);
  return make_binary(Op::modulo, linear(), number(extent.maximum));
}

/// Any index for a dimension, inside or not.
ExprRef RandomExpressions::index_for(Extent extent) {
  if (scope_.empty())
    return number(extent.depends_on_rows() ? 0 : below(static_cast<int>(extent.maximum)));
  if (chance(options_.plain_indices)) return plain(extent);
  if (extent.depends_on_rows()) {
    if (chance(40)) return plain(extent);
    ExprRef e = linear();
    // Rows can be reversed too.
    return chance(40)
               ? minus(minus(times(make_uniform("rows"), number(extent.per_row)), number(1)), e)
               : e;
  }
  ExprRef m = number(extent.maximum);
  switch (below(8)) {
    case 0:
      return minus(number(extent.maximum - 1), make_index(any_index().name));
    case 1:
      return make_binary(Op::modulo, flattened(), m);
    case 2:
      return make_binary(Op::modulo,
                         make_binary(Op::floor_divide, flattened(), number(1 + below(4))), m);
    case 3:
      return make_binary(Op::floor_divide, chance(50) ? flattened() : linear(),
                         number(1 + below(4)));
    case 4:
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

// ---------------------------------------------------------------- reads

ExprRef RandomExpressions::read(const Tensor& tensor) {
  used.insert(tensor.name);
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
    if (tensor.type == ScalarType::boolean) {
      otherwise = make_boolean(chance(50));
    } else if (is_integer(tensor.type)) {
      otherwise = number(below(3));
    } else {
      otherwise = chance(15) ? scalar() : real(below(5) - 2);
    }
  }
  return make_read(tensor.name, tensor.type, std::move(indices), std::move(otherwise));
}

/// A real tensor; those that depend on a parameter are preferred.
const RandomExpressions::Tensor& RandomExpressions::any_real() {
  std::vector<const Tensor*> candidates;
  for (const Tensor& tensor : tensors_) {
    if (!is_real(tensor.type)) continue;
    for (int i = 0; i < (tensor.moves ? 3 : 1); ++i) candidates.push_back(&tensor);
  }
  return *any_of(candidates);
}

ExprRef RandomExpressions::read_real() {
  const Tensor& tensor = any_real();
  moves = moves || tensor.moves;
  return read(tensor);
}

/// A byte, another integer or a truth value, as a real.
ExprRef RandomExpressions::read_other() {
  std::vector<const Tensor*> candidates;
  for (const Tensor& tensor : tensors_) {
    if (!is_real(tensor.type)) candidates.push_back(&tensor);
  }
  if (candidates.empty()) return read_real();
  const Tensor& tensor = *any_of(candidates);
  if (tensor.type == ScalarType::boolean) {
    return make_select(read(tensor), real(1), chance(50) ? real(0.5) : read_real());
  }
  ExprRef value = make_convert(options_.real, read(tensor));
  // Bytes without a range are pixels.
  return tensor.values == 0 ? make_binary(Op::divide, value, real(255)) : times(value, real(0.1));
}

/// A parameter of rank 0, or a constant.
ExprRef RandomExpressions::scalar() {
  for (const Tensor& tensor : tensors_) {
    if (tensor.moves && tensor.shape.empty() && chance(50)) {
      moves = true;
      used.insert(tensor.name);
      return make_read(tensor.name, tensor.type, {});
    }
  }
  return real(pick<double>({0.5, 0.5, 1, -1, 0, 0.1, 3}));
}

ExprRef RandomExpressions::condition() {
  static const std::vector<Op> comparisons = {Op::less,          Op::less_equal, Op::greater,
                                              Op::greater_equal, Op::equal,      Op::not_equal};
  if (scope_.empty()) return make_binary(Op::less, number(1), make_uniform("rows"));
  switch (below(7)) {
    case 0: {
      ExprRef parity = make_binary(Op::modulo, linear(), number(2 + below(2)));
      return make_binary(Op::equal, parity, number(0));
    }
    case 1:
      if (options_.gathers) {
        if (ExprRef e = gathered()) return make_binary(any_of(comparisons), e, number(below(4)));
      }
      [[fallthrough]];
    case 2:
      return make_binary(chance(50) ? Op::greater : Op::less_equal, read(tensors_[0]), real(0.25));
    case 3:
      return make_binary(chance(50) ? Op::logical_and : Op::logical_or, condition(), condition());
    case 4:
      return make_unary(Op::logical_not, condition());
    case 5:
      for (const Tensor& tensor : tensors_) {
        if (tensor.type == ScalarType::boolean && chance(70)) return read(tensor);
      }
      [[fallthrough]];
    default:
      return make_binary(any_of(comparisons), linear(), linear());
  }
}

// ---------------------------------------------------------------- values

/// A random number for every element of the statement.
ExprRef RandomExpressions::random_number() {
  ExprRef position = number(0);
  for (const IndexRange& index : left_) {
    if (index.end.depends_on_rows() && &index != &left_[0]) return real(0.5);
    ExprRef i = make_index(index.name);
    position = &index == &left_[0] ? i : plus(times(position, number(index.end.maximum)), i);
  }
  return make_random(chance(60) ? Op::rand : Op::normal, next_stream_++, position, options_.real);
}

/// A smooth function of one argument with moderate slopes.
ExprRef RandomExpressions::smooth(const ExprRef& e) {
  switch (below(8)) {
    case 0:
    case 1:
      return make_unary(Op::tanh, e);
    case 2:
      return make_unary(chance(50) ? Op::sin : Op::cos, e);
    case 3:
      return make_unary(chance(50) ? Op::sqrt : Op::rsqrt, plus(times(e, e), real(0.5)));
    case 4:
      return make_unary(chance(50) ? Op::log : Op::log1p, plus(times(e, e), real(0.75)));
    case 5:
      return make_unary(chance(50) ? Op::exp : Op::expm1, make_unary(Op::tanh, e));
    case 6:
      return make_unary(chance(50) ? Op::erf : Op::negate, e);
    default:
      return make_binary(Op::power, e, number(2 + below(2)));
  }
}

/// stop_gradient, or a function whose slope is written beside it (the right one, so that
/// differences agree).
ExprRef RandomExpressions::marked(const ExprRef& e) {
  if (chance(50)) return make_unary(Op::stop_gradient, e);
  Expr node;
  node.op = Op::custom;
  node.type = {options_.real};
  node.operands = {make_unary(Op::sin, e), e, make_unary(Op::cos, e)};
  return make_node(std::move(node));
}

ExprRef RandomExpressions::product() { return times(read_real(), read_real()); }

ExprRef RandomExpressions::expression(int depth) {
  if (depth == 0 || chance(12)) return chance(12) ? scalar() : read_real();
  auto inner = [&] { return expression(depth - 1); };
  switch (below(22)) {
    case 0:
    case 1:
    case 2:
      return plus(inner(), inner());
    case 3:
      return minus(inner(), inner());
    case 4:
    case 5:
    case 6:
      return times(inner(), inner());
    case 7:
    case 8:
    case 9:
    case 10:
      return smooth(inner());
    case 11: {
      ExprRef e = inner();
      return make_binary(Op::divide, inner(), plus(times(e, e), real(1)));
    }
    case 12:
      return make_binary(Op::divide, inner(), real(pick<double>({2, 3, 7, 255})));
    case 13:
      if (!options_.kinks) return inner();
      return make_binary(chance(50) ? Op::maximum : Op::minimum, inner(), inner());
    case 14:
      if (!options_.kinks) return inner();
      return make_unary(Op::abs, inner());
    case 15:
    case 16:
      if (!options_.masks) return inner();
      return make_select(condition(), inner(), inner());
    case 17:
      if (!options_.marks) return inner();
      return marked(inner());
    case 18:
      if (!options_.random_numbers) return inner();
      return times(random_number(), inner());
    case 19:
    case 20:
      return times(read_other(), inner());
    default:
      return make_convert(options_.real,
                          scope_.empty() ? number(1 + below(2)) : make_index(any_index().name));
  }
}

}  // namespace fusegrad::test
