// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reading the block that says where the inputs come from.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "frontend/data_readers.h"
#include "frontend/elaborate_training.h"

namespace fusegrad::frontend {

namespace {

/// Names of inputs as written, in error or not.
void collect_inputs(const std::vector<ast::Statement>& statements,
                    std::map<std::string, Span>& out) {
  for (const ast::Statement& statement : statements) {
    if (statement.kind == ast::StatementKind::input && !statement.names.empty()) {
      out.emplace(statement.names[0].text, statement.names[0].span);
    }
    collect_inputs(statement.body, out);
    collect_inputs(statement.otherwise, out);
  }
}

const ModelInput* find_input(const std::vector<ModelInput>& inputs, const std::string& name) {
  const auto found = std::find_if(inputs.begin(), inputs.end(),
                                  [&](const ModelInput& input) { return input.name == name; });
  return found == inputs.end() ? nullptr : &*found;
}

/// `target = shift(text, 1)` becomes what reads `text`, told to begin later. All that read one text
/// leave as many bytes free behind each window as the largest shift takes, so that they have
/// equally many windows.
void bind_shifts(const std::vector<DataBinding>& shifts,
                 const std::map<std::string, Span>& mentioned,
                 std::map<std::string, DataBinding>& bindings, Reporter& reporter) {
  std::map<std::string, int64_t> largest;
  std::vector<std::pair<std::string, DataBinding>> made;  // with the name of the text
  for (const DataBinding& shift : shifts) {
    const auto text = bindings.find(shift.path);
    if (text == bindings.end()) {
      if (mentioned.contains(shift.path)) {
        const bool is_shift =
            std::any_of(shifts.begin(), shifts.end(),
                        [&](const DataBinding& each) { return each.input == shift.path; });
        // Otherwise there was a report about it.
        if (!is_shift) continue;
        reporter.add(Complaint("E0707", shift.path_span,
                               fmt::format("`{}` is shifted itself", shift.path),
                               "an input that is read with `chars` is expected"));
        continue;
      }
      std::vector<std::string> names;
      for (const auto& [name, span] : mentioned) names.push_back(name);
      reporter.add(Complaint("E0708", shift.path_span,
                             fmt::format("this split has no data for `{}`", shift.path),
                             "the input whose text is shifted")
                       .did_you_mean(shift.path, names));
      continue;
    }
    if (text->second.reader != "chars") {
      reporter.add(Complaint("E0707", shift.path_span, fmt::format("`{}` is not text", shift.path),
                             "an input that is read with `chars` is expected")
                       .other(text->second.span, "read here"));
      continue;
    }
    const int64_t by = std::get<int64_t>(shift.arguments[0].value);
    int64_t& spare = largest[shift.path];
    spare = std::max(spare, by);
    DataBinding binding = text->second;
    binding.input = shift.input;
    binding.path_span = shift.span;
    binding.span = shift.span;
    binding.arguments.push_back({"shift", by});
    made.push_back({shift.path, std::move(binding)});
  }
  for (auto& [text, binding] : made) {
    binding.arguments.push_back({"spare", largest[text]});
    bindings.emplace(binding.input, std::move(binding));
  }
  for (const auto& [name, spare] : largest) bindings.at(name).arguments.push_back({"spare", spare});
}

}  // namespace

std::vector<DataSplit> bind_data(const ast::Data& data, const ast::Model& model,
                                 const std::vector<ModelInput>& inputs, Elaborator& elaborator,
                                 Reporter& reporter) {
  std::map<std::string, Span> declared;
  collect_inputs(model.body, declared);
  std::vector<std::string> input_names;
  for (const auto& [name, span] : declared) input_names.push_back(name);

  std::vector<DataSplit> splits;
  for (const ast::Split& split : data.splits) {
    const std::string& split_name = split.name.text;
    if (split_name.empty()) continue;
    if (split_name != "train" && split_name != "test" && split_name != "valid") {
      reporter.add(Complaint("E0708", split.name.span,
                             fmt::format("`{}` is not a split", split_name),
                             "expected `train`, `test` or `valid`")
                       .did_you_mean(split_name, {"train", "test", "valid"}));
      continue;
    }
    std::map<std::string, DataBinding> bindings;
    std::vector<DataBinding> shifts;
    std::map<std::string, Span> mentioned;
    // What was not understood may well be what is missing: one message tells both.
    std::string without_data;
    for (const auto& [name, span] : declared) {
      const bool is_bound =
          std::any_of(split.entries.begin(), split.entries.end(),
                      [&](const ast::Entry& entry) { return entry.key.text == name; });
      if (name.empty() || is_bound) continue;
      without_data += fmt::format("{}`{}`", without_data.empty() ? "" : ", ", name);
    }
    bool has_stranger = false;
    for (const ast::Entry& entry : split.entries) {
      if (entry.key.text.empty()) continue;
      mentioned.emplace(entry.key.text, entry.key.span);
      if (!declared.contains(entry.key.text)) {
        Complaint complaint("E0701", entry.key.span,
                            fmt::format("the model has no input `{}`", entry.key.text),
                            "nothing reads this");
        complaint.other(model.name.span, "the model").did_you_mean(entry.key.text, input_names);
        if (!has_stranger && !without_data.empty()) {
          complaint.note(fmt::format("in this split there are no data for {}", without_data));
        }
        reporter.add(complaint);
        has_stranger = true;
        continue;
      }
      std::optional<ReaderCall> call =
          read_reader_call(entry, find_input(inputs, entry.key.text), elaborator, reporter);
      if (!call) continue;
      if (call->signature->name == "shift") {
        shifts.push_back(std::move(call->binding));
      } else {
        bindings.emplace(entry.key.text, std::move(call->binding));
      }
    }
    bind_shifts(shifts, mentioned, bindings, reporter);
    for (const auto& [name, span] : declared) {
      if (name.empty() || mentioned.contains(name) || has_stranger) continue;
      reporter.add(
          Complaint("E0701", split.name.span,
                    fmt::format("the split `{}` has no data for the input `{}`", split_name, name),
                    "missing here")
              .other(span, "input declared here")
              .help(fmt::format("write `{} = idx(\"path\")`", name)));
    }
    DataSplit made;
    made.name = split_name;
    made.span = split.name.span;
    for (const ModelInput& input : inputs) {
      auto found = bindings.find(input.name);
      if (found != bindings.end()) made.bindings.push_back(found->second);
    }
    // Training comes first, whatever the order in the file.
    splits.insert(split_name == "train" ? splits.begin() : splits.end(), std::move(made));
  }
  if (splits.empty() || splits[0].name != "train") {
    reporter.add(Complaint("E0701", data.name.span,
                           fmt::format("the data block `{}` has no split `train`", data.name.text),
                           "missing here")
                     .help("write `train { ... }` with a reader for each input"));
  }
  return splits;
}

}  // namespace fusegrad::frontend
