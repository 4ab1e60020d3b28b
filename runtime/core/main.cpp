// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Entry of a shipped trainer: job and functions are in the objects that `fusegrad build` makes.
#include <cstddef>
#include <cstdint>

#include "runtime/core/trainer.h"

// Made by runtime/jit/trainer_objects.cpp.
extern "C" {
extern const char fusegrad_job[];
extern const int64_t fusegrad_job_size;
extern const fusegrad::runtime::KernelFunction fusegrad_job_functions[];
extern const int64_t fusegrad_job_function_count;
}

int main(int argument_count, char** arguments) {
  return fusegrad::runtime::run_trainer(
      {arguments, static_cast<size_t>(argument_count)},
      {fusegrad_job, static_cast<size_t>(fusegrad_job_size)},
      {fusegrad_job_functions, static_cast<size_t>(fusegrad_job_function_count)});
}
