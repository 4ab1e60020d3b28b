// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Definitions that the model does not reach. Nobody says what types and sizes they are for, so each
// is elaborated several times with made-up ones. A name that does not exist is a mistake whatever
// the types are; anything else is one if every attempt stumbles over it in the same place.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "frontend/elaborator.h"

namespace fusegrad::frontend {

using ast::ExpressionKind;
using ast::LayerParameterKind;
using ir::Extent;
using ir::ScalarType;

// ---------------------------------------------------------------- one attempt

void Elaborator::elaborate_function(const ast::Function& function, const Value& argument) {
  StatementGuard guard(*this, function.name.text, function.span, nullptr);
  // All that a function may mention where it is called: in a layer, a schedule or an optimizer.
  const std::vector<std::string> tags;
  Totals totals;
  Scope inner;
  inner.mode = Scope::Mode::element;
  inner.from_library = definitions_.is_library(function.span);
  inner.position = ir::make_integer(0);
  inner.has_step = true;
  inner.tags = &tags;
  inner.totals = &totals;
  for (const ast::ValueParameter& parameter : function.parameters) {
    inner.locals[parameter.name.text] =
        parameter.default_value ? evaluate(*parameter.default_value, inner) : argument;
  }
  for (const ast::Statement& binding : function.bindings) {
    if (binding.names.empty()) continue;
    inner.locals[binding.names[0].text] = evaluate(binding.value, inner);
  }
  static_cast<void>(evaluate(function.result, inner));
  if (!are_derivatives_of_parameters(function, inner)) return;
  for (const ast::Derivative& derivative : function.derivatives) {
    static_cast<void>(evaluate(derivative.value, inner));
  }
}

std::map<std::string, Value, std::less<>> Elaborator::elaborate_layer(const ast::Layer& layer,
                                                                      const SizeGuess& guess) {
  Frame caller;
  Frame frame;
  frame.what = layer.name.text;
  frame.path = layer.name.text + ".";
  const auto is_bound_by_call = [&](std::string_view size) {
    return std::any_of(layer.parameters.begin(), layer.parameters.end(),
                       [&](const ast::LayerParameter& parameter) {
                         return parameter.kind != LayerParameterKind::tensor &&
                                parameter.name.text == size;
                       });
  };
  size_t next = 0;
  for (const ast::LayerParameter& parameter : layer.parameters) {
    if (parameter.kind != LayerParameterKind::tensor) continue;
    for (const ast::Expression& size : parameter.type->sizes) {
      if (size.kind == ExpressionKind::ellipsis) frame.pack = guess.pack;
      if (size.kind != ExpressionKind::dimension || is_bound_by_call(size.name.text)) continue;
      const int64_t value = guess.of_tensors[std::min(next, guess.of_tensors.size() - 1)];
      if (frame.sizes.emplace(size.name.text, Value::of_number(value)).second) ++next;
    }
  }
  next = 0;
  for (const ast::LayerParameter& parameter : layer.parameters) {
    const std::string& name = parameter.name.text;
    if (parameter.kind == LayerParameterKind::tensor || parameter.default_value) continue;
    if (parameter.kind == LayerParameterKind::size) {
      const int64_t value = guess.of_call[std::min(next++, guess.of_call.size() - 1)];
      frame.sizes[name] = Value::of_number(value);
      continue;
    }
    NameMeaning meaning;
    meaning.kind = NameMeaning::Kind::constant;
    meaning.constant = parameter.kind == LayerParameterKind::boolean   ? Value::of_boolean(true)
                       : parameter.kind == LayerParameterKind::integer ? Value::of_number(2)
                                                                       : Value::of_real(0.5);
    meaning.span = parameter.name.span;
    frame.names[name] = std::move(meaning);
  }
  // Defaults may speak of everything else.
  for (const ast::LayerParameter& parameter : layer.parameters) {
    if (!parameter.default_value) continue;
    const Scope inside = frame_scope(frame, Scope::Mode::constant);
    if (!bind_value_argument(parameter, *parameter.default_value, inside, frame)) return {};
  }
  for (const ast::LayerParameter& parameter : layer.parameters) {
    if (parameter.kind != LayerParameterKind::tensor) continue;
    TensorFacts facts;
    facts.declared = parameter.type->span;
    // `real` and `any` are reals here, `int` is the wider of the two.
    facts.type =
        parameter.type->element == ast::ElementName::integer ? ScalarType::i32 : options_.real;
    const bool is_concrete = parameter.type->element != ast::ElementName::integer &&
                             parameter.type->element != ast::ElementName::any;
    if (is_concrete) {
      const std::optional<ScalarType> type = resolve_element(*parameter.type, frame);
      if (!type) return {};
      facts.type = *type;
    }
    for (const ast::Expression& size : parameter.type->sizes) {
      if (size.kind == ExpressionKind::ellipsis) {
        facts.shape.insert(facts.shape.end(), frame.pack->begin(), frame.pack->end());
        continue;
      }
      std::optional<Extent> extent = evaluate_size(size, frame_scope(frame, Scope::Mode::size), 1);
      if (!extent) return {};
      facts.shape.push_back(*extent);
    }
    if (parameter.range) {
      const std::optional<ir::IndexRange> range =
          explicit_range(*parameter.range, frame_scope(frame, Scope::Mode::size));
      if (!range) return {};
      facts.range = ir::IntegerRange{range->begin, range->end.maximum};
    }
    NameMeaning meaning;
    meaning.kind = NameMeaning::Kind::tensor;
    meaning.span = parameter.name.span;
    meaning.tensor = unique_name(parameter.name.text);
    current_->tensors[meaning.tensor] = std::move(facts);
    frame.names[parameter.name.text] = std::move(meaning);
  }
  const std::map<std::string, Value, std::less<>> sizes = frame.sizes;
  // The place of what would be the call's fault.
  ast::Expression call;
  call.kind = ExpressionKind::call;
  call.name = layer.name;
  call.span = layer.name.span;
  if (!declare_outputs(layer, call, frame_scope(caller, Scope::Mode::whole), frame)) return sizes;
  run(layer.body, frame);
  static_cast<void>(take_outputs(layer, frame));
  return sizes;
}

// ---------------------------------------------------------------- several attempts

namespace {

/// What one attempt found.
struct Attempt {
  Diagnostics found;
  std::map<std::string, Value, std::less<>> sizes;
};

bool is_same_place(const Diagnostic& a, const Diagnostic& b) {
  return a.code == b.code && a.primary.span == b.primary.span;
}

bool has_place(const Diagnostics& diagnostics, const Diagnostic& wanted) {
  return std::any_of(diagnostics.all().begin(), diagnostics.all().end(),
                     [&](const Diagnostic& other) { return is_same_place(other, wanted); });
}

/// Whether the mistake is one for all types and sizes.
bool is_about_names(std::string_view code) {
  constexpr std::array<std::string_view, 9> codes = {"E0004", "E0101", "E0102", "E0103", "E0104",
                                                     "E0105", "E0106", "E0601", "E0602"};
  return std::find(codes.begin(), codes.end(), code) != codes.end();
}

bool is_about_sizes(std::string_view code) {
  return code.starts_with("E02") || code.starts_with("E03");
}

/// Whether the layer, and what it calls, can have these sizes at all: no `require` fails, no size
/// is negative, nothing is too large.
bool has_fitting_sizes(const Attempt& one) {
  return std::none_of(one.found.all().begin(), one.found.all().end(), [](const Diagnostic& found) {
    return found.code == "E0303" || found.code == "E0304" || found.code == "E0306";
  });
}

std::string sizes_text(const std::map<std::string, Value, std::less<>>& sizes) {
  std::string text;
  for (const auto& [name, value] : sizes) {
    if (!value.is_number()) continue;
    text += fmt::format("{}{} = {}", text.empty() ? "" : ", ", name, value.integer.maximum);
  }
  return text;
}

class UnusedDefinitions {
 public:
  UnusedDefinitions(const Definitions& definitions, const SourceManager& sources,
                    const Elaborator::Options& options, const std::set<const void*>& reached,
                    const Diagnostics& said, Reporter& reporter)
      : definitions_(definitions),
        sources_(sources),
        options_(options),
        reached_(reached),
        said_(said),
        reporter_(reporter) {}

  void run() {
    // Layers use functions: what they reach is looked at with the types that it has there.
    for (const auto& [name, layer] : definitions_.model().layers) {
      if (is_unused(*layer)) check_layer(*layer);
    }
    for (const auto& [name, optimizer] : definitions_.model().optimizers) {
      if (is_unused(*optimizer)) check_optimizer(*optimizer);
    }
    for (const auto& [name, function] : definitions_.model().functions) {
      if (is_unused(*function)) check_function(*function);
    }
  }

 private:
  /// What has a mistake already, such as one of syntax, is not looked at: more would follow from
  /// it.
  template <typename Definition>
  bool is_unused(const Definition& definition) const {
    if (reached_.contains(&definition) || reporter_.is_full()) return false;
    return std::none_of(said_.all().begin(), said_.all().end(), [&](const Diagnostic& diagnostic) {
      const Span span = diagnostic.primary.span;
      return diagnostic.severity == Severity::error && span.file == definition.span.file &&
             span.begin >= definition.span.begin && span.end <= definition.span.end;
    });
  }

  template <typename Work>
  Attempt attempt(Work work) {
    Attempt result;
    Reporter silent(result.found);
    StableNames names;
    Elaborator elaborator(definitions_, sources_, silent, names, options_);
    work(elaborator, result);
    reached_.insert(names.reached.begin(), names.reached.end());
    return result;
  }

  void report(const std::vector<Attempt>& attempts, const ast::Identifier& name) {
    const bool are_sizes_fit = std::all_of(attempts.begin(), attempts.end(), has_fitting_sizes);
    for (const Attempt& one : attempts) {
      for (const Diagnostic& diagnostic : one.found.all()) {
        if (diagnostic.severity != Severity::error || has_place(said_, diagnostic)) continue;
        if (is_about_sizes(diagnostic.code) && !are_sizes_fit) continue;
        const bool is_everywhere =
            is_about_names(diagnostic.code) ||
            std::all_of(attempts.begin(), attempts.end(),
                        [&](const Attempt& other) { return has_place(other.found, diagnostic); });
        if (!is_everywhere) continue;
        Diagnostic said = diagnostic;
        // The call was made up.
        std::erase_if(said.others, [&](const Label& label) { return label.span == name.span; });
        Complaint complaint(std::move(said));
        const std::string sizes = sizes_text(one.sizes);
        if (is_about_sizes(diagnostic.code) && !sizes.empty()) {
          complaint.note(fmt::format("nothing uses `{}`; this is for {}", name.text, sizes));
        }
        reporter_.add(complaint);
      }
    }
  }

  void check_function(const ast::Function& function) {
    const std::array<Value, 5> arguments = {
        Value::of_element(ir::make_read("x", options_.real, {})),
        Value::of_element(ir::make_read("n", ScalarType::i32, {})),
        Value::of_element(ir::make_read("c", ScalarType::boolean, {})), Value::of_real(0.5),
        Value::of_number(2)};
    std::vector<Attempt> attempts;
    for (const Value& argument : arguments) {
      attempts.push_back(attempt([&](Elaborator& elaborator, Attempt&) {
        elaborator.elaborate_function(function, argument);
      }));
      if (!attempts.back().found.has_errors()) return;
    }
    report(attempts, function.name);
  }

  void check_layer(const ast::Layer& layer) {
    using Guess = Elaborator::SizeGuess;
    const std::vector<Extent> two = {Extent::number(6), Extent::number(4)};
    // Sizes without a common factor, sizes that divide each other, equal sizes: for what a layer
    // may require of them. All are larger than numbers that are likely to stand in its text.
    const std::array<Guess, 4> guesses = {Guess{{211, 223, 227, 229, 233, 239}, {3, 5, 7, 11}, two},
                                          Guess{{240, 480, 720, 120, 360, 600}, {2, 3, 4, 6}, two},
                                          Guess{{240}, {2}, {Extent::number(5)}},
                                          Guess{{240}, {240}, two}};
    std::vector<Attempt> attempts;
    for (const Guess& guess : guesses) {
      attempts.push_back(attempt([&](Elaborator& elaborator, Attempt& result) {
        result.sizes = elaborator.elaborate_layer(layer, guess);
      }));
      if (attempts.size() == 1 && !attempts.back().found.has_errors()) return;
    }
    report(attempts, layer.name);
    report_different_sizes(attempts, layer);
  }

  /// E0209: an index that has two sizes unless they happen to be equal.
  void report_different_sizes(const std::vector<Attempt>& attempts, const ast::Layer& layer) {
    const auto first_error = [](const Attempt& one) -> const Diagnostic* {
      for (const Diagnostic& diagnostic : one.found.all()) {
        if (diagnostic.severity == Severity::error) return &diagnostic;
      }
      return nullptr;
    };
    const Diagnostic* first = first_error(attempts[0]);
    const Diagnostic* second = first_error(attempts[1]);
    const bool is_good_when_equal = !attempts.back().found.has_errors();
    if (!is_good_when_equal || first == nullptr || second == nullptr || first->code != "E0201" ||
        !is_same_place(*first, *second)) {
      return;
    }
    Complaint complaint("E0209", first->primary.span,
                        first->message + ", unless they are equal by chance",
                        with_size_names(first->primary.text, attempts[0].sizes));
    for (const Label& label : first->others) {
      complaint.other(label.span, with_size_names(label.text, attempts[0].sizes));
    }
    complaint.note("layers are checked for all sizes at once");
    complaint.note(fmt::format("nothing uses `{}`", layer.name.text));
    complaint.help("if they must be equal, give them one name, or say so with `require`");
    reporter_.add(complaint);
  }

  void check_optimizer(const ast::Optimizer& optimizer) {
    if (optimizer.subjects.size() != 2 && !optimizer.is_transform) return;  // reported
    std::array<ast::Expression, 3> values;
    for (ast::Expression& value : values) {
      value.kind = ExpressionKind::number;
      value.span = optimizer.name.span;
    }
    values[0].number = {false, 0, 0.5};
    values[1].number = {true, 2, 2.0};
    values[2].kind = ExpressionKind::boolean;
    std::vector<Attempt> attempts;
    for (const ast::Expression& value : values) {
      ast::Expression call;
      call.kind = ExpressionKind::call;
      call.name = optimizer.name;
      call.span = optimizer.name.span;
      for (const ast::ValueParameter& parameter : optimizer.parameters) {
        if (!parameter.default_value) call.arguments.push_back({parameter.name, value, call.span});
      }
      attempts.push_back(attempt([&](Elaborator& elaborator, Attempt&) {
        Totals totals;
        static_cast<void>(elaborator.elaborate_update_rule(
            call, {}, nullptr, optimizer.is_transform ? &totals : nullptr));
      }));
      if (!attempts.back().found.has_errors() || call.arguments.empty()) break;
    }
    if (attempts.back().found.has_errors()) report(attempts, optimizer.name);
  }

  const Definitions& definitions_;
  const SourceManager& sources_;
  const Elaborator::Options& options_;
  std::set<const void*> reached_;
  const Diagnostics& said_;
  Reporter& reporter_;
};

}  // namespace

void check_unused_definitions(const Definitions& definitions, const SourceManager& sources,
                              const Elaborator::Options& options,
                              const std::set<const void*>& reached, const Diagnostics& said,
                              Reporter& reporter) {
  UnusedDefinitions(definitions, sources, options, reached, said, reporter).run();
}

}  // namespace fusegrad::frontend
