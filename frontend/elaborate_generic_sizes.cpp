// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A layer must mean something for all sizes, not only where two of them happen to be equal: its
// body is elaborated once more with sizes that are all different. An index that then has two sizes
// had them before as well, hidden by the sizes of the call. Two polynomials that differ are told
// apart by such sizes; where they make something else impossible (a `require`, a division), nothing
// is said, and the sizes of the calls decide alone.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "frontend/elaborator.h"

namespace fusegrad::frontend {

using ir::Extent;

void Elaborator::keep_layer_use(const ast::Layer& layer, const ast::Expression& call,
                                const Frame& frame) {
  const std::pair place = {layer.span.file, layer.span.begin};
  // The library is right for all sizes, and evaluation sees the same layers.
  if (!options_.training || frame.from_library || layer_uses_.contains(place)) return;
  LayerUse use;
  use.layer = &layer;
  use.call = &call;
  use.sizes = frame.sizes;
  use.pack = frame.pack;
  for (const ast::LayerParameter& parameter : layer.parameters) {
    auto found = frame.names.find(parameter.name.text);
    if (found == frame.names.end()) continue;
    use.names.emplace(parameter.name.text, found->second);
    if (found->second.kind != NameMeaning::Kind::tensor) continue;
    use.tensors.emplace(parameter.name.text, current_->tensors.find(found->second.tensor)->second);
    for (const ast::Expression& size : parameter.type->sizes) {
      if (size.kind == ast::ExpressionKind::dimension) use.free_sizes.insert(size.name.text);
    }
  }
  // A size that the call gives is no size of a tensor that may differ.
  for (const ast::LayerParameter& parameter : layer.parameters) {
    if (parameter.kind != ast::LayerParameterKind::tensor) {
      use.free_sizes.erase(parameter.name.text);
    }
  }
  layer_uses_.emplace(place, std::move(use));
}

void Elaborator::elaborate_layer(const LayerUse& use,
                                 const std::map<std::string, Value, std::less<>>& sizes) {
  const ast::Layer& layer = *use.layer;
  Frame caller;
  Frame frame;
  frame.what = layer.name.text;
  frame.path = layer.name.text + ".";
  frame.sizes = sizes;
  frame.pack = use.pack;
  frame.names = use.names;
  for (const ast::LayerParameter& parameter : layer.parameters) {
    auto known = use.tensors.find(parameter.name.text);
    if (known == use.tensors.end()) continue;
    TensorFacts facts = known->second;
    facts.shape.clear();
    facts.is_input = false;
    facts.whole = nullptr;
    for (const ast::Expression& size : parameter.type->sizes) {
      if (size.kind == ast::ExpressionKind::ellipsis) {
        if (use.pack) facts.shape.insert(facts.shape.end(), use.pack->begin(), use.pack->end());
        continue;
      }
      std::optional<Extent> extent = evaluate_size(size, frame_scope(frame, Scope::Mode::size), 1);
      if (!extent) return;
      facts.shape.push_back(*extent);
    }
    NameMeaning& meaning = frame.names[parameter.name.text];
    meaning.tensor = unique_name(parameter.name.text);
    current_->tensors[meaning.tensor] = std::move(facts);
  }
  if (!declare_outputs(layer, *use.call, frame_scope(caller, Scope::Mode::whole), frame)) return;
  run(layer.body, frame);
  static_cast<void>(take_outputs(layer, frame));
}

namespace {

constexpr std::array<int64_t, 12> factors = {2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37};

/// All free sizes different from one another and from all others; nothing if there are too many.
/// Products keep what divides a size, sums keep sizes small: each helps where the other does not.
std::optional<std::map<std::string, Value, std::less<>>> different_sizes(
    const std::map<std::string, Value, std::less<>>& sizes, const std::set<std::string>& free,
    bool multiply) {
  std::map<std::string, Value, std::less<>> result = sizes;
  std::set<int64_t> taken;
  for (const auto& [name, value] : sizes) {
    if (!free.contains(name) && value.is_number()) taken.insert(value.integer.maximum);
  }
  for (const auto& [name, value] : sizes) {
    if (!free.contains(name) || !value.is_number()) continue;
    const int64_t size = value.integer.maximum;
    const auto* factor = std::find_if(factors.begin(), factors.end(), [&](int64_t candidate) {
      return size < (int64_t{1} << 40) &&
             taken.insert(multiply ? size * candidate : size + candidate).second;
    });
    if (factor == factors.end()) return std::nullopt;
    result[name] = Value::of_number(multiply ? size * *factor : size + *factor);
  }
  return result;
}

}  // namespace

std::string with_size_names(const std::string& text,
                            const std::map<std::string, Value, std::less<>>& sizes) {
  for (const auto& [name, value] : sizes) {
    if (!value.is_number()) continue;
    const std::string end = fmt::format(" has size {}", value.integer.maximum);
    if (text.ends_with(end)) return text.substr(0, text.size() - end.size()) + " has size " + name;
  }
  // A size that is computed from others has a number that nobody wrote.
  const size_t at = text.rfind(" has size ");
  return at == std::string::npos ? text : text.substr(0, at) + " has another size";
}

void check_layers_for_all_sizes(const Definitions& definitions, const SourceManager& sources,
                                const Elaborator& training, const Elaborator::Options& options,
                                Reporter& reporter) {
  for (const auto& [place, use] : training.layer_uses()) {
    if (use.free_sizes.size() < 2) continue;
    for (const bool multiply : {true, false}) {
      const auto sizes = different_sizes(use.sizes, use.free_sizes, multiply);
      if (!sizes) break;
      Diagnostics found;
      Reporter silent(found);
      StableNames names;
      Elaborator probe(definitions, sources, silent, names, options);
      probe.elaborate_layer(use, *sizes);
      if (!found.has_errors()) break;
      const auto first = std::find_if(
          found.all().begin(), found.all().end(),
          [](const Diagnostic& diagnostic) { return diagnostic.severity == Severity::error; });
      if (first->code != "E0201") continue;
      Complaint complaint("E0209", first->primary.span,
                          first->message + ", which are equal here by chance",
                          with_size_names(first->primary.text, *sizes));
      for (const Label& label : first->others) {
        complaint.other(label.span, with_size_names(label.text, *sizes));
      }
      complaint.other(use.call->span, "in this call they are equal");
      complaint.note("layers are checked for all sizes at once");
      complaint.help("if they must be equal, give them one name, or say so with `require`");
      reporter.add(complaint);
      break;
    }
  }
}

}  // namespace fusegrad::frontend
