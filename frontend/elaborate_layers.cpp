// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Instances of layers: arguments are bound, sizes are solved for, the body runs in a frame of its
// own.
#include <fmt/format.h>

#include <utility>

#include "frontend/elaborator.h"

namespace fusegrad::frontend {

using ast::ExpressionKind;
using ast::LayerParameterKind;
using ir::Extent;
using ir::ScalarType;

std::string Elaborator::signature_text(const ast::Layer& layer) const {
  std::string text = layer.name.text + "(";
  bool is_first = true;
  for (const ast::LayerParameter& parameter : layer.parameters) {
    if (!is_first) text += ", ";
    is_first = false;
    // The kinds of values are told apart by their names; types of tensors say what is wanted.
    if (parameter.kind == LayerParameterKind::tensor) {
      text += quote(parameter.span);
    } else {
      text += parameter.name.text;
      if (parameter.default_value) {
        text += fmt::format(" = {}", quote(parameter.default_value->span));
      }
    }
  }
  return text + ")";
}

bool Elaborator::element_fits(ast::ElementName wanted, ScalarType type) const {
  switch (wanted) {
    case ast::ElementName::real:
      return type == options_.real;
    case ast::ElementName::integer:
      return type == ScalarType::u8 || type == ScalarType::i32;
    case ast::ElementName::any:
      return true;
    case ast::ElementName::f32:
      return type == ScalarType::f32;
    case ast::ElementName::f64:
      return type == ScalarType::f64;
    case ast::ElementName::u8:
      return type == ScalarType::u8;
    case ast::ElementName::i32:
      return type == ScalarType::i32;
    case ast::ElementName::boolean:
      return type == ScalarType::boolean;
    case ast::ElementName::f16:
    case ast::ElementName::bf16:
      return false;
  }
  return false;
}

bool Elaborator::bind_value_argument(const ast::LayerParameter& parameter,
                                     const ast::Expression& value, const Scope& scope,
                                     Frame& frame) {
  const std::string& name = parameter.name.text;
  if (parameter.kind == LayerParameterKind::size) {
    std::optional<Extent> size = evaluate_size(value, scope.with_mode(Scope::Mode::size), 0);
    if (!size) return false;
    frame.sizes[name] = Value::of_integer(*size);
    return true;
  }
  Value found = evaluate(value, scope.with_mode(Scope::Mode::constant));
  if (found.is_error()) return false;
  std::string_view wanted;
  switch (parameter.kind) {
    case LayerParameterKind::real:
      if (found.kind != ValueKind::real && !found.is_number()) wanted = "a number";
      if (found.is_number()) {
        found = Value::of_real(static_cast<double>(found.integer.maximum));
      }
      break;
    case LayerParameterKind::integer:
      if (!found.is_number()) wanted = "an integer";
      break;
    case LayerParameterKind::boolean:
      if (found.kind != ValueKind::boolean) wanted = "`true` or `false`";
      break;
    case LayerParameterKind::tensor:
    case LayerParameterKind::size:
      break;
  }
  if (!wanted.empty()) {
    report(scope, Complaint("E0401", value.span, fmt::format("`{}` must be {}", name, wanted),
                            found.kind == ValueKind::integer && !found.is_number()
                                ? "this depends on the batch"
                                : fmt::format("this is {}", type_text(found)))
                      .other(parameter.span, "declared here"));
    return false;
  }
  NameMeaning meaning;
  meaning.kind = NameMeaning::Kind::constant;
  meaning.constant = std::move(found);
  meaning.span = parameter.name.span;
  frame.names[name] = std::move(meaning);
  return true;
}

bool Elaborator::bind_tensor_argument(const ast::LayerParameter& parameter,
                                      const ast::Argument& argument, const Value& value,
                                      const ast::Layer& layer, const Scope& scope, Frame& frame) {
  const ast::Type& type = *parameter.type;
  // A literal takes the type that the parameter asks for.
  ScalarType stored = stored_type(value);
  if (value.has_open_type() && (value.kind == ValueKind::integer || value.is_flexible) &&
      (type.element == ast::ElementName::integer || type.element == ast::ElementName::i32)) {
    stored = ScalarType::i32;
  }
  if (type.element == ast::ElementName::f16 || type.element == ast::ElementName::bf16) {
    report(scope,
           Complaint("E0902", type.element_span,
                     fmt::format("`{}` is not supported yet", ast::spelling(type.element)), ""));
    return false;
  }
  if (!element_fits(type.element, stored)) {
    const std::string text = quote(argument.value.span);
    Complaint complaint(
        "E0401", argument.value.span,
        fmt::format(
            "`{}` takes `{}`, but `{}` is {}", layer.name.text, ast::spelling(type.element), text,
            value.is_constant() ? type_text(value) : fmt::format("`{}`", element_text(stored))),
        value.is_constant() ? fmt::format("this is {}", type_text(value))
                            : fmt::format("`{}`", tensor_text(value)));
    const bool wants_real = type.element == ast::ElementName::real ||
                            type.element == ast::ElementName::f32 ||
                            type.element == ast::ElementName::f64;
    if (wants_real && stored != ScalarType::boolean) {
      complaint.note(ir::is_real(stored) ? "types are never changed silently"
                                         : "integers never become reals silently");
      complaint.help(fmt::format("write `{}({})`; the conversion costs no extra pass over memory",
                                 ast::spelling(type.element), text));
    }
    report(scope, std::move(complaint));
    return false;
  }
  check_element_count(value.shape, argument.value.span, scope.frame);
  NameMeaning meaning;
  meaning.kind = NameMeaning::Kind::tensor;
  meaning.tensor =
      materialise(value, stored, frame.path + parameter.name.text, argument.value.span);
  meaning.span = parameter.name.span;
  frame.names[parameter.name.text] = std::move(meaning);
  return true;
}

bool Elaborator::bind_sizes(const ast::LayerParameter& parameter, const ast::Argument& argument,
                            const ast::Layer& layer, const Scope& scope, Frame& frame) {
  const std::vector<ast::Expression>& sizes = parameter.type->sizes;
  const std::string& tensor = frame.names.find(parameter.name.text)->second.tensor;
  const ir::Shape& shape = current_->tensors.find(tensor)->second.shape;
  size_t ellipsis = sizes.size();
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i].kind == ExpressionKind::ellipsis) ellipsis = i;
  }
  const bool has_ellipsis = ellipsis < sizes.size();
  const size_t least = sizes.size() - (has_ellipsis ? 1 : 0);
  if (has_ellipsis ? shape.size() < least : shape.size() != least) {
    TensorFacts facts = current_->tensors.find(tensor)->second;
    report(scope, Complaint("E0305", argument.value.span,
                            fmt::format("`{}` takes a tensor of rank {}{}", layer.name.text, least,
                                        has_ellipsis ? " or more" : ""),
                            fmt::format("this is `{}`", tensor_text(facts)))
                      .note(fmt::format("`{}`", signature_text(layer)))
                      .help("`reshape(t, [...])` gives it other dimensions"));
    return false;
  }
  const size_t extra = shape.size() - least;
  if (has_ellipsis) {
    std::vector<Extent> pack(shape.begin() + static_cast<std::ptrdiff_t>(ellipsis),
                             shape.begin() + static_cast<std::ptrdiff_t>(ellipsis + extra));
    if (!frame.pack) {
      frame.pack = std::move(pack);
      frame.pack_span = argument.value.span;
    } else if (*frame.pack != pack) {
      report(scope,
             Complaint("E0301", argument.value.span,
                       fmt::format("the arguments of `{}` do not fit together", layer.name.text),
                       fmt::format("`...` is {} here", shape_text(pack)))
                 .other(frame.pack_span, fmt::format("`...` is {} here", shape_text(*frame.pack)))
                 .note(fmt::format("`{}`: `...` is the same in all parameters",
                                   signature_text(layer))));
      return false;
    }
  }
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i].kind != ExpressionKind::dimension) continue;
    const Extent extent = shape[has_ellipsis && i > ellipsis ? i + extra - 1 : i];
    // A name that is bound already is checked below, with all that is more than a name.
    frame.sizes.emplace(sizes[i].name.text, Value::of_integer(extent));
  }
  return true;
}

bool Elaborator::check_sizes(const ast::LayerParameter& parameter, const ast::Argument& argument,
                             const ast::Layer& layer, const Scope& scope, Frame& frame) {
  const std::vector<ast::Expression>& sizes = parameter.type->sizes;
  const std::string& tensor = frame.names.find(parameter.name.text)->second.tensor;
  const TensorFacts facts = current_->tensors.find(tensor)->second;
  size_t dimension = 0;
  bool ok = true;
  for (const ast::Expression& size : sizes) {
    if (size.kind == ExpressionKind::ellipsis) {
      dimension += facts.shape.size() + 1 - sizes.size();
      continue;
    }
    const Extent have = facts.shape[dimension++];
    std::optional<Extent> want = evaluate_size(size, frame_scope(frame, Scope::Mode::size), 0);
    if (!want) {
      ok = false;
      continue;
    }
    if (*want == have) continue;
    const std::string text = quote(size.span);
    const std::string number = size_text(*want);
    Complaint complaint(
        "E0301", argument.value.span,
        fmt::format("`{}` does not fit `{}`", quote(argument.value.span), layer.name.text),
        fmt::format("this is `{}`; dimension {} must be {}", tensor_text(facts), dimension - 1,
                    text == number ? text : fmt::format("{} = {}", text, number)));
    complaint.note(fmt::format("`{}`", signature_text(layer)));
    if (want->depends_on_rows() != have.depends_on_rows()) {
      complaint.note("`B` is the number of rows of a batch at run time, not a fixed number");
    }
    report(scope, std::move(complaint));
    return false;
  }
  return ok;
}

bool Elaborator::check_range(const ast::LayerParameter& parameter, const ast::Argument& argument,
                             const ast::Layer& layer, const Scope& scope, Frame& frame) {
  if (!parameter.range) return true;
  std::optional<ir::IndexRange> wanted =
      explicit_range(*parameter.range, frame_scope(frame, Scope::Mode::size));
  if (!wanted) return false;
  const std::string& tensor = frame.names.find(parameter.name.text)->second.tensor;
  const TensorFacts facts = current_->tensors.find(tensor)->second;
  std::optional<ir::IntegerRange> range = facts.range;
  if (!range && facts.type == ScalarType::u8) range = ir::IntegerRange{0, 256};
  // For a range that depends on the batch, one row is the tightest.
  const int64_t end = wanted->end.at(1);
  if (range && range->begin >= wanted->begin && range->end <= end) return true;
  const std::string limits = fmt::format("{}..{}", wanted->begin, size_text(wanted->end));
  Complaint complaint("E0207", argument.value.span,
                      fmt::format("`{}` may be outside {}", quote(argument.value.span), limits),
                      fmt::format("must lie in {} because `{}` asks for `{}`", limits,
                                  layer.name.text, quote(parameter.span)));
  complaint.other(facts.declared,
                  range ? fmt::format("may be anything in {}..{}", range->begin, range->end)
                        : "may be anything");
  if (facts.is_input) {
    complaint.help(fmt::format("declare `input {}: {} in {}`", tensor, tensor_text(facts), limits));
  }
  report(scope, std::move(complaint));
  return false;
}

bool Elaborator::declare_outputs(const ast::Layer& layer, const ast::Expression& call,
                                 const Scope& scope, Frame& frame) {
  bool ok = true;
  for (const ast::LayerOutput& output : layer.outputs) {
    OutputDeclaration declaration;
    declaration.element = output.type.element;
    declaration.span = output.type.span;
    declaration.is_valid = true;
    if (output.type.element == ast::ElementName::f16 ||
        output.type.element == ast::ElementName::bf16) {
      static_cast<void>(resolve_element(output.type, frame));
      declaration.is_valid = false;
    }
    const Scope sizes = frame_scope(frame, Scope::Mode::size);
    for (const ast::Expression& size : output.type.sizes) {
      if (size.kind == ExpressionKind::ellipsis) {
        if (frame.pack) {
          declaration.shape.insert(declaration.shape.end(), frame.pack->begin(), frame.pack->end());
        } else {
          report(&frame,
                 Complaint("E0108", size.span, "`...` stands for no sizes here", "")
                     .note("`...` needs a parameter of the layer that has `...` in its type"));
          declaration.is_valid = false;
        }
        continue;
      }
      Value value = evaluate(size, sizes);
      if (value.kind == ValueKind::integer &&
          (value.integer.per_row < 0 || value.integer.maximum <= 0)) {
        // The arguments are the cause, so the call is the place.
        report(scope, Complaint("E0304", call.span, "a dimension is not positive",
                                fmt::format("`{}` of the output `{}` is {}", quote(size.span),
                                            output.name.text, size_text(value.integer)))
                          .other(output.type.span, "declared here"));
        return false;
      }
      std::optional<Extent> extent = evaluate_size(size, sizes, 1);
      if (extent) {
        declaration.shape.push_back(*extent);
      } else {
        declaration.is_valid = false;
      }
    }
    if (declaration.is_valid) check_element_count(declaration.shape, output.type.span, &frame);
    ok = ok && declaration.is_valid;
    frame.outputs[output.name.text] = std::move(declaration);
  }
  return ok;
}

std::vector<Value> Elaborator::take_outputs(const ast::Layer& layer, Frame& frame) {
  std::vector<Value> values;
  for (const ast::LayerOutput& output : layer.outputs) {
    const std::string& name = output.name.text;
    const OutputDeclaration& declared = frame.outputs.find(name)->second;
    auto found = frame.names.find(name);
    values.push_back(error());
    if (found == frame.names.end()) {
      if (!gave_up_) {
        report(&frame,
               Complaint("E0110", output.name.span,
                         fmt::format("`{}` does not define its output `{}`", layer.name.text, name),
                         "declared here, defined nowhere"));
      }
      continue;
    }
    found->second.is_read = true;
    if (found->second.kind == NameMeaning::Kind::error || !declared.is_valid) continue;
    Value value;
    if (found->second.kind == NameMeaning::Kind::constant) {
      const bool wants_integer = declared.element == ast::ElementName::integer ||
                                 declared.element == ast::ElementName::i32;
      const Value& constant = found->second.constant;
      const ScalarType type = wants_integer && constant.kind == ValueKind::integer
                                  ? ScalarType::i32
                                  : stored_type(constant);
      StatementGuard guard(*this, frame.path + name, found->second.span, nullptr);
      value = tensor_value(materialise(constant, type, frame.path + name, found->second.span));
    } else {
      value = tensor_value(found->second.tensor);
    }
    if (!(value.shape == declared.shape)) {
      report(&frame,
             Complaint("E0301", found->second.span,
                       fmt::format("the output `{}` has another shape than declared", name),
                       fmt::format("this is {}", shape_text(value.shape)))
                 .other(declared.span, fmt::format("declared as {}", shape_text(declared.shape))));
      continue;
    }
    const ScalarType type = stored_type(value);
    if (!element_fits(declared.element, type)) {
      report(&frame, Complaint("E0401", found->second.span,
                               fmt::format("the output `{}` is declared as `{}`", name,
                                           ast::spelling(declared.element)),
                               fmt::format("this is `{}`", element_text(type)))
                         .other(declared.span, "declared here")
                         .note("types are never changed silently"));
      continue;
    }
    values.back() = std::move(value);
  }
  return values;
}

std::vector<Value> Elaborator::instantiate(const ast::Layer& layer, const ast::Expression& call,
                                           const Scope& scope) {
  std::vector<Value> nothing(layer.outputs.size(), error());
  stable_names_.reached.insert(&layer);
  if (scope.frame->depth >= max_call_depth) {
    report(scope,
           Complaint("E0109", call.span,
                     fmt::format("calls of layers are nested more than {} deep", max_call_depth),
                     fmt::format("here `{}` is called once more", layer.name.text))
               .note("a layer that calls itself ends only if a `when` ends it"));
    return nothing;
  }
  if (!layer.has_good_parameters()) return nothing;
  std::vector<Formal> formals;
  for (const ast::LayerParameter& parameter : layer.parameters) {
    formals.push_back({parameter.name.text, parameter.default_value.has_value()});
  }
  std::optional<std::vector<const ast::Argument*>> actual =
      match_arguments(call, formals, signature_text(layer), "E0107", scope);
  if (!actual) return nothing;

  // Tensors first: instances that the arguments make are numbered before this one.
  std::vector<Value> tensors(layer.parameters.size());
  bool ok = true;
  for (size_t i = 0; i < layer.parameters.size(); ++i) {
    if (layer.parameters[i].kind != LayerParameterKind::tensor) continue;
    tensors[i] = evaluate((*actual)[i]->value, scope.with_mode(Scope::Mode::whole));
    ok = ok && !tensors[i].is_error();
  }
  Frame frame;
  frame.caller = scope.frame;
  frame.call = call.span;
  frame.what = layer.name.text;
  frame.from_library = definitions_.is_library(layer.span);
  frame.depth = scope.frame->depth + 1;
  frame.path = instance_path(call, *scope.frame);
  for (const ast::Initialiser& initialiser : call.initialisers) {
    frame.initialisers[initialiser.parameter.text] = {&initialiser, scope.frame, false};
  }

  // Given sizes and values; the types of tensors solve for the other sizes; defaults may use all of
  // these; then everything is checked.
  for (size_t i = 0; i < layer.parameters.size(); ++i) {
    const ast::LayerParameter& parameter = layer.parameters[i];
    if (parameter.kind == LayerParameterKind::tensor || (*actual)[i] == nullptr) continue;
    ok = bind_value_argument(parameter, (*actual)[i]->value, scope, frame) && ok;
  }
  if (!ok) return nothing;
  for (size_t i = 0; i < layer.parameters.size(); ++i) {
    const ast::LayerParameter& parameter = layer.parameters[i];
    if (parameter.kind != LayerParameterKind::tensor) continue;
    ok = bind_tensor_argument(parameter, *(*actual)[i], tensors[i], layer, scope, frame) && ok;
  }
  if (!ok) return nothing;
  for (size_t i = 0; i < layer.parameters.size(); ++i) {
    if (layer.parameters[i].kind != LayerParameterKind::tensor) continue;
    if (!bind_sizes(layer.parameters[i], *(*actual)[i], layer, scope, frame)) return nothing;
  }
  for (size_t i = 0; i < layer.parameters.size(); ++i) {
    const ast::LayerParameter& parameter = layer.parameters[i];
    if ((*actual)[i] != nullptr) continue;
    const Scope inside = frame_scope(frame, Scope::Mode::constant);
    if (!bind_value_argument(parameter, *parameter.default_value, inside, frame)) return nothing;
  }
  for (size_t i = 0; i < layer.parameters.size(); ++i) {
    const ast::LayerParameter& parameter = layer.parameters[i];
    if (parameter.kind != LayerParameterKind::tensor) continue;
    if (!check_sizes(parameter, *(*actual)[i], layer, scope, frame) ||
        !check_range(parameter, *(*actual)[i], layer, scope, frame)) {
      return nothing;
    }
  }
  if (!declare_outputs(layer, call, scope, frame)) return nothing;

  keep_layer_use(layer, call, frame);

  // Whatever stands around the call waits.
  run(layer.body, frame);
  if (gave_up_) return nothing;
  if (options_.training) {
    for (const auto& [name, override] : frame.initialisers) {
      if (override.is_used || name.empty()) continue;
      std::vector<std::string> parameters;
      for (const ir::TensorDeclaration& declaration : main_.program.declarations) {
        if (declaration.kind != ir::TensorKind::input && declaration.name.starts_with(frame.path)) {
          parameters.push_back(declaration.name.substr(frame.path.size()));
        }
      }
      report(scope, Complaint("E0107", override.initialiser->parameter.span,
                              fmt::format("`{}` has no parameter `{}`", layer.name.text, name),
                              "nothing to initialise")
                        .did_you_mean(name, parameters));
    }
  }
  return take_outputs(layer, frame);
}

std::string Elaborator::instance_path(const ast::Expression& call, Frame& caller) {
  const std::string base =
      caller.path + (call.instance.text.empty() ? call.name.text : call.instance.text);
  const int turn = ++caller.turns[&call];
  const std::string key =
      fmt::format("{}|{}|{}|{}|{}", caller.path, call.span.file, call.name.span.begin, turn, base);
  auto known = stable_names_.instance_by_key.find(key);
  if (known != stable_names_.instance_by_key.end()) return known->second + ".";
  std::string path = base;
  int& number = stable_names_.next_number.try_emplace(base + ".", 1).first->second;
  while (stable_names_.instances.contains(path)) path = fmt::format("{}_{}", base, ++number);
  stable_names_.instances.insert(path);
  stable_names_.instance_by_key.emplace(key, path);
  return path + ".";
}

}  // namespace fusegrad::frontend
