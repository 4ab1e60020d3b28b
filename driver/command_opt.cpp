// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// opt: stage text in, passes, stage text out. The tool of the text tests of the passes.
#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <optional>
#include <utility>
#include <variant>

#include "driver/commands.h"
#include "driver/compile.h"
#include "driver/model_messages.h"
#include "driver/stage_file.h"
#include "driver/text_file.h"
#include "ir/kernel/parse.h"
#include "ir/kernel/print.h"
#include "ir/kernel/verify.h"
#include "ir/loop/parse.h"
#include "ir/loop/print.h"
#include "ir/loop/verify.h"
#include "ir/passes/passes.h"
#include "ir/passes/simplify_steps.h"
#include "ir/tensor/parse.h"
#include "ir/tensor/print.h"
#include "ir/tensor/verify.h"
#include "runtime/core/exit_codes.h"

namespace fusegrad::driver {
namespace {

using runtime::ExitCode;

/// A module of some level, with the name of its stage.
struct Level {
  std::string stage;
  std::variant<ir::TensorModule, ir::KernelModule, ir::LoopModule> module;
};

/// One pass by name: from one level to the same or the next. Fails with a sentence.
struct Pass {
  const char* name;
  const char* description;
  Result<Level> (*run)(const Level&, ir::RuleCounts& counts);
};

template <typename Module>
Result<const Module*> needs(const Level& level, std::string_view what) {
  if (const auto* module = std::get_if<Module>(&level.module)) return module;
  return Error{fmt::format("this pass needs {}, but the text is of stage {}", what, level.stage)};
}

/// Applies a function on tensor programs to every program of the module.
template <typename Function>
Result<Level> on_tensor_programs(const Level& level, const char* stage, Function function) {
  auto module = needs<ir::TensorModule>(level, "tensor statements");
  if (!module) return module.error();
  ir::TensorModule result = **module;
  for (ir::TensorProgram& program : result.programs) function(program);
  return Level{stage == nullptr ? level.stage : stage, std::move(result)};
}

Result<Level> run_differentiate(const Level& level, ir::RuleCounts&) {
  auto module = needs<ir::TensorModule>(level, "tensor statements");
  if (!module) return module.error();
  ir::TensorModule result;
  for (const ir::TensorProgram& program : (*module)->programs) {
    bool has_loss = false;
    for (const ir::TensorResult& r : program.results)
      has_loss = has_loss || r.kind == ir::TensorResultKind::loss;
    if (!has_loss) {
      result.programs.push_back(ir::strip_gradient_marks(program));
      continue;
    }
    auto with_gradient = ir::differentiate(program);
    if (!with_gradient) return Error{with_gradient.error().message};
    result.programs.push_back(std::move(*with_gradient));
  }
  return Level{"tensor.grad", std::move(result)};
}

Result<Level> run_split_metrics(const Level& level, ir::RuleCounts&) {
  auto module = needs<ir::TensorModule>(level, "tensor statements");
  if (!module) return module.error();
  return Level{level.stage, ir::split_metrics(**module)};
}

Result<Level> run_group(const Level& level, ir::RuleCounts&) {
  auto module = needs<ir::TensorModule>(level, "tensor statements");
  if (!module) return module.error();
  ir::KernelModule result;
  for (const ir::TensorProgram& program : (*module)->programs)
    result.programs.push_back(ir::group(program));
  return Level{"kernels", std::move(result)};
}

Result<Level> run_schedule(const Level& level, ir::RuleCounts&) {
  auto module = needs<ir::KernelModule>(level, "kernels");
  if (!module) return module.error();
  return Level{"kernels", ir::schedule(**module)};
}

Result<Level> run_plan_memory(const Level& level, ir::RuleCounts&) {
  auto module = needs<ir::KernelModule>(level, "kernels");
  if (!module) return module.error();
  ir::KernelModule result = **module;
  for (ir::KernelProgram& program : result.programs) program = ir::plan_memory(program);
  return Level{"kernels", std::move(result)};
}

Result<Level> run_lower(const Level& level, ir::RuleCounts&) {
  auto module = needs<ir::KernelModule>(level, "kernels");
  if (!module) return module.error();
  ir::LoopModule result;
  for (const ir::KernelProgram& program : (*module)->programs) {
    result.programs.push_back(ir::lower_to_loops(ir::plan_memory(program)));
  }
  return Level{"loops", std::move(result)};
}

Result<Level> run_expand(const Level& level, ir::RuleCounts&) {
  auto module = needs<ir::LoopModule>(level, "loops");
  if (!module) return module.error();
  ir::LoopModule result = **module;
  for (ir::LoopProgram& program : result.programs) program = ir::expand_functions(program);
  return Level{"loops", std::move(result)};
}

constexpr std::array passes = {
    Pass{"differentiate", "tensor -> tensor.grad, programs with a loss", run_differentiate},
    Pass{"fold", "tensor -> tensor, local algebra",
         [](const Level& level, ir::RuleCounts& counts) {
           return on_tensor_programs(
               level, nullptr, [&](ir::TensorProgram& p) { ir::fold_statements(p, &counts); });
         }},
    Pass{"inline", "tensor -> tensor, maps into their readers",
         [](const Level& level, ir::RuleCounts& counts) {
           return on_tensor_programs(level, nullptr,
                                     [&](ir::TensorProgram& p) { ir::inline_maps(p, &counts); });
         }},
    Pass{"pull-factors", "tensor -> tensor, invariant factors out of sums",
         [](const Level& level, ir::RuleCounts& counts) {
           return on_tensor_programs(level, nullptr,
                                     [&](ir::TensorProgram& p) { ir::pull_factors(p, &counts); });
         }},
    Pass{"hoist-scalars", "tensor -> tensor, what a step has once is computed once",
         [](const Level& level, ir::RuleCounts& counts) {
           return on_tensor_programs(level, nullptr,
                                     [&](ir::TensorProgram& p) { ir::hoist_scalars(p, &counts); });
         }},
    Pass{"split-metrics", "tensor -> tensor, metrics about a whole pass", run_split_metrics},
    Pass{"share", "tensor -> tensor, equal statements once",
         [](const Level& level, ir::RuleCounts& counts) {
           return on_tensor_programs(
               level, nullptr, [&](ir::TensorProgram& p) { ir::share_statements(p, &counts); });
         }},
    Pass{"remove-dead", "tensor -> tensor, statements that nothing needs",
         [](const Level& level, ir::RuleCounts& counts) {
           return on_tensor_programs(level, nullptr, [&](ir::TensorProgram& p) {
             ir::remove_dead_statements(p, &counts);
           });
         }},
    Pass{"simplify", "tensor -> tensor.opt, all of these until nothing changes",
         [](const Level& level, ir::RuleCounts& counts) {
           return on_tensor_programs(level, "tensor.opt",
                                     [&](ir::TensorProgram& p) { p = ir::simplify(p, &counts); });
         }},
    Pass{"recompute", "tensor -> tensor.opt, what backward computes again instead of reading it",
         [](const Level& level, ir::RuleCounts& /*counts*/) {
           return on_tensor_programs(level, "tensor.opt",
                                     [](ir::TensorProgram& p) { p = ir::recompute(p).program; });
         }},
    Pass{"group", "tensor -> kernels", run_group},
    Pass{"schedule", "kernels -> kernels, schedule attributes and layouts", run_schedule},
    Pass{"plan-memory", "kernels -> kernels, arena offsets", run_plan_memory},
    Pass{"lower", "kernels -> loops", run_lower},
    Pass{"expand", "loops -> loops, functions as arithmetic", run_expand},
};

std::vector<std::string> violations_of(const Level& level) {
  std::vector<std::string> violations;
  auto collect = [&](const auto& module) {
    for (const auto& program : module.programs) {
      for (const std::string& violation : ir::verify(program)) {
        violations.push_back(fmt::format("program {}: {}", program.name, violation));
      }
    }
  };
  std::visit(collect, level.module);
  return violations;
}

std::optional<Level> parse_level(Messages& messages, uint32_t file) {
  std::string_view text = messages.sources.text(file);
  std::string_view first_line = text.substr(0, text.find('\n'));
  std::optional<Stage> stage =
      first_line.starts_with("stage ") ? parse_stage(first_line.substr(6)) : std::nullopt;
  if (stage == Stage::tensor || stage == Stage::tensor_grad || stage == Stage::tensor_opt) {
    auto parsed = ir::parse_tensor_module(messages.sources, file, messages.diagnostics);
    if (!parsed) return std::nullopt;
    return Level{parsed->stage, std::move(parsed->module)};
  }
  if (stage == Stage::kernels) {
    auto parsed = ir::parse_kernel_module(messages.sources, file, messages.diagnostics);
    if (!parsed) return std::nullopt;
    return Level{"kernels", std::move(*parsed)};
  }
  if (stage == Stage::loops) {
    auto parsed = ir::parse_loop_module(messages.sources, file, messages.diagnostics);
    if (!parsed) return std::nullopt;
    return Level{"loops", std::move(*parsed)};
  }
  messages.failure = fmt::format(
      "{}: expected a first line like `stage tensor`, `stage kernels` or `stage loops`, found `{}`",
      messages.sources.name(file), first_line.substr(0, 60));
  return std::nullopt;
}

std::string print_level(const Level& level) {
  if (const auto* tensor = std::get_if<ir::TensorModule>(&level.module))
    return ir::print(*tensor, level.stage);
  if (const auto* kernels = std::get_if<ir::KernelModule>(&level.module))
    return ir::print(*kernels);
  return ir::print(std::get<ir::LoopModule>(level.module));
}

}  // namespace

std::string opt_pass_list() {
  std::string text = "passes in order:";
  for (const Pass& pass : passes) text += fmt::format("\n{}: {}", pass.name, pass.description);
  return text;
}

int opt(const OptCommand& command) {
  Messages messages;
  Result<std::string> text =
      command.path == "-" ? read_standard_input() : read_text_file(command.path);
  if (!text) {
    fmt::print(stderr, "error: {}\n", text.error().message);
    return ExitCode::usage;
  }
  uint32_t file =
      messages.sources.add(command.path == "-" ? "<stdin>" : command.path, std::move(*text));
  std::optional<Level> level = parse_level(messages, file);
  const bool is_good =
      level &&
      std::visit([&](const auto& module) { return verify_stage_file(module, file, messages); },
                 level->module);
  report_messages(messages);
  if (!is_good) return ExitCode::model_file;
  ir::RuleCounts counts;
  for (const std::string& name : command.passes) {
    const Pass* chosen = nullptr;
    for (const Pass& pass : passes) {
      if (pass.name == name) chosen = &pass;
    }
    if (chosen == nullptr) {
      fmt::print(stderr, "error: there is no pass `{}`; {}\n", name, opt_pass_list());
      return ExitCode::usage;
    }
    Result<Level> next = chosen->run(*level, counts);
    if (!next) {
      fmt::print(stderr, "error: {}: {}\n", name, next.error().message);
      return ExitCode::usage;
    }
    level = std::move(*next);
    // What a pass makes of verified input is ours to answer for.
    BugContext context([&] { return print_level(*level); });
    std::vector<std::string> violations = violations_of(*level);
    FG_CHECK(violations.empty(), "after {}: {}", name, fmt::join(violations, "\n"));
  }
  if (command.stats) fmt::print(stderr, "{}", ir::counts_text(counts));
  return print_to_stdout(print_level(*level));
}

}  // namespace fusegrad::driver
