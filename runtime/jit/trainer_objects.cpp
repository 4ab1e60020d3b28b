// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Symbols carry variant and program in front, because all objects meet in one file.
#include "runtime/jit/trainer_objects.h"

#include <map>
#include <utility>

#include "codegen/calling_convention.h"
#include "ir/support/check.h"
#include "runtime/jit/machine_code.h"

namespace fusegrad::runtime {

Result<TrainerObjects> build_trainer_objects(const ir::LoopModule& module,
                                             const JobSettings& settings,
                                             const std::vector<CodeVariant>& variants) {
  Result<const MachineCode*> machine = machine_code();
  if (!machine) return machine.error();
  ShippedJob job;
  auto table = build_job_table(module, settings);
  if (!table) return table.error();
  job.table = std::move(*table);
  job.variants = variants;
  for (const ir::LoopProgram& program : module.programs) {
    auto entry = build_program_table(program, codegen::buffer_table(program));
    if (!entry) return entry.error();
    job.table.programs.push_back(std::move(*entry));
  }

  std::vector<std::vector<char>> objects;
  std::vector<std::string> functions;
  for (size_t v = 0; v < variants.size(); ++v) {
    for (size_t p = 0; p < module.programs.size(); ++p) {
      const ir::LoopProgram& program = module.programs[p];
      const std::string prefix = fmt::format("fusegrad_v{}p{}_", v, p);
      objects.push_back((*machine)->object(program, variants[v].features, prefix));
      std::map<std::string, std::string, std::less<>> symbol_of;
      const std::vector<std::string> symbols = codegen::symbol_names(program, prefix);
      for (size_t i = 0; i < symbols.size(); ++i) {
        symbol_of[program.functions[i].name] = symbols[i];
      }
      for (const LaunchEntry& launch : job.table.programs[p].launches) {
        for (const KernelEntry& kernel : launch.kernels) {
          functions.push_back(symbol_of.at(kernel.name));
        }
      }
    }
  }
  const std::string bytes = shipped_bytes(job);
  objects.push_back((*machine)->data_object({job_symbol, bytes, std::move(functions)}));
  return TrainerObjects{std::move(objects), std::move(job.table)};
}

}  // namespace fusegrad::runtime
