// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Programs that a person wrote or changed by hand: what is wrong with them is said at its place in
// the stage file.
#pragma once

#include <cstdint>

#include "driver/compile.h"

namespace fusegrad::driver {

/// Runs the verifier of the level. Each violation becomes an error E0904 at the statement, the
/// kernel, the function or else the program that it is about. False if there is one.
bool verify_stage_file(const ir::TensorModule& module, uint32_t file, Messages& messages);
bool verify_stage_file(const ir::KernelModule& module, uint32_t file, Messages& messages);
bool verify_stage_file(const ir::LoopModule& module, uint32_t file, Messages& messages);

/// Whether the file's programs can stand in for those that the compiler made of the model: all of
/// them are there, with the same batch, inputs and results. Otherwise errors E0904, and false.
bool stands_in_for(const ir::TensorModule& from_file, const ir::TensorModule& made, uint32_t file,
                   Messages& messages);
bool stands_in_for(const ir::KernelModule& from_file, const ir::KernelModule& made, uint32_t file,
                   Messages& messages);
bool stands_in_for(const ir::LoopModule& from_file, const ir::LoopModule& made, uint32_t file,
                   Messages& messages);

}  // namespace fusegrad::driver
