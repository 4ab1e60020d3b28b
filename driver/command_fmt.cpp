// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// fmt: model files in canonical layout.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>

#include "driver/commands.h"
#include "driver/compile.h"
#include "driver/model_messages.h"
#include "driver/text_file.h"
#include "frontend/format.h"
#include "runtime/core/exit_codes.h"
#include "runtime/core/file.h"
#include "runtime/core/replace_file.h"

namespace fusegrad::driver {
namespace {

using runtime::ExitCode;

int fail(int code, const std::string& message) {
  fmt::print(stderr, "error: {}\n", message);
  return code;
}

/// A folder stands for all `*.fg` files below it, in the order of their names.
Result<std::vector<std::string>> model_files(const std::vector<std::string>& paths) {
  namespace fs = std::filesystem;
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    std::error_code error;
    if (!fs::is_directory(path, error)) {
      files.push_back(path);
      continue;
    }
    const size_t before = files.size();
    fs::recursive_directory_iterator entry(path, error);
    for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
      if (entry->path().extension() == ".fg" && entry->is_regular_file(error)) {
        files.push_back(entry->path().string());
      }
    }
    if (error) return Error{fmt::format("{}: {}", path, error.message())};
    std::sort(files.begin() + static_cast<std::ptrdiff_t>(before), files.end());
  }
  return files;
}

/// One file or standard input. `differs` is set when its layout is another one.
int format_one(const FmtCommand& command, const std::string& path, bool& differs) {
  const bool is_filter = path == "-";
  Result<std::string> text = is_filter ? read_standard_input() : read_text_file(path);
  if (!text) return fail(ExitCode::model_file, text.error().message);
  Messages messages;
  const uint32_t file = messages.sources.add(is_filter ? "standard input" : path, *text);
  const std::optional<std::string> formatted =
      frontend::format(messages.sources, file, messages.diagnostics);
  if (!formatted) {
    report_messages(messages);
    return ExitCode::model_file;
  }
  const bool is_new = *formatted != *text;
  differs = differs || is_new;
  if (command.check) {
    return is_new ? print_to_stdout(fmt::format("{}\n", messages.sources.name(file)))
                  : ExitCode::done;
  }
  if (is_filter) return print_to_stdout(*formatted);
  if (!is_new) return ExitCode::done;
  const auto failed = runtime::replace_file(
      path, [&](int descriptor) { return runtime::write_all(descriptor, *formatted); });
  if (failed) {
    return fail(ExitCode::model_file,
                fmt::format("cannot write {}: {}", runtime::quoted(path), *failed));
  }
  return ExitCode::done;
}

}  // namespace

int format_files(const FmtCommand& command) {
  Result<std::vector<std::string>> files = model_files(command.paths);
  if (!files) return fail(ExitCode::model_file, files.error().message);
  int worst = ExitCode::done;
  bool differs = false;
  for (const std::string& path : *files) {
    worst = std::max(worst, format_one(command, path, differs));
  }
  if (worst != ExitCode::done) return worst;
  return command.check && differs ? ExitCode::answer_is_no : ExitCode::done;
}

}  // namespace fusegrad::driver
