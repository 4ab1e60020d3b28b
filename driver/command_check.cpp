// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// check, explain: the commands about mistakes in model files.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "driver/commands.h"
#include "driver/compile.h"
#include "driver/model_messages.h"
#include "frontend/diagnostic_codes.h"
#include "runtime/core/exit_codes.h"

namespace fusegrad::driver {
namespace {

using runtime::ExitCode;
using Json = nlohmann::ordered_json;

/// Adds file, line, column, end_line and end_column; nothing for an invalid span.
void add_place(Json& object, Span span, const SourceManager& sources) {
  if (!span.valid()) return;
  const LineColumn begin = sources.position(span.file, span.begin);
  const LineColumn end = sources.position(span.file, span.end);
  object["file"] = sources.name(span.file);
  object["line"] = begin.line;
  object["column"] = begin.column;
  object["end_line"] = end.line;
  object["end_column"] = end.column;
}

/// One line of JSON. Bytes of the user's text that are not UTF-8 are replaced.
std::string json_line(const Json& object) {
  return object.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string json_line(const Diagnostic& diagnostic, const SourceManager& sources) {
  Json object;
  object["severity"] = diagnostic.severity == Severity::error ? "error" : "warning";
  object["code"] = diagnostic.code;
  object["message"] = diagnostic.message;
  add_place(object, diagnostic.primary.span, sources);
  object["label"] = diagnostic.primary.text;
  object["related"] = Json::array();
  for (const Label& label : diagnostic.others) {
    // A place without a text is context for a person's eyes.
    if (label.text.empty()) continue;
    Json related;
    add_place(related, label.span, sources);
    related["message"] = label.text;
    object["related"].push_back(std::move(related));
  }
  object["notes"] = diagnostic.notes;
  object["fixes"] = diagnostic.helps;
  return json_line(object);
}

std::string json_lines(const Messages& messages, const std::string& path) {
  std::string text;
  for (const Diagnostic& diagnostic : messages.diagnostics.all()) {
    text += json_line(diagnostic, messages.sources);
  }
  if (!messages.failure.empty()) {
    Json object = {{"severity", "error"},
                   {"code", ""},
                   {"message", messages.failure},
                   {"file", path},
                   {"label", ""},
                   {"related", Json::array()},
                   {"notes", Json::array()},
                   {"fixes", Json::array()}};
    text += json_line(object);
  }
  return text;
}

/// The number in a code; nothing if the word is not written like one.
std::optional<int> number_of(std::string_view code) {
  int number = 0;
  const char* end = code.data() + code.size();
  if (code.size() < 2) return std::nullopt;
  const auto [stop, error] = std::from_chars(code.data() + 1, end, number);
  if (error != std::errc() || stop != end) return std::nullopt;
  return number;
}

/// The codes that the word may be meant for: those with the nearest numbers.
std::vector<std::string_view> similar_codes(std::string_view word) {
  constexpr size_t most = 3;
  const std::optional<int> number = number_of(word);
  if (!number) return {};
  std::vector<std::string_view> codes;
  for (const frontend::DiagnosticCode& entry : frontend::diagnostic_codes) {
    codes.push_back(entry.code);
  }
  std::stable_sort(codes.begin(), codes.end(), [&](std::string_view a, std::string_view b) {
    return std::abs(int64_t{*number_of(a)} - *number) < std::abs(int64_t{*number_of(b)} - *number);
  });
  codes.resize(most);
  return codes;
}

}  // namespace

int check(const CheckCommand& command) {
  Messages messages;
  CompileRequest request;
  request.model_path = command.model.path;
  request.elaborate.constants = command.model.constants;
  request.elaborate.train = command.model.settings;
  request.elaborate.needs_train_block = false;
  request.verify_each = verify_each();
  request.until = Stage::tensor_grad;
  const std::optional<Compilation> compilation = compile(request, messages);
  const int exit_code = compilation ? static_cast<int>(ExitCode::done) : messages.exit_code;
  if (!command.json) {
    report_messages(messages);
    return exit_code;
  }
  const int written = print_to_stdout(json_lines(messages, command.model.path));
  return exit_code == ExitCode::done ? written : exit_code;
}

int explain(const ExplainCommand& command) {
  if (command.all) return print_to_stdout(frontend::explain_all());
  if (command.code.empty()) {
    fmt::print(stderr, "error: which code? `fusegrad explain E0203`, or `--all`\n");
    return ExitCode::usage;
  }
  if (const frontend::DiagnosticCode* entry = frontend::find_diagnostic_code(command.code)) {
    return print_to_stdout(frontend::explain(*entry));
  }
  fmt::print(stderr, "error: there is no code `{}`\n", command.code);
  const std::vector<std::string_view> similar = similar_codes(command.code);
  if (!similar.empty()) fmt::print(stderr, "  the nearest: {}\n", fmt::join(similar, ", "));
  fmt::print(stderr, "  `fusegrad explain --all` prints all of them\n");
  return ExitCode::usage;
}

}  // namespace fusegrad::driver
