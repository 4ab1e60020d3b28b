// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A trained model inside somebody else's program: what the C functions of a library call that
// `fusegrad build --kind=shared` makes (driver/library_text.cpp writes their header).
//
// A handle belongs to one thread at a time; different handles know nothing of each other. Functions
// return an exit code (exit_codes.h), 0 for success; the text of the last failure is kept in the
// handle. No exception leaves them. Memory is only read or written during a call.
#pragma once

#include <cstdint>

#include "runtime/core/job_table.h"

namespace fusegrad::runtime {

/// Of the generated header and these functions.
inline constexpr int library_abi_version = 1;

}  // namespace fusegrad::runtime

extern "C" {

struct fusegrad_library;

/// `job` and `functions` are the constants of the library; threads 0: every core. Null on failure.
fusegrad_library* fusegrad_library_create(const char* job, int64_t job_size,
                                          const fusegrad::runtime::KernelFunction* functions,
                                          int64_t function_count, int threads, int64_t seed);
void fusegrad_library_destroy(fusegrad_library* library);
/// "" if nothing failed; with null that of the last create() in this thread.
const char* fusegrad_library_last_error(const fusegrad_library* library);

/// A file of --save or a checkpoint; of that the state of the optimizer too.
int fusegrad_library_load(fusegrad_library* library, const char* path);
int fusegrad_library_save(fusegrad_library* library, const char* path);
int fusegrad_library_set_learning_rate(fusegrad_library* library, double rate);
/// For schedules that follow the length of the run.
int fusegrad_library_set_total_steps(fusegrad_library* library, int64_t steps);

/// `inputs` has a pointer for each input of the job, to `rows` records one after the other. One
/// step with at most the compiled batch; `loss` may be null.
int fusegrad_library_train_step(fusegrad_library* library, const void* const* inputs, int64_t rows,
                                double* loss);
/// One epoch as the model's train block says. `values`: loss and metrics; may be null.
int fusegrad_library_train_epoch(fusegrad_library* library, const void* const* inputs, int64_t rows,
                                 double* values);
int fusegrad_library_evaluate(fusegrad_library* library, const void* const* inputs, int64_t rows,
                              double* values);
/// Inputs that no output depends on may be null. `outputs` has a pointer for each output, to memory
/// for `rows` rows.
int fusegrad_library_predict(fusegrad_library* library, const void* const* inputs, int64_t rows,
                             void* const* outputs);
}
