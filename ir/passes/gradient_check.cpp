// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The oracle of differentiation: it knows nothing of adjoints, only how the loss moves when a
// parameter does.
#include "ir/passes/gradient_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <utility>

#include "ir/passes/differentiate_lift.h"
#include "ir/support/check.h"
#include "ir/tensor/evaluate.h"

namespace fusegrad::ir {
namespace {

constexpr double not_compared = std::numeric_limits<double>::quiet_NaN();
/// Points that are tried when one is a kink or has no finite loss.
constexpr int most_points = 6;

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  double uniform() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }
  double normal() {  // Box and Muller, so that every standard library draws the same numbers
    constexpr double two_pi = 6.283185307179586;
    return std::sqrt(-2 * std::log(1 - uniform())) * std::cos(two_pi * uniform());
  }
  int64_t integer(int64_t begin, int64_t end) {
    return begin + static_cast<int64_t>(engine_() % static_cast<uint64_t>(end - begin));
  }

 private:
  std::mt19937_64 engine_;
};

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// ---------------------------------------------------------------- stop_gradient

/// Every stop_gradient(e) becomes a read of a statement of its own, which can be held fixed.
class Holder {
 public:
  explicit Holder(const TensorProgram& program) : program_(program) {}

  /// The names of those statements.
  std::set<std::string> held;

  TensorProgram run() {
    std::vector<TensorStatement> statements = std::move(program_.statements);
    program_.statements.clear();
    for (TensorStatement& statement : statements) {
      taken_.insert(statement.name);
    }
    for (TensorStatement statement : statements) {
      statement.value = without_marks(statement.value, statement, {});
      program_.statements.push_back(std::move(statement));
    }
    return std::move(program_);
  }

 private:
  ExprRef without_marks(const ExprRef& e, const TensorStatement& from,
                        const std::vector<PathLiteral>& path) {
    if (!contains_mark(e)) return e;
    if (e->op == Op::stop_gradient && is_real(e->type.scalar)) {
      std::optional<LiftedPart> part =
          lift_part(from, strip_marks(e), path, fresh_name(from.name), program_.batch);
      if (!part) return e;
      held.insert(part->statement.name);
      program_.statements.push_back(std::move(part->statement));
      return part->read;
    }
    std::vector<ExprRef> operands;
    for (size_t i = 0; i < e->operands.size(); ++i) {
      std::vector<PathLiteral> inner = path;
      if (e->op == Op::select && i > 0) {
        inner.push_back({strip_marks(e->operands[0]), i == 1});
      }
      operands.push_back(without_marks(e->operands[i], from, inner));
    }
    return with_operands(*e, std::move(operands));
  }

  static bool contains_mark(const ExprRef& e) {
    if (e->op == Op::stop_gradient) return true;
    return std::any_of(e->operands.begin(), e->operands.end(), contains_mark);
  }

  std::string fresh_name(const std::string& statement) {
    std::string name = statement + ".held";
    for (int i = 2; taken_.contains(name) || program_.find_declaration(name) != nullptr; ++i) {
      name = fmt::format("{}.held_{}", statement, i);
    }
    taken_.insert(name);
    return name;
  }

  TensorProgram program_;
  std::set<std::string> taken_;
};

// ---------------------------------------------------------------- the part of a program that moves

void add_reads(const TensorStatement& statement, std::set<std::string>& names) {
  for (const ExprRef& e : {statement.value, statement.condition}) {
    if (e == nullptr) continue;
    walk(e, [&](const Expr& node) {
      if (node.op == Op::read) names.insert(node.name);
    });
  }
}

/// The statements between `parameter` and the loss. Everything else that they read is declared, to
/// be given as it was computed at the point of interest.
struct MovingPart {
  TensorProgram program;
  bool through_custom = false;
};

MovingPart moving_part(const TensorProgram& program, const std::set<std::string>& held,
                       const std::string& parameter, const std::string& loss) {
  std::set<std::string> moves = {parameter};
  for (const TensorStatement& statement : program.statements) {
    if (held.contains(statement.name)) continue;
    std::set<std::string> reads;
    add_reads(statement, reads);
    for (const std::string& name : reads) {
      if (moves.contains(name)) moves.insert(statement.name);
    }
  }
  std::set<std::string> needed = {loss};
  for (size_t i = program.statements.size(); i-- > 0;) {
    const TensorStatement& statement = program.statements[i];
    if (needed.contains(statement.name) && moves.contains(statement.name)) {
      add_reads(statement, needed);
    }
  }
  MovingPart part;
  part.program.name = program.name;
  part.program.batch = program.batch;
  part.program.real = program.real;
  for (const TensorDeclaration& declaration : program.declarations) {
    if (needed.contains(declaration.name)) part.program.declarations.push_back(declaration);
  }
  for (const TensorStatement& statement : program.statements) {
    if (!needed.contains(statement.name)) continue;
    if (moves.contains(statement.name)) {
      part.program.statements.push_back(statement);
      walk(statement.value, [&](const Expr& node) {
        part.through_custom = part.through_custom || node.op == Op::custom;
      });
    } else {
      TensorDeclaration declaration;
      declaration.kind = TensorKind::state;
      declaration.name = statement.name;
      declaration.type = statement.type;
      declaration.shape = statement.shape();
      part.program.declarations.push_back(std::move(declaration));
    }
  }
  return part;
}

// ---------------------------------------------------------------- the check

/// A point in the space of parameters, with everything that was computed there.
struct ParameterPoint {
  TensorValues values;
  double loss = 0;
  double gradient_norm = 0;  ///< of all parameters together
};

class Checker {
 public:
  Checker(const TensorProgram& forward, const TensorProgram& differentiated,
          std::set<std::string> held, const GradientCheckOptions& options)
      : forward_(forward),
        differentiated_(differentiated),
        held_(std::move(held)),
        options_(options) {
    uniforms_.rows = std::clamp<int64_t>(options.rows, 1, forward.batch);
    uniforms_.step = 1;
    uniforms_.epoch = 1;
    uniforms_.steps = 10;
    uniforms_.seed = static_cast<int64_t>(options.seed >> 1);
    for (const TensorResult& result : differentiated.results) {
      if (result.kind == TensorResultKind::loss) loss_ = result.tensor;
      if (result.kind == TensorResultKind::gradient) gradients_[result.label] = result.tensor;
    }
  }

  GradientCheck run() {
    GradientCheck result;
    for (const TensorDeclaration& declaration : forward_.declarations) {
      if (declaration.kind != TensorKind::parameter || !is_real(declaration.type)) continue;
      result.parameters.push_back(check(declaration));
    }
    return result;
  }

 private:
  TensorValue random_value(const TensorDeclaration& declaration, Random& random,
                           bool positive) const {
    TensorValue value(declaration.type, sizes_at(declaration.shape, uniforms_.rows));
    for (double& element : value.reals) {
      switch (declaration.kind) {
        case TensorKind::input:
          element = random.normal();
          break;
        case TensorKind::parameter:
          element = positive ? 0.2 + 0.2 * random.uniform() : 0.25 * random.normal();
          break;
        case TensorKind::state:
          element = 0.75 + 0.5 * random.uniform();
          break;
      }
    }
    IntegerRange range = declaration.range.value_or(
        IntegerRange{0, declaration.type == ScalarType::boolean ? 2 : 256});
    for (int64_t& element : value.integers) element = random.integer(range.begin, range.end);
    return value;
  }

  /// Point number `number`; every third one has positive parameters, for models that take roots.
  const ParameterPoint& point(int number) {
    auto known = points_.find(number);
    if (known != points_.end()) return known->second;
    Random random(options_.seed * 1000003 + static_cast<uint64_t>(number));
    TensorValues given;
    for (const TensorDeclaration& declaration : differentiated_.declarations) {
      given[declaration.name] = random_value(declaration, random, number % 3 == 2);
    }
    TensorProgram program = differentiated_;
    program.updates.clear();
    ParameterPoint result;
    result.values = evaluate(program, given, uniforms_, Precision::all_f64);
    result.loss = result.values.at(loss_).reals[0];
    double square = 0;
    for (const auto& [parameter, gradient] : gradients_) {
      const std::vector<double>& g = result.values.at(gradient).reals;
      square += dot(g, g);
    }
    result.gradient_norm = std::sqrt(square);
    return points_.emplace(number, std::move(result)).first->second;
  }

  ParameterGradient check(const TensorDeclaration& parameter) {
    ParameterGradient result;
    result.name = parameter.name;
    result.has_gradient = gradients_.contains(parameter.name);
    MovingPart part = moving_part(forward_, held_, parameter.name, loss_);
    result.through_custom = part.through_custom;
    int compared = 0;
    Random random(options_.seed * 7919 + checked_++);
    int number = 0;
    for (int direction = 0; direction < options_.directions && number < most_points;) {
      const ParameterPoint& at = point(number);
      bool kink = false;
      double error = not_compared;
      if (std::isfinite(at.loss) && std::isfinite(at.gradient_norm)) {
        error = compare(parameter.name, part.program, at, random, kink);
      }
      if (kink) ++result.kinks;
      if (kink || std::isnan(error)) {
        ++number;
        continue;
      }
      result.error = std::max(result.error, error);
      ++compared;
      ++direction;
    }
    if (compared == 0) result.error = not_compared;
    return result;
  }

  /// Error along one direction; `kink` if the slopes on the two sides differ. NaN: the loss is not
  /// finite nearby.
  double compare(const std::string& parameter, const TensorProgram& program,
                 const ParameterPoint& at, Random& random, bool& kink) {
    const std::vector<double>& start = at.values.at(parameter).reals;
    std::vector<double> gradient(start.size(), 0.0);
    if (gradients_.contains(parameter)) gradient = at.values.at(gradients_.at(parameter)).reals;
    // Half random, half along the gradient: a random direction alone is nearly orthogonal to it in
    // a large tensor, and a derivative of nearly 0 says little.
    std::vector<double> v(start.size());
    for (double& element : v) element = random.normal();
    const double v_norm = std::sqrt(dot(v, v));
    const double g_norm = std::sqrt(dot(gradient, gradient));
    for (size_t i = 0; i < v.size(); ++i) {
      v[i] = v[i] / std::max(v_norm, 1e-300) + (g_norm > 0 ? gradient[i] / g_norm : 0);
    }
    TensorValues given;
    for (const TensorDeclaration& declaration : program.declarations) {
      given[declaration.name] = at.values.at(declaration.name);
    }
    auto loss_at = [&](double step) {
      if (program.statements.empty()) return at.loss;
      std::vector<double>& moved = given[parameter].reals;
      for (size_t i = 0; i < moved.size(); ++i) moved[i] = start[i] + step * v[i];
      TensorValues values = evaluate(program, given, uniforms_, Precision::all_f64);
      return values.at(loss_).reals[0];
    };
    const double expected = dot(gradient, v);
    const double noise = std::max({1e-4 * at.gradient_norm, 1e-6 * std::abs(at.loss), 1e-12});
    double best = std::numeric_limits<double>::infinity();
    double scale = noise;
    auto offer = [&](double quotient) {
      double denominator = std::max({std::abs(expected), std::abs(quotient), noise});
      double error = std::abs(expected - quotient) / denominator;
      if (error < best) {
        best = error;
        scale = denominator;
      }
    };
    constexpr double good_enough = 1e-9;
    double previous = not_compared;
    bool finite = false;
    for (double step : {1e-3, 1e-4, 1e-5, 1e-6}) {
      double quotient = (loss_at(step) - loss_at(-step)) / (2 * step);
      if (!std::isfinite(quotient)) continue;
      finite = true;
      offer(quotient);
      // The error of a central difference is a series in step^2: the first term cancels.
      if (std::isfinite(previous)) offer((100 * quotient - previous) / 99);
      previous = quotient;
      if (best <= good_enough) return best;
    }
    if (!finite) return not_compared;
    if (best <= options_.tolerance) return best;
    auto difference_of_sides = [&](double step) {
      double right = (loss_at(step) - at.loss) / step;
      double left = (at.loss - loss_at(-step)) / step;
      return std::abs(right - left);
    };
    const double wide = difference_of_sides(1e-5);
    const double narrow = difference_of_sides(1e-6);
    // Without a kink the difference is proportional to the step.
    kink = narrow > 0.5 * wide && narrow > 10 * options_.tolerance * scale;
    return best;
  }

  const TensorProgram& forward_;
  const TensorProgram& differentiated_;
  const std::set<std::string> held_;
  const GradientCheckOptions options_;
  Uniforms uniforms_;
  std::string loss_;
  std::map<std::string, std::string> gradients_;  // by parameter
  std::map<int, ParameterPoint> points_;
  uint64_t checked_ = 0;  // parameters
};

}  // namespace

const ParameterGradient* GradientCheck::worst() const {
  const ParameterGradient* result = nullptr;
  for (const ParameterGradient& parameter : parameters) {
    if (result == nullptr || std::isnan(parameter.error) ||
        (!std::isnan(result->error) && parameter.error > result->error)) {
      result = &parameter;
    }
  }
  return result;
}

Result<GradientCheck, DifferentiationError> check_gradients(const TensorProgram& forward,
                                                            const GradientCheckOptions& options) {
  Holder holder(forward);
  // The held statements are not differentiated through: stop_gradient goes around their reads.
  const TensorProgram moving = holder.run();
  Result<TensorProgram, DifferentiationError> differentiated = differentiate(forward);
  if (!differentiated) return differentiated.error();
  // Both programs' statements are wanted at a point: those of the forward one that were lifted too.
  TensorProgram both = *differentiated;
  for (const std::string& name : holder.held)
    both.statements.push_back(*moving.find_statement(name));
  return Checker(moving, both, holder.held, options).run();
}

}  // namespace fusegrad::ir
