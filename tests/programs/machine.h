// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// L programs run side by side: by the evaluator, and as machine code with one thread and with
// several.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ir/loop/evaluate.h"
#include "ir/tensor/evaluate.h"
#include "runtime/core/thread_team.h"
#include "runtime/jit/jit.h"

namespace fusegrad::test {

/// Writes logical elements into a buffer's bytes, and reads them, whatever its layout. Inputs lie
/// where the row list says; results of fewer rows than the batch are taken as such.
void put_value(std::span<std::byte> bytes, const ir::Buffer& buffer, const ir::TensorValue& value,
               std::span<const int32_t> row_list);
ir::TensorValue get_value(std::span<const std::byte> bytes, const ir::Buffer& buffer, int64_t rows);

/// Memory as the runtime gives it to generated code: every buffer at a multiple of 64 bytes,
/// temporaries in one arena.
class AlignedMemory {
 public:
  /// `samples`: of the resident data set, as in OwnedLoopMemory.
  AlignedMemory(const ir::LoopProgram& loops, int64_t samples);
  std::span<std::byte> bytes(const std::string& buffer) { return buffers_.at(buffer); }

 private:
  struct Free {
    void operator()(std::byte* bytes) const;
  };
  std::byte* allocate(int64_t bytes);

  std::vector<std::unique_ptr<std::byte, Free>> blocks_;
  std::map<std::string, std::span<std::byte>> buffers_;
};

/// Runs all launches on the team: every function's tasks in as many parts as there are threads, a
/// barrier after each launch.
void run_machine_code(const ir::LoopProgram& loops, const runtime::CompiledProgram& code,
                      AlignedMemory& memory, std::span<int32_t> row_list,
                      const ir::LoopUniforms& uniforms, runtime::ThreadTeam& team);

}  // namespace fusegrad::test
