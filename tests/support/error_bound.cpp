// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Running error analysis over expression trees: slow and obvious.
#include "tests/support/error_bound.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>

#include "ir/support/check.h"

namespace fusegrad::test {
namespace {

using namespace ir;

constexpr double unit = 0x1p-24;
constexpr double infinite = std::numeric_limits<double>::infinity();

struct Tensor {
  std::vector<int64_t> shape;
  const BoundedTensor* elements = nullptr;
};

class Evaluator {
 public:
  Evaluator(const std::map<std::string, Tensor>& tensors, const Uniforms& uniforms, bool f64)
      : tensors_(tensors), uniforms_(uniforms), u_(f64 ? 0x1p-53 : unit) {}

  std::map<std::string, int64_t> indices;

  Bounded value(const ExprRef& e) {
    switch (e->op) {
      case Op::constant:
        if (is_real(e->type.scalar)) return {e->real, u_ * std::abs(e->real)};
        return {static_cast<double>(e->integer), 0};
      case Op::index:
        return {static_cast<double>(indices.at(e->name)), 0};
      case Op::uniform:
        return {static_cast<double>(uniform(e->name)), 0};
      case Op::read:
        return read(*e);
      case Op::select: {
        Bounded c = value(e->operands[0]);
        if (c.error == 0) return value(c.value != 0 ? e->operands[1] : e->operands[2]);
        return {value(c.value != 0 ? e->operands[1] : e->operands[2]).value, infinite};
      }
      case Op::logical_and:
      case Op::logical_or: {
        Bounded a = value(e->operands[0]);
        bool decides = (a.value != 0) == (e->op == Op::logical_or);
        if (decides) return a;
        Bounded b = value(e->operands[1]);
        return {b.value, std::max(a.error, b.error)};
      }
      case Op::stop_gradient:
      case Op::custom:
        return value(e->operands[0]);
      case Op::rand:
      case Op::normal: {
        // The random numbers themselves are tested elsewhere; here T's own evaluator draws them.
        ScalarScope scope;
        scope.index = [](std::string_view) { return -1; };
        scope.tensor = [](std::string_view) { return nullptr; };
        int64_t position = static_cast<int64_t>(value(e->operands[0]).value);
        ExprRef drawn = make_random(e->op, e->integer, make_integer(position), e->type.scalar);
        double real = compile_scalar(drawn, scope, uniforms_, Precision::all_f64).real(nullptr);
        return {real, e->op == Op::rand ? 0 : 16 * u_ * (1 + std::abs(real))};
      }
      default:
        break;
    }
    std::vector<Bounded> v;
    for (const ExprRef& operand : e->operands) v.push_back(value(operand));
    if (is_comparison(e->op)) return compare(e->op, v[0], v[1]);
    if (e->op == Op::logical_not) return {v[0].value != 0 ? 0.0 : 1.0, v[0].error};
    if (!is_real(e->type.scalar)) return integer(*e, v);
    Bounded result = real(*e, v);
    // 0 * infinity: what is uncertain stays so.
    if (std::isnan(result.error)) result.error = infinite;
    return result;
  }

 private:
  int64_t uniform(const std::string& name) const {
    if (name == "rows") return uniforms_.rows;
    if (name == "step") return uniforms_.step;
    if (name == "epoch") return uniforms_.epoch;
    if (name == "steps") return uniforms_.steps;
    return uniforms_.seed;
  }

  Bounded read(const Expr& e) {
    const Tensor& tensor = tensors_.at(e.name);
    int64_t position = 0;
    double error = 0;
    for (size_t d = 0; d < e.index_count(); ++d) {
      Bounded index = value(e.operands[d]);
      if (index.error != 0) error = infinite;
      auto at = static_cast<int64_t>(index.value);
      if (at < 0 || at >= tensor.shape[d]) {
        if (e.has_else) return value(e.else_value());
        return {0, infinite};  // only behind a condition that is not certain either
      }
      position = position * tensor.shape[d] + at;
    }
    Bounded element = (*tensor.elements)[static_cast<size_t>(position)];
    element.error = std::max(element.error, error);
    return element;
  }

  static Bounded compare(Op op, Bounded a, Bounded b) {
    bool certain = std::abs(a.value - b.value) > a.error + b.error ||
                   (a.error == 0 && b.error == 0) || std::isnan(a.value) || std::isnan(b.value);
    if (std::isinf(a.error) || std::isinf(b.error)) certain = false;
    bool holds = op == Op::less            ? a.value < b.value
                 : op == Op::less_equal    ? a.value <= b.value
                 : op == Op::greater       ? a.value > b.value
                 : op == Op::greater_equal ? a.value >= b.value
                 : op == Op::equal         ? a.value == b.value
                                           : a.value != b.value;
    return {holds ? 1.0 : 0.0, certain ? 0 : infinite};
  }

  static Bounded integer(const Expr& e, const std::vector<Bounded>& v) {
    auto a = static_cast<int64_t>(v[0].value);
    auto b = v.size() > 1 ? static_cast<int64_t>(v[1].value) : 0;
    double error = v.size() > 1 ? std::max(v[0].error, v[1].error) : v[0].error;
    switch (e.op) {
      case Op::add:
        return {static_cast<double>(a + b), error};
      case Op::subtract:
        return {static_cast<double>(a - b), error};
      case Op::multiply:
        return {static_cast<double>(a * b), error};
      case Op::negate:
        return {static_cast<double>(-a), error};
      case Op::floor_divide:
        return {static_cast<double>(ir::floor_divide(a, b)), error};
      case Op::modulo:
        return {static_cast<double>(ir::floor_modulo(a, b)), error};
      case Op::maximum:
        return {static_cast<double>(std::max(a, b)), error};
      case Op::minimum:
        return {static_cast<double>(std::min(a, b)), error};
      case Op::abs:
        return {static_cast<double>(std::abs(a)), error};
      case Op::convert: {
        double low = std::trunc(v[0].value - v[0].error);
        double high = std::trunc(v[0].value + v[0].error);
        double t = std::isnan(v[0].value)
                       ? 0
                       : std::clamp(std::trunc(v[0].value), -2147483648.0, 2147483647.0);
        return {t, low == high || std::isnan(v[0].value) ? 0 : infinite};
      }
      default:
        FG_UNREACHABLE("no integer rule for `{}`", spelling(e.op));
    }
  }

  Bounded real(const Expr& e, const std::vector<Bounded>& v) const {
    Bounded a = v[0];
    Bounded b = v.size() > 1 ? v[1] : Bounded{};
    switch (e.op) {
      case Op::negate:
        return {-a.value, a.error};
      case Op::abs:
        return {std::abs(a.value), a.error};
      case Op::convert:
        return {a.value, a.error + u_ * std::abs(a.value)};
      case Op::add:
      case Op::subtract: {
        double r = e.op == Op::add ? a.value + b.value : a.value - b.value;
        return {r, a.error + b.error + u_ * std::abs(r)};
      }
      case Op::multiply: {
        double r = a.value * b.value;
        return {r, std::abs(a.value) * b.error + std::abs(b.value) * a.error + a.error * b.error +
                       u_ * std::abs(r)};
      }
      case Op::divide: {
        double r = a.value / b.value;
        double room = std::abs(b.value) - b.error;
        if (!(room > 0)) return {r, infinite};
        return {r, (a.error + std::abs(r) * b.error) / room + 2 * u_ * std::abs(r)};
      }
      case Op::maximum:
      case Op::minimum: {
        bool first = e.op == Op::maximum ? a.value >= b.value : a.value <= b.value;
        double r = first || std::isnan(a.value) ? a.value : b.value;
        return {r, std::max(a.error, b.error)};
      }
      case Op::power: {
        auto f = [&](double x) { return std::pow(x, b.value); };
        if (b.error != 0) return {f(a.value), infinite};
        return function(a, f, 16 + 2 * std::abs(b.value));
      }
      case Op::exp:
        return function(a, [](double x) { return std::exp(x); });
      case Op::log:
        return function(a, [](double x) { return std::log(x); });
      case Op::log1p:
        return function(a, [](double x) { return std::log1p(x); });
      case Op::expm1:
        return function(a, [](double x) { return std::expm1(x); });
      case Op::sqrt:
        return function(a, [](double x) { return std::sqrt(x); });
      case Op::rsqrt:
        return function(a, [](double x) { return 1 / std::sqrt(x); });
      case Op::tanh:
        return function(a, [](double x) { return std::tanh(x); });
      case Op::erf:
        return function(a, [](double x) { return std::erf(x); });
      case Op::sin:
        return {std::sin(a.value), a.error + 4 * u_};
      case Op::cos:
        return {std::cos(a.value), a.error + 4 * u_};
      case Op::floor: {
        double r = std::floor(a.value);
        return {r, std::floor(a.value - a.error) == std::floor(a.value + a.error) ? 0 : infinite};
      }
      default:
        FG_UNREACHABLE("no error rule for `{}`", spelling(e.op));
    }
  }

  /// Monotone on each side of the value: the ends of the interval bound the change.
  template <typename F>
  Bounded function(Bounded a, F f, double ulps = 4) const {
    double r = f(a.value);
    double low = f(a.value - a.error);
    double high = f(a.value + a.error);
    double change = std::max(std::abs(low - r), std::abs(high - r));
    if (a.error == 0) change = 0;
    if (std::isnan(change)) change = std::isnan(r) && a.error == 0 ? 0 : infinite;
    return {r, change + ulps * u_ * std::abs(r)};
  }

  const std::map<std::string, Tensor>& tensors_;
  const Uniforms& uniforms_;
  double u_;
};

Bounded reduce(Reduction reduction, bool real, bool f64, const std::vector<Bounded>& points,
               const std::vector<int64_t>& positions) {
  double u = f64 ? 0x1p-53 : unit;
  switch (reduction) {
    case Reduction::sum: {
      Bounded total;
      double magnitude = 0;
      for (const Bounded& point : points) {
        total.value += point.value;
        total.error += point.error;
        magnitude += std::abs(point.value);
      }
      if (real) total.error += u * static_cast<double>(points.size() + 1) * magnitude;
      return total;
    }
    case Reduction::max:
    case Reduction::min: {
      Bounded best{reduction == Reduction::max ? -infinite : infinite, 0};
      for (const Bounded& point : points) {
        bool keep =
            std::isnan(best.value) ||
            (reduction == Reduction::max ? best.value >= point.value : best.value <= point.value);
        best = {keep ? best.value : point.value, std::max(best.error, point.error)};
      }
      return best;
    }
    case Reduction::argmax:
    case Reduction::argmin: {
      std::optional<size_t> best;
      for (size_t i = 0; i < points.size(); ++i) {
        bool better = !best ||
                      (reduction == Reduction::argmax ? points[i].value > points[*best].value
                                                      : points[i].value < points[*best].value) ||
                      (std::isnan(points[i].value) && !std::isnan(points[*best].value));
        if (better) best = i;
      }
      if (!best) return {0, 0};
      bool certain = true;
      for (size_t i = 0; i < points.size(); ++i) {
        double doubt = points[i].error + points[*best].error;
        if (i != *best && doubt > 0 && !(std::abs(points[i].value - points[*best].value) > doubt))
          certain = false;
      }
      return {static_cast<double>(positions[*best]), certain ? 0 : infinite};
    }
    case Reduction::any:
    case Reduction::all: {
      Bounded result{reduction == Reduction::all ? 1.0 : 0.0, 0};
      for (const Bounded& point : points) {
        bool hit = (point.value != 0) == (reduction == Reduction::any);
        if (hit) result.value = reduction == Reduction::any ? 1 : 0;
        result.error = std::max(result.error, point.error);
      }
      return result;
    }
    case Reduction::none:
      break;
  }
  FG_UNREACHABLE("reducing without a reduction");
}

/// Visits all points of a box in row-major order.
void for_each_point(const std::vector<IndexRange>& ranges, int64_t rows,
                    std::map<std::string, int64_t>& indices,
                    const std::function<void(int64_t)>& visit) {
  int64_t position = 0;
  std::function<void(size_t)> descend = [&](size_t at) {
    if (at == ranges.size()) {
      visit(position++);
      return;
    }
    for (int64_t i = ranges[at].begin; i < ranges[at].end.at(rows); ++i) {
      indices[ranges[at].name] = i;
      descend(at + 1);
    }
  };
  descend(0);
}

}  // namespace

std::map<std::string, BoundedTensor> evaluate_with_bounds(const TensorProgram& program,
                                                          const TensorValues& given,
                                                          const Uniforms& uniforms) {
  std::map<std::string, BoundedTensor> results;
  std::map<std::string, Tensor> tensors;
  bool f64 = program.real == ScalarType::f64;
  for (const auto& [name, value] : given) {
    BoundedTensor& elements = results[name];
    for (double real : value.reals) elements.push_back({real, 0});
    for (int64_t number : value.integers) elements.push_back({static_cast<double>(number), 0});
    tensors[name] = {value.shape, &elements};
  }
  for (const TensorStatement& statement : program.statements) {
    BoundedTensor elements;
    Evaluator evaluator(tensors, uniforms, f64);
    for_each_point(statement.indices, uniforms.rows, evaluator.indices, [&](int64_t) {
      if (statement.reduction == Reduction::none) {
        elements.push_back(evaluator.value(statement.value));
        return;
      }
      std::vector<Bounded> points;
      std::vector<int64_t> positions;
      double doubt = 0;
      for_each_point(statement.binders, uniforms.rows, evaluator.indices, [&](int64_t position) {
        if (statement.condition != nullptr) {
          Bounded condition = evaluator.value(statement.condition);
          doubt = std::max(doubt, condition.error);
          if (condition.value == 0) return;
        }
        points.push_back(evaluator.value(statement.value));
        positions.push_back(position);
      });
      Bounded element = reduce(statement.reduction, is_real(statement.value->type.scalar), f64,
                               points, positions);
      element.error = std::max(element.error, doubt);
      elements.push_back(element);
    });
    Tensor& tensor = tensors[statement.name];
    tensor.shape = sizes_at(statement.shape(), uniforms.rows);
    tensor.elements = &(results[statement.name] = std::move(elements));
  }
  return results;
}

double worst_ratio(const BoundedTensor& expected, const std::vector<double>& ours) {
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (std::isinf(expected[i].error) || std::isnan(expected[i].error)) continue;
    if (std::isnan(expected[i].value) && std::isnan(ours[i])) continue;
    if (expected[i].value == ours[i]) continue;
    // Beyond f32's range the f32 result is infinite; the f64 one need not be.
    if (std::abs(expected[i].value) > 3e38 && std::isinf(ours[i])) continue;
    double ratio = std::abs(ours[i] - expected[i].value) / (4 * expected[i].error + 0x1p-149);
    worst = std::max(worst, std::isnan(ratio) ? infinite : ratio);
  }
  return worst;
}

}  // namespace fusegrad::test
