// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The machine under L's evaluator: a loop function as a flat list of instructions on a frame of
// typed lanes. Private to ir/loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ir/expr.h"
#include "ir/loop/program.h"

namespace fusegrad::ir {

struct Machine;

/// One step. `result`, `a`, `b`, `c` are byte offsets into the frame; which of the other fields
/// mean something depends on `run`.
struct Instruction {
  /// Executes and returns the next instruction; null ends the function.
  using Run = const Instruction* (*)(Machine&, const Instruction*);
  Run run = nullptr;
  uint32_t result = 0;
  uint32_t a = 0;
  uint32_t b = 0;
  uint32_t c = 0;
  int32_t lanes = 1;
  int32_t region = -1;  ///< memory that is loaded from or stored to
  int64_t number = 0;   ///< a step, a bit position, a lane
  int64_t jump = 0;     ///< distance to another instruction
};

/// Memory that loads and stores reach: a parameter, or a stack array.
struct MachineRegion {
  std::byte* data = nullptr;
  int64_t elements = 0;
  /// Stack arrays: one byte per element, whether it was written; null for parameters.
  uint8_t* written = nullptr;
};

/// Why a run ended before its end.
struct MachineFault {
  const Instruction* instruction = nullptr;  ///< null: none
  int64_t address = 0;
  bool unwritten = false;  ///< the address is inside, but nothing was written there
};

struct Machine {
  std::byte* frame = nullptr;
  std::vector<MachineRegion> regions;
  MachineFault fault;
};

/// A compiled function. Offsets of the first slots: the uniforms in the order of
/// `machine_uniform_names`, then `begin`, then `end`, 8 bytes each.
struct MachineCode {
  struct Stack {
    int32_t region = 0;
    int64_t elements = 0;
    int64_t element_bytes = 0;
  };
  std::vector<Instruction> instructions;
  std::vector<const LoopStatement*> statements;  ///< of each instruction; null for the end
  std::vector<std::byte> frame;                  ///< its initial content: constants
  std::vector<std::string> region_names;         ///< parameters in order, then stacks
  std::vector<Stack> stacks;
};

inline constexpr const char* machine_uniform_names[] = {"rows", "step", "epoch", "steps", "seed"};

/// Needs a verified function without calls that expand_functions removes; anything else is our bug.
MachineCode compile_for_machine(const LoopFunction& function);

// What an instruction does, by operator and type.

/// For all operators on lanes; null if the operator has no such instruction.
Instruction::Run machine_operation(Op op, ScalarType operand, ScalarType result);
Instruction::Run machine_select(ScalarType type, bool scalar_condition);
Instruction::Run machine_convert(ScalarType from, ScalarType to);
Instruction::Run machine_splat(ScalarType type);
Instruction::Run machine_lane(ScalarType type);
Instruction::Run machine_vector_sum(ScalarType type);
/// Copies lanes * byte size (in `number`) bytes.
Instruction::Run machine_copy();
Instruction::Run machine_load(ScalarType type, bool vector_address);
Instruction::Run machine_store(ScalarType type, bool vector_address);
/// Forgets what was written to the stack array `region`.
Instruction::Run machine_clear_stack();
/// Goes on at `jump` if the bool in `a` is false.
Instruction::Run machine_jump_if_false();
Instruction::Run machine_jump();
/// Loop head: goes on at `jump` unless result < a.
Instruction::Run machine_loop_test();
/// result += number, then `jump`s back to the loop test in `jump`; leaves the loop on overflow.
Instruction::Run machine_loop_next();
Instruction::Run machine_end();

}  // namespace fusegrad::ir
