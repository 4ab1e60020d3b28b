// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Front end and runtime do not see each other; this copies from one's words to the other's.
#include "driver/job_settings.h"

#include <set>

#include "ir/support/check.h"

namespace fusegrad::driver {
namespace {

runtime::Target::Comparison comparison(frontend::ast::BinaryOperator sign) {
  using frontend::ast::BinaryOperator;
  using Comparison = runtime::Target::Comparison;
  if (sign == BinaryOperator::less) return Comparison::less;
  if (sign == BinaryOperator::less_equal) return Comparison::less_equal;
  if (sign == BinaryOperator::greater) return Comparison::greater;
  FG_CHECK(sign == BinaryOperator::greater_equal, "a target with another sign");
  return Comparison::greater_equal;
}

}  // namespace

std::vector<std::string> inputs_of_outputs(const ir::TensorProgram& program) {
  const std::set<std::string> needed = ir::tensors_needed_by(program, ir::TensorResultKind::output);
  std::vector<std::string> inputs;
  for (const ir::TensorDeclaration& declaration : program.declarations) {
    if (declaration.kind == ir::TensorKind::input && needed.contains(declaration.name)) {
      inputs.push_back(declaration.name);
    }
  }
  return inputs;
}

runtime::JobSettings job_settings(const frontend::Job& job, const std::string& model_path,
                                  std::string_view model_text) {
  runtime::JobSettings settings;
  settings.model_name = job.model;
  settings.model_file = model_path;
  settings.model_text = model_text;
  for (const frontend::DataSplit& split : job.splits) {
    for (const frontend::DataBinding& binding : split.bindings) {
      runtime::DataEntry entry = {split.name, binding.input, binding.reader, binding.path};
      for (const frontend::DataArgument& argument : binding.arguments) {
        entry.arguments.push_back({argument.name, argument.value});
      }
      settings.data.push_back(std::move(entry));
    }
  }
  const frontend::TrainSettings& train = job.settings;
  settings.train.batch = train.batch;
  settings.train.epochs = train.epochs;
  settings.train.seed = train.seed;
  settings.train.shuffle = train.shuffle;
  settings.train.last = train.keep_last ? runtime::LastBatch::keep : runtime::LastBatch::drop;
  settings.train.time_limit = train.time_limit;
  settings.train.patience = train.patience;
  settings.train.eval_every = train.eval_every;
  if (const ir::TensorProgram* evaluation = job.module.find("eval")) {
    settings.inputs_of_outputs = inputs_of_outputs(*evaluation);
  }
  if (job.learning_rate) {
    settings.train.learning_rate =
        runtime::LearningRate{job.learning_rate->name, job.learning_rate->initial};
  }
  if (train.target) {
    settings.train.target = runtime::Target{
        train.target->metric, comparison(train.target->comparison), train.target->threshold};
  }
  return settings;
}

}  // namespace fusegrad::driver
