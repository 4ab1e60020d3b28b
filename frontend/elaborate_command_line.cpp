// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Values that the command line gives in place of the file: they are parsed like the file's.
#include <fmt/format.h>

#include <optional>
#include <utility>
#include <variant>

#include "frontend/elaborate_training.h"
#include "frontend/parser.h"

namespace fusegrad::frontend {

namespace {

/// The tree of `text`, if it is exactly one item.
std::optional<ast::Item> parse_one(std::string text, SourceManager& sources,
                                   Diagnostics& diagnostics, Reporter& reporter,
                                   std::string_view what) {
  const uint32_t file = sources.add("command line", std::move(text));
  Diagnostics found;
  ast::File tree = parse(sources, file, found);
  for (const Diagnostic& diagnostic : found.all()) diagnostics.add(diagnostic);
  if (!found.has_errors() && tree.items.size() == 1) return std::move(tree.items[0]);
  const auto end = static_cast<uint32_t>(sources.text(file).size());
  reporter.add(Complaint("E0709", Span{file, 0, end},
                         fmt::format("cannot read the value of `{}`", what),
                         "one value is expected after `=`"));
  return std::nullopt;
}

}  // namespace

CommandLineValues parse_command_line(const ElaborateOptions& options,
                                     const Definitions& definitions, SourceManager& sources,
                                     Diagnostics& diagnostics, Reporter& reporter) {
  CommandLineValues values;
  for (const auto& [name, text] : options.constants) {
    std::optional<ast::Item> item =
        parse_one(fmt::format("const {} = {}", name, text), sources, diagnostics, reporter, name);
    if (!item) continue;
    const auto* constant = std::get_if<ast::Constant>(&*item);
    if (constant == nullptr) continue;
    if (!definitions.model().constants.contains(name)) {
      std::vector<std::string> names;
      for (const auto& [known, definition] : definitions.model().constants) names.push_back(known);
      reporter.add(Complaint("E0709", constant->name.span,
                             fmt::format("the model file has no constant `{}`", name),
                             "given with `-D`")
                       .did_you_mean(name, names));
      continue;
    }
    values.constants.emplace(name, constant->value);
  }
  for (const auto& [key, text] : options.train) {
    std::optional<ast::Item> item = parse_one(fmt::format("train {{ {} = {} }}", key, text),
                                              sources, diagnostics, reporter, key);
    if (!item) continue;
    const auto* train = std::get_if<ast::Train>(&*item);
    if (train == nullptr || train->entries.size() != 1) {
      if (train != nullptr) {
        reporter.add(Complaint("E0709", train->span,
                               fmt::format("cannot read the value of `{}`", key),
                               "one value is expected after `=`"));
      }
      continue;
    }
    values.train.emplace(key, train->entries[0]);
  }
  return values;
}

}  // namespace fusegrad::frontend
