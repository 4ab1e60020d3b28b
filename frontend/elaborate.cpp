// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Elaboration from above: definitions, the train block, the model for training and for evaluation,
// the optimizer, the data.
#include "frontend/elaborate.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "frontend/elaborate_definitions.h"
#include "frontend/elaborate_training.h"
#include "frontend/elaborator.h"
#include "frontend/imports.h"

namespace fusegrad::frontend {

namespace {

/// W0502, once for each call that made such parameters.
void warn_about_idle_parameters(const ir::TensorProgram& program,
                                const std::vector<Elaborator::ParameterSite>& sites,
                                Reporter& reporter) {
  const std::set<std::string> needed = ir::tensors_needed_by(program, ir::TensorResultKind::loss);
  std::vector<std::pair<Span, std::vector<std::string>>> idle;
  for (const Elaborator::ParameterSite& site : sites) {
    const ir::TensorDeclaration* declaration = program.find_declaration(site.name);
    if (declaration == nullptr || declaration->kind != ir::TensorKind::parameter ||
        needed.contains(site.name)) {
      continue;
    }
    if (idle.empty() || !(idle.back().first == site.site)) idle.push_back({site.site, {}});
    idle.back().second.push_back(site.name);
  }
  for (const auto& [span, names] : idle) {
    std::string list;
    for (size_t i = 0; i < names.size(); ++i) {
      if (i != 0) list += i + 1 == names.size() ? " and " : ", ";
      list += fmt::format("`{}`", names[i]);
    }
    const bool is_one = names.size() == 1;
    reporter.add(
        Complaint("W0502", span,
                  fmt::format("{} {} {} not affect the loss", is_one ? "parameter" : "parameters",
                              list, is_one ? "does" : "do"),
                  "the loss needs nothing of this")
            .note(is_one ? "the parameter keeps its initial value"
                         : "the parameters keep their initial values"));
  }
}

/// The data are bound to the inputs of training.
void check_evaluation_inputs(const std::vector<ModelInput>& training,
                             const std::vector<ModelInput>& evaluation, Reporter& reporter) {
  std::set<std::string> known;
  for (const ModelInput& input : training) known.insert(input.name);
  for (const ModelInput& input : evaluation) {
    if (known.contains(input.name)) continue;
    reporter.add(Complaint("E0604", input.name_span,
                           fmt::format("the input `{}` exists in evaluation only", input.name),
                           "training never comes here")
                     .help("declare it outside of `when training`"));
  }
}

/// Training decides what is learned and saved.
void check_evaluation_parameters(const std::vector<Elaborator::ParameterSite>& training,
                                 const std::vector<Elaborator::ParameterSite>& evaluation,
                                 Reporter& reporter) {
  std::set<std::string> known;
  for (const Elaborator::ParameterSite& site : training) known.insert(site.name);
  for (const Elaborator::ParameterSite& site : evaluation) {
    if (known.contains(site.name)) continue;
    reporter.add(Complaint("E0604", site.site,
                           fmt::format("`{}` exists in evaluation only", site.name),
                           "training never comes here")
                     .other(site.span == site.site ? Span{} : site.span, "declared here")
                     .help("declare it outside of `when training` and `if training`"));
  }
}

/// The target must be about something that the model measures.
void check_target(const TrainSettings& settings, const ir::TensorProgram& train,
                  const ast::Model* model, Reporter& reporter) {
  if (!settings.target || model == nullptr || reporter.has_errors()) return;
  const Target& target = *settings.target;
  std::vector<std::string> names = {"loss"};
  for (const ir::TensorResult& result : train.results) {
    if (result.kind == ir::TensorResultKind::metric) names.push_back(result.label);
  }
  if (std::find(names.begin(), names.end(), target.metric) != names.end()) return;
  reporter.add(Complaint("E0708", target.metric_span,
                         fmt::format("the model has no metric `{}`", target.metric), "not measured")
                   .other(model->name.span, "the model")
                   .did_you_mean(target.metric, names));
}

}  // namespace

std::optional<Job> elaborate(const ast::File& model, const ast::File& library,
                             const ElaborateOptions& options, SourceManager& sources,
                             Diagnostics& diagnostics) {
  Reporter reporter(diagnostics);
  const std::deque<ast::File> imported =
      read_imports(model, options, sources, diagnostics, reporter);
  const Definitions definitions(model, imported, library, reporter);
  const CommandLineValues command_line =
      parse_command_line(options, definitions, sources, diagnostics, reporter);

  StableNames names;
  Elaborator::Options settings;
  settings.constant_overrides = &command_line.constants;
  Elaborator outside(definitions, sources, reporter, names, settings);
  TrainPlan plan =
      plan_training(definitions, command_line, options, model.file, sources, outside, reporter);

  // Without a batch the model can still be checked.
  constexpr int64_t batch_for_checks = 64;
  settings.batch = plan.is_batch_known ? plan.settings.batch : batch_for_checks;
  settings.real = plan.settings.real;
  Elaborator training(definitions, sources, reporter, names, settings);
  settings.training = false;
  Elaborator evaluation(definitions, sources, reporter, names, settings);
  training.check_constants();

  Job job;
  job.settings = plan.settings;
  std::optional<ir::TensorProgram> evaluation_program;
  if (plan.model != nullptr) {
    job.model = plan.model->name.text;
    const size_t errors_in_blocks = diagnostics.error_count();
    training.elaborate_model(*plan.model);
    evaluation_program = training.same_in_evaluation();
    // The other mode would repeat the same mistakes.
    if (!evaluation_program && diagnostics.error_count() == errors_in_blocks) {
      evaluation.elaborate_model(*plan.model);
      check_evaluation_parameters(training.parameters(), evaluation.parameters(), reporter);
      check_evaluation_inputs(training.inputs(), evaluation.inputs(), reporter);
    }
    job.inputs = training.inputs();
    if (plan.data != nullptr) {
      job.splits = bind_data(*plan.data, *plan.model, job.inputs, outside, reporter);
    }
  }
  ir::TensorProgram train = training.take_program("train");
  std::vector<std::pair<std::string, std::vector<std::string>>> parameters;
  for (const ir::TensorDeclaration& declaration : train.declarations) {
    if (declaration.kind == ir::TensorKind::parameter) {
      parameters.push_back({declaration.name, declaration.tags});
    }
  }
  for (const ast::Expression* call : plan.transforms) {
    ir::GradientTransform transform;
    const auto is_taken = [&](const std::string& name) {
      return std::any_of(job.transforms.begin(), job.transforms.end(),
                         [&](const ir::GradientTransform& other) { return other.name == name; });
    };
    transform.name = call->name.text;
    for (int i = 2; is_taken(transform.name); ++i) {
      transform.name = fmt::format("{}_{}", call->name.text, i);
    }
    Totals totals;
    for (const auto& [name, tags] : parameters) {
      totals.of_parameter.clear();
      std::optional<ir::UpdateRule> rule =
          training.elaborate_update_rule(*call, tags, nullptr, &totals);
      if (!rule) break;
      transform.rules.emplace(name, std::move(*rule));
    }
    job.transforms.push_back(std::move(transform));
  }
  if (plan.optimizer != nullptr) {
    if (parameters.empty()) {
      // A model without parameters: the call is checked all the same.
      static_cast<void>(training.elaborate_update_rule(*plan.optimizer, {}, plan.learning_rate));
    }
    const auto elaborate_rules = [&] {
      job.update_rules.clear();
      for (const auto& [name, tags] : parameters) {
        std::optional<ir::UpdateRule> rule =
            training.elaborate_update_rule(*plan.optimizer, tags, plan.learning_rate);
        if (!rule) return;
        if (!rule->settings.empty()) job.learning_rate = rule->settings[0];
        job.update_rules.emplace(name, std::move(*rule));
      }
    };
    elaborate_rules();
    // One setting for all parameters must leave those their own rates which have some.
    if (training.learning_rate_differs()) elaborate_rules();
  }
  check_target(plan.settings, train, plan.model, reporter);
  settings.training = true;
  check_unused_definitions(definitions, sources, settings, names.reached, diagnostics, reporter);
  if (!diagnostics.has_errors()) {
    check_layers_for_all_sizes(definitions, sources, training, settings, reporter);
  }
  if (diagnostics.has_errors()) return std::nullopt;

  warn_about_derivatives(definitions, sources, reporter);
  warn_about_idle_parameters(train, training.parameters(), reporter);
  job.module.programs.push_back(training.take_initial_program());
  job.module.programs.push_back(std::move(train));
  job.module.programs.push_back(evaluation_program ? std::move(*evaluation_program)
                                                   : evaluation.take_program("eval"));
  return job;
}

}  // namespace fusegrad::frontend
