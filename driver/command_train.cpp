// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// train, emit, list: the commands that read a model file.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "driver/commands.h"
#include "driver/compile.h"
#include "driver/model_messages.h"
#include "frontend/library.h"
#include "frontend/parser.h"
#include "frontend/signatures.h"
#include "runtime/core/exit_codes.h"
#include "runtime/core/run.h"

namespace fusegrad::driver {
namespace {

using runtime::ExitCode;

/// Seconds of the compiler's steps, one event a program: what all programs share is told with
/// `train`.
void log_compile(runtime::JsonLog& log, const Compilation& compilation) {
  for (size_t i = 0; i < compilation.code.programs.size(); ++i) {
    const std::string& name = compilation.code.table.programs[i].name;
    runtime::CompileSeconds stages = compilation.code.programs[i].seconds();
    std::vector<std::pair<std::string, double>> seconds;
    double total = stages.total();
    if (name == "train") {
      for (const auto& [step, value] : compilation.seconds) {
        if (step == "machine code") continue;
        seconds.emplace_back(step, value);
        total += value;
      }
    }
    seconds.emplace_back("emit", stages.emit);
    seconds.emplace_back("optimize", stages.optimize);
    seconds.emplace_back("codegen", stages.codegen);
    seconds.emplace_back("link", stages.link);
    log.write(runtime::compile_event(name, total, seconds, "miss"));
  }
}

}  // namespace

bool verify_each() {
  const char* value = std::getenv("FUSEGRAD_VERIFY");
  return value != nullptr && std::strcmp(value, "each") == 0;
}

CompileRequest request_for(const ModelOptions& model) {
  CompileRequest request;
  request.model_path = model.path;
  request.elaborate.constants = model.constants;
  request.elaborate.train = model.settings;
  request.verify_each = verify_each();
  return request;
}

int train(const TrainCommand& command) {
  Messages messages;
  CompileRequest request = request_for(command.model);
  request.from_path = command.from_path;
  request.keep_llvm_text = !command.dump_dir.empty();
  auto log = runtime::open_log(command.run, command.model.path);
  if (!log) return report_failure(log.error());
  std::optional<Compilation> compilation = compile(request, messages);
  report_messages(messages);
  if (!compilation) return messages.exit_code;
  if (!command.dump_dir.empty()) {
    if (std::string failed = dump_stages(*compilation, messages, command.dump_dir);
        !failed.empty()) {
      fmt::print(stderr, "error: {}\n", failed);
      return ExitCode::usage;
    }
  }
  if (*log) log_compile(**log, *compilation);
  const runtime::JobTable& table = compilation->code.table;
  runtime::RunOptions run = command.run;
  // As in a shipped trainer: the run sets them, whatever the programs were made from.
  const auto is_given = [&](const char* key) { return command.model.settings.contains(key); };
  if (is_given("lr") && table.settings.learning_rate) {
    run.learning_rate = table.settings.learning_rate->value;
  }
  if (is_given("epochs")) run.checkpoints.epochs = table.settings.epochs;
  if (is_given("seed")) run.checkpoints.seed = table.settings.seed;
  auto exit_code = runtime::run_training(table, run, *log ? &**log : nullptr);
  if (!exit_code) return report_failure(exit_code.error(), *compilation, messages);
  return *exit_code;
}

namespace {

/// A line for each step: name, seconds. Below `machine code` the sums over the programs, which are
/// compiled at the same time.
std::string step_times(const Compilation& compilation) {
  std::string text;
  for (const auto& [step, seconds] : compilation.seconds) {
    text += fmt::format("{:<14} {:9.3f}\n", step, seconds);
  }
  runtime::CompileSeconds sum;
  for (const runtime::CompiledProgram& program : compilation.code.programs) {
    sum.emit += program.seconds().emit;
    sum.optimize += program.seconds().optimize;
    sum.codegen += program.seconds().codegen;
    sum.link += program.seconds().link;
  }
  if (compilation.code.programs.empty()) return text;
  text += fmt::format("  {:<12} {:9.3f}\n", "emit", sum.emit);
  text += fmt::format("  {:<12} {:9.3f}\n", "optimize", sum.optimize);
  text += fmt::format("  {:<12} {:9.3f}\n", "codegen", sum.codegen);
  return text + fmt::format("  {:<12} {:9.3f}\n", "link", sum.link);
}

}  // namespace

int emit(const EmitCommand& command) {
  Messages messages;
  CompileRequest request = request_for(command.model);
  request.until = command.stage;
  // Looking inside needs no data and no complete train block, only what the stage is made from.
  request.elaborate.needs_epochs = false;
  request.elaborate.needs_data = false;
  if (command.why && request.until < Stage::kernels) request.until = Stage::kernels;
  if (!command.dump_dir.empty()) request.until = Stage::assembly;
  request.keep_llvm_text =
      request.until == Stage::llvm || request.until == Stage::llvm_opt || !command.dump_dir.empty();
  std::optional<Compilation> compilation = compile(request, messages);
  report_messages(messages);
  if (!compilation) return messages.exit_code;
  const bool is_program = compilation->job.module.find(command.program) != nullptr ||
                          compilation->tensor_opt.find(command.program) != nullptr;
  if (!command.program.empty() && !is_program && command.stage != Stage::ast) {
    fmt::print(stderr, "error: there is no program `{}`; the programs are init, train and eval\n",
               command.program);
    return ExitCode::usage;
  }
  if (!command.dump_dir.empty()) {
    if (std::string failed = dump_stages(*compilation, messages, command.dump_dir);
        !failed.empty()) {
      fmt::print(stderr, "error: {}\n", failed);
      return ExitCode::usage;
    }
  }
  if (command.times) return print_to_stdout(step_times(*compilation));
  std::string text = command.why ? fusion_remarks(*compilation, messages.sources, command.program)
                                 : stage_text(*compilation, command.stage, command.program);
  return print_to_stdout(text);
}

int list(bool as_markdown) {
  Messages messages;
  uint32_t file = messages.sources.add(std::string(frontend::library_file_name),
                                       std::string(frontend::library_text()));
  frontend::ast::File library = frontend::parse(messages.sources, file, messages.diagnostics);
  return print_to_stdout(as_markdown ? frontend::signatures_page(library, frontend::library_text())
                                     : frontend::signatures(library));
}

}  // namespace fusegrad::driver
