// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Printing K: buffers, the arena, launches of kernels, results.
#include "ir/kernel/print.h"

#include <fmt/format.h>

#include "ir/kernel/buffer_text.h"
#include "ir/kernel/memory_check.h"
#include "ir/tensor/statement_text.h"

namespace fusegrad::ir {
namespace {

std::string print_kernel(const Kernel& kernel, ScalarType real) {
  std::string schedule;
  for (const ScheduleAttribute& attribute : kernel.schedule) {
    schedule += schedule.empty() ? " schedule(" : ", ";
    schedule += attribute_text(attribute);
  }
  if (!schedule.empty()) schedule += ")";
  std::string text = fmt::format("    kernel {} rows({}){} {{\n", kernel.name,
                                 range_list_text(kernel.rows), schedule);
  for (const KernelStatement& statement : kernel.statements)
    text += "      " + print(statement, real) + "\n";
  return text + "    }\n";
}

}  // namespace

std::string print(const KernelStatement& statement, ScalarType real) {
  std::string indices;
  for (const KernelIndex& index : statement.indices) {
    indices += indices.empty() ? "[" : ", ";
    indices += index.is_row ? index.range.name : range_text(index.range);
  }
  if (!indices.empty()) indices += "]";
  const RightSide right_side = {statement.reduction, statement.binders, statement.condition,
                                statement.value};
  return fmt::format("{} {}{}: {} = {}", spelling(statement.storage), statement.name, indices,
                     spelling(statement.type),
                     right_side_text(right_side, {real, ExprLevel::tensor}));
}

std::string print(const KernelProgram& program) {
  std::string text = program_head_text({program.name, program.batch, program.real});
  bool has_temporaries = false;
  for (const Buffer& buffer : program.buffers) {
    text += "  " + print_buffer(buffer);
    if (const std::optional<int64_t> bytes = bytes_of(buffer)) {
      text += fmt::format("  # {} bytes", *bytes);
    }
    text += '\n';
    has_temporaries = has_temporaries || buffer.kind == BufferKind::temporary;
  }
  if (program.arena_bytes != 0) text += fmt::format("  arena {}\n", program.arena_bytes);
  if (has_temporaries) {
    const MemoryPeak peak = memory_peak(program);
    text += fmt::format("  # peak of the buffers in use: {} bytes, in launch {} of {}\n",
                        peak.bytes, peak.launch + 1, program.launches.size());
  }
  for (const Launch& launch : program.launches) {
    text += "  launch {\n";
    for (const Kernel& kernel : launch.kernels) text += print_kernel(kernel, program.real);
    text += "  }\n";
  }
  for (const KernelResult& result : program.results) text += "  " + print_result(result) + "\n";
  return text + "}\n";
}

std::string print(const KernelModule& module) {
  std::string text = "stage kernels\n";
  for (const KernelProgram& program : module.programs) text += "\n" + print(program);
  return text;
}

}  // namespace fusegrad::ir
