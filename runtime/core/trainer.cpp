// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Nothing of the shipped code runs before the processor is known to have its instructions.
#include "runtime/core/trainer.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstdio>

#include "runtime/core/exit_codes.h"
#include "runtime/core/run.h"
#include "runtime/core/trainer_options.h"

namespace fusegrad::runtime {

namespace {

int report(const Failure& failure) {
  fmt::print(stderr, "error: {}\n", render(failure));
  return failure.exit_code;
}

int wrong_processor(const std::vector<CodeVariant>& variants, const CpuIdentity& cpu) {
  fmt::print(stderr, "error: this processor cannot run this trainer\n");
  for (const CodeVariant& variant : variants) {
    fmt::print(stderr, "  = note: code for {} needs {}, which are missing\n", variant.name,
               fmt::join(missing_features(cpu, variant.features), ", "));
  }
  fmt::print(stderr,
             "  = help: `fusegrad build --target-cpu=x86-64` makes one that runs everywhere\n");
  return ExitCode::device;
}

/// The file of this process: data may lie beside it, and nothing may be written over it.
std::string own_file(std::string_view called_as) {
  std::array<char, PATH_MAX> path = {};
  const ssize_t length = readlink("/proc/self/exe", path.data(), path.size());
  if (length <= 0 || static_cast<size_t>(length) == path.size()) return std::string(called_as);
  return {path.data(), static_cast<size_t>(length)};
}

int print_help(std::string_view program, const JobTable& table) {
  const std::string text = trainer_help(program, table);
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  return std::fflush(stdout) == 0 && written ? ExitCode::done : ExitCode::usage;
}

}  // namespace

const CodeVariant* choose_variant(const std::vector<CodeVariant>& variants,
                                  const CpuIdentity& cpu) {
  const CodeVariant* best = nullptr;
  for (const CodeVariant& variant : variants) {
    if (!missing_features(cpu, variant.features).empty()) continue;
    if (best == nullptr || variant.features.size() > best->features.size()) best = &variant;
  }
  return best;
}

int run_trainer(std::span<const char* const> arguments, std::string_view job,
                std::span<const KernelFunction> functions, const CpuIdentity& cpu) {
  Expected<ShippedJob> shipped = read_shipped_job(job);
  if (!shipped) return report(shipped.error());
  JobTable& table = shipped->table;
  const std::string_view program = arguments.empty() ? "trainer" : arguments[0];
  Expected<TrainerOptions> options =
      parse_trainer_options(arguments.subspan(arguments.empty() ? 0 : 1), table);
  if (!options) return report(options.error());
  if (options->help) return print_help(program, table);

  const CodeVariant* variant = choose_variant(shipped->variants, cpu);
  if (variant == nullptr) return wrong_processor(shipped->variants, cpu);
  const size_t kernels = kernel_count(table);
  RUNTIME_CHECK(functions.size() == kernels * shipped->variants.size(),
                "{} functions for {} variants of {} kernels", functions.size(),
                shipped->variants.size(), kernels);
  const auto index = static_cast<size_t>(variant - shipped->variants.data());
  set_functions(table, functions.subspan(index * kernels, kernels));

  table.model_file = own_file(program);
  table.settings.time_limit = options->max_time.value_or(table.settings.time_limit);
  options->run.checkpoints.command.assign(arguments.begin(), arguments.end());
  if (options->work != TrainerOptions::Work::train) {
    Expected<int> exit_code = options->work == TrainerOptions::Work::evaluate
                                  ? run_evaluation(table, options->apply)
                                  : run_prediction(table, options->apply);
    return exit_code ? *exit_code : report(exit_code.error());
  }
  Expected<std::optional<JsonLog>> log = open_log(options->run, table.model_file);
  if (!log) return report(log.error());
  Expected<int> exit_code = run_training(table, options->run, *log ? &**log : nullptr);
  return exit_code ? *exit_code : report(exit_code.error());
}

}  // namespace fusegrad::runtime
