// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// `deriv x = d` promises the derivative; whether it is one is looked at in a few points.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "frontend/elaborator.h"
#include "ir/scalar_evaluate.h"

namespace fusegrad::frontend {

using ir::ExprRef;

std::optional<Elaborator::FunctionRule> Elaborator::function_rule(const ast::Function& function) {
  const size_t errors_before = reporter_.error_count();
  StatementGuard guard(*this, function.name.text, function.span, nullptr);
  Scope inner;
  inner.mode = Scope::Mode::element;
  inner.from_library = definitions_.is_library(function.span);
  FunctionRule rule;
  for (const ast::ValueParameter& parameter : function.parameters) {
    inner.locals[parameter.name.text] =
        Value::of_element(ir::make_read(parameter.name.text, options_.real, {}));
  }
  for (const ast::Statement& binding : function.bindings) {
    if (binding.names.empty()) continue;
    inner.locals[binding.names[0].text] = evaluate(binding.value, inner);
  }
  Operand value = {&function.result, evaluate(function.result, inner)};
  rule.value = real_operand(value, "fn", inner);
  for (const ast::Derivative& derivative : function.derivatives) {
    Operand slope = {&derivative.value, evaluate(derivative.value, inner)};
    rule.slopes.push_back(real_operand(slope, "deriv", inner));
  }
  const bool is_whole = rule.value != nullptr && std::find(rule.slopes.begin(), rule.slopes.end(),
                                                           nullptr) == rule.slopes.end();
  if (!is_whole || reporter_.error_count() != errors_before) return std::nullopt;
  return rule;
}

namespace {

/// Neither zero nor a place where branches usually change.
constexpr std::array<double, 8> sample_values = {0.35, -0.6, 1.6, -1.3, 0.8, -2.7, 3.1, -0.2};
constexpr size_t sample_points = 16;
/// Of the difference quotients, and how far a slope may be away from them.
constexpr double step_size = 1e-4;
constexpr double kink_tolerance = 1e-2;
constexpr double tolerance = 1e-4;

/// An expression of the parameters that can be evaluated.
class Evaluated {
 public:
  Evaluated(const ExprRef& e, const std::map<std::string, ir::TensorValue>& values)
      : code_(ir::compile_scalar(
            e,
            {[](std::string_view) { return -1; },
             [&values](std::string_view name) { return &values.at(std::string(name)); }},
            ir::Uniforms{}, ir::Precision::all_f64)) {}
  double operator()() const { return code_.real(nullptr); }

 private:
  ir::ScalarCode code_;
};

struct Disagreement {
  double position = 0;
  double slope = 0;
  double difference = 0;
};

/// Compares in many points; those beside a kink or with values that are not finite say nothing.
std::optional<Disagreement> compare(const ast::Function& function, const std::string& parameter,
                                    const ExprRef& value_text, const ExprRef& slope_text) {
  std::map<std::string, ir::TensorValue> values;
  for (const ast::ValueParameter& formal : function.parameters) {
    values.emplace(formal.name.text, ir::TensorValue(ir::ScalarType::f64, {}));
  }
  const Evaluated value(value_text, values);
  const Evaluated slope(slope_text, values);
  double& x = values.at(parameter).reals[0];
  for (size_t point = 0; point < sample_points; ++point) {
    size_t number = 0;
    for (const ast::ValueParameter& formal : function.parameters) {
      values.at(formal.name.text).reals[0] =
          sample_values[(point * (2 * number + 1) + 3 * number) % sample_values.size()];
      ++number;
    }
    const double position = x;
    const double here = value();
    const double claimed = slope();
    x = position + step_size;
    const double after = (value() - here) / step_size;
    x = position - step_size;
    const double before = (here - value()) / step_size;
    x = position;
    const double difference = (before + after) / 2;
    const double scale = std::max({1.0, std::fabs(before), std::fabs(after)});
    const bool is_smooth = std::fabs(after - before) <= kink_tolerance * scale;
    if (!is_smooth || !std::isfinite(claimed)) continue;
    if (!(std::fabs(claimed - difference) <= tolerance * scale)) {
      return Disagreement{position, claimed, difference};
    }
  }
  return std::nullopt;
}

}  // namespace

void warn_about_derivatives(const Definitions& definitions, const SourceManager& sources,
                            Reporter& reporter) {
  for (const auto& [name, function] : definitions.model().functions) {
    const bool promises = std::any_of(function->derivatives.begin(), function->derivatives.end(),
                                      [](const ast::Derivative& d) { return !d.is_override; });
    if (!promises) continue;
    // Mistakes inside are reported where the function is used, with the types that it has there.
    Diagnostics unheard;
    Reporter silent(unheard);
    StableNames names;
    Elaborator::Options options;
    options.real = ir::ScalarType::f64;
    Elaborator elaborator(definitions, sources, silent, names, options);
    const std::optional<Elaborator::FunctionRule> rule = elaborator.function_rule(*function);
    if (!rule) continue;
    for (size_t i = 0; i < function->derivatives.size(); ++i) {
      const ast::Derivative& derivative = function->derivatives[i];
      const std::string& parameter = derivative.parameter.text;
      const bool is_parameter = std::any_of(
          function->parameters.begin(), function->parameters.end(),
          [&](const ast::ValueParameter& formal) { return formal.name.text == parameter; });
      if (derivative.is_override || !is_parameter) continue;
      const std::optional<Disagreement> found =
          compare(*function, parameter, rule->value, rule->slopes[i]);
      if (!found) continue;
      reporter.add(
          Complaint("W0504", derivative.span,
                    fmt::format("this is not the derivative of `{}` with respect to `{}`", name,
                                parameter),
                    fmt::format("{:.4g} at {} = {:.4g}, where differences give {:.4g}",
                                found->slope, parameter, found->position, found->difference))
              .other(function->result.span, "the value")
              .help(fmt::format("write `deriv! {} = ...` if that is what you want", parameter)));
    }
  }
}

}  // namespace fusegrad::frontend
