// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// grad-check: the gradient of every parameter against differences of the loss, in f64.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "driver/commands.h"
#include "driver/compile.h"
#include "driver/model_messages.h"
#include "ir/passes/gradient_check.h"
#include "runtime/core/exit_codes.h"

namespace fusegrad::driver {
namespace {

using runtime::ExitCode;

/// Largest relative error that counts as agreement.
constexpr double tolerance = 1e-6;
/// Rows unless --batch says otherwise: differences need no more, and every row costs evaluations.
constexpr int64_t default_rows = 4;

}  // namespace

int grad_check(const GradCheckCommand& command) {
  Messages messages;
  CompileRequest request;
  request.model_path = command.model.path;
  request.elaborate.constants = command.model.constants;
  request.elaborate.train = command.model.settings;
  request.elaborate.needs_data = false;
  request.elaborate.needs_epochs = false;
  request.elaborate.needs_optimizer = false;
  request.verify_each = verify_each();
  request.until = Stage::tensor;
  std::optional<Compilation> compilation = compile(request, messages);
  report_messages(messages);
  if (!compilation) return messages.exit_code;
  ir::GradientCheckOptions options;
  options.directions = command.directions;
  options.seed = static_cast<uint64_t>(compilation->job.settings.seed) + 1;
  bool batch_given = command.model.settings.contains("batch");
  options.rows = batch_given ? compilation->job.settings.batch
                             : std::min(default_rows, compilation->job.settings.batch);
  const ir::TensorProgram* train = compilation->tensor.find("train");
  auto result = ir::check_gradients(*train, options);
  if (!result) {
    fmt::print(stderr, "error: {}\n", result.error().message);
    return ExitCode::model_file;
  }
  std::string text;
  for (const ir::ParameterGradient& parameter : result->parameters) {
    text += fmt::format("{}  ", parameter.name);
    text += parameter.has_gradient ? fmt::format("relative error {:.1e}", parameter.error)
                                   : std::string("does not affect the loss");
    if (parameter.kinks != 0) text += fmt::format("  ({} directions met a kink)", parameter.kinks);
    if (parameter.through_custom) text += "  (through a derivative given in the model)";
    text += "\n";
  }
  const ir::ParameterGradient* worst = result->worst();
  if (worst == nullptr) {
    text += "no parameter\n";
    return print_to_stdout(text);
  }
  text += fmt::format("worst relative error {:.1e} ({})\n", worst->error, worst->name);
  int printed = print_to_stdout(text);
  if (printed != ExitCode::done) return printed;
  return worst->error <= tolerance ? ExitCode::done : ExitCode::answer_is_no;
}

}  // namespace fusegrad::driver
