// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// eval, predict: compile as `train` does, but make machine code of what is needed only.
#include <fmt/format.h>

#include <optional>

#include "driver/commands.h"
#include "driver/compile.h"
#include "driver/model_messages.h"
#include "runtime/core/exit_codes.h"

namespace fusegrad::driver {
namespace {

/// The model as far as it must be complete for this; `init` names all parameters.
std::optional<Compilation> compile_evaluation(const ModelOptions& model, bool needs_data,
                                              Messages& messages) {
  CompileRequest request = request_for(model);
  request.elaborate.needs_epochs = false;
  request.elaborate.needs_optimizer = false;
  request.elaborate.needs_data = needs_data;
  request.code_for = {"init", "eval", "eval.metrics"};
  std::optional<Compilation> compilation = compile(request, messages);
  report_messages(messages);
  return compilation;
}

}  // namespace

int evaluate(const ApplyCommand& command) {
  Messages messages;
  std::optional<Compilation> compilation = compile_evaluation(command.model, true, messages);
  if (!compilation) return messages.exit_code;
  auto exit_code = runtime::run_evaluation(compilation->code.table, command.run);
  if (!exit_code) return report_failure(exit_code.error(), *compilation, messages);
  return *exit_code;
}

int predict(const ApplyCommand& command) {
  Messages messages;
  std::optional<Compilation> compilation = compile_evaluation(command.model, false, messages);
  if (!compilation) return messages.exit_code;
  auto exit_code = runtime::run_prediction(compilation->code.table, command.run);
  if (!exit_code) return report_failure(exit_code.error());
  return *exit_code;
}

}  // namespace fusegrad::driver
