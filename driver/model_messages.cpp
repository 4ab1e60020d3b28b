// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rendering for stderr; data failures get the model line that names the file.
#include "driver/model_messages.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "runtime/core/exit_codes.h"

namespace fusegrad::driver {

void report_messages(const Messages& messages) {
  std::string text = render(messages.diagnostics, messages.sources);
  if (!text.empty()) fmt::print(stderr, "{}", text);
  if (!messages.failure.empty()) fmt::print(stderr, "error: {}\n", messages.failure);
}

int report_failure(const runtime::Failure& failure) {
  fmt::print(stderr, "error: {}\n", runtime::render(failure));
  return failure.exit_code;
}

int report_failure(const runtime::Failure& failure, const Compilation& compilation,
                   Messages& messages) {
  if (!failure.data) return report_failure(failure);
  const runtime::DataFailure& data = *failure.data;
  Diagnostic diagnostic;
  diagnostic.code = data.kind == runtime::DataFailureKind::out_of_range ? "E0702" : "E0701";
  diagnostic.message = data.message;
  diagnostic.notes = data.notes;
  diagnostic.helps = data.helps;
  for (const frontend::DataSplit& split : compilation.job.splits) {
    if (split.name != data.split) continue;
    for (const frontend::DataBinding& binding : split.bindings) {
      if (binding.input == data.input) diagnostic.primary = {binding.path_span, data.label};
    }
  }
  if (!diagnostic.primary.span.valid()) return report_failure(failure);
  for (const frontend::ModelInput& input : compilation.job.inputs) {
    if (input.name != data.input) continue;
    bool range = data.kind == runtime::DataFailureKind::out_of_range && input.range_span.valid();
    if (range || data.kind == runtime::DataFailureKind::does_not_fit) {
      diagnostic.others.push_back({range ? input.range_span : input.type_span, "wanted"});
    }
  }
  fmt::print(stderr, "{}", render(diagnostic, messages.sources));
  return failure.exit_code;
}

int print_to_stdout(const std::string& text) {
  bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (std::fflush(stdout) != 0 || !written) {
    fmt::print(stderr, "error: standard output: {}\n", std::strerror(errno));
    return runtime::ExitCode::usage;
  }
  return runtime::ExitCode::done;
}

}  // namespace fusegrad::driver
